"""rustymimi's Mimi: one frame of 8 codes at a time, in float32.

It multiplies with candle's own threads; how many cores a frame really keeps busy is measured, as
CPU time over wall time, and said.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (This runs where the peer is installed.)

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import numpy as np
from rustymimi import Tokenizer
from serve import Missing, Peer, Place, Run, serve, timed

CODEBOOKS, STEPS = 8, 8


class RustyMimi(Peer):
    def __init__(self, place: Place) -> None:
        self.place = place
        self.loaded: list[Any] = []

    def about(self) -> dict[str, Any]:
        return {"stages": ["codec frame"], "versions": {"rustymimi": version("rustymimi")}}

    def drop(self) -> None:
        self.loaded.clear()

    def load(self) -> None:
        self.loaded.append(Tokenizer(str(self.place.codec), num_codebooks=CODEBOOKS))

    def _frame(self) -> Run:
        codec, codes = self.loaded[0], np.zeros((1, CODEBOOKS, 1), np.uint32)
        codec.reset()
        return timed(lambda: codec.decode_step(codes), STEPS)

    def prepare(self, stage: str) -> Run:
        if stage != "codec frame":
            raise Missing("no such stage")
        return self._frame()

    def count(self, what: str) -> Any:
        if what != "cores":
            raise Missing(f"no count of {what}")
        run = self._frame()
        run()
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        return (time.process_time() - cpu) / (time.perf_counter() - wall)


if __name__ == "__main__":
    serve(RustyMimi(Place.told()))
