"""moshi_mlx's Mimi: one frame of 8 codes at a time, in float32."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (This runs where the peer is installed.)

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np
from moshi_mlx.models.mimi import Mimi, mimi_202407
from serve import Missing, Peer, Place, Run, serve, timed

TABLES, CODEBOOKS, STEPS = 32, 8, 4


class MoshiMlx(Peer):
    def __init__(self, place: Place) -> None:
        self.place = place
        self.loaded: list[Any] = []

    def about(self) -> dict[str, Any]:
        return {
            "stages": ["codec frame"],
            "versions": {"moshi_mlx": version("moshi_mlx"), "mlx": version("mlx")},
        }

    def drop(self) -> None:
        self.loaded.clear()

    def load(self) -> None:
        codec = Mimi(mimi_202407(TABLES))
        codec.load_pytorch_weights(str(self.place.codec), strict=True)
        mx.eval(codec.parameters())
        self.loaded.append(codec)

    def prepare(self, stage: str) -> Run:
        if stage != "codec frame":
            raise Missing("no such stage")
        codec, codes = self.loaded[0], mx.zeros((1, CODEBOOKS, 1), mx.int32)
        codec.reset_all()
        return timed(lambda: np.array(codec.decode_step(codes)), STEPS)


if __name__ == "__main__":
    serve(MoshiMlx(Place.told()))
