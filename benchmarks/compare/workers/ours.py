"""Our engine: the stages of `lfm bench`, and what only a comparison asks for."""

# pyright: reportUnknownMemberType=false, reportPrivateUsage=false
# (mx.eval takes anything; a snapshot has to be forgotten to be made again.)

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import mlx.core as mx
from serve import Missing, Peer, Place, Run, serve
from syncs import counted

from lfm2audio_mlx import Engine
from lfm2audio_mlx.engine import BATCH, CHAT_VOICE
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.prompt import TextIds
from lfm2audio_mlx.models.cache import KVCache
from lfm2audio_mlx.models.lfm2 import Lfm2State
from lfm2audio_mlx.results import Sound
from lfm2audio_mlx.tokens import Modality
from lfm_cli.costs import costs
from lfm_cli.stages import STAGES

COLD = "first audio, nothing prepared"
MODES: dict[str, dict[str, Any]] = {
    "timed": {},
    "counted": {"dtype": "bfloat16", "unpack": False},
}
"""How `Engine.load` is called: as anyone calls it, and as for a GPU."""
POSITIONS = 2000
TOKENS = 18
"""One round of the interleaved schedule: 6 words, 12 frames."""
BATCHED = f"transcription, {BATCH} at once"


class Ours(Peer):
    def __init__(self, place: Place) -> None:
        self.place = place
        self.loaded: list[Engine] = []

    @property
    def engine(self) -> Engine:
        return self.loaded[0]

    def about(self) -> dict[str, Any]:
        return {
            "stages": ["load", *(stage.name for stage in STAGES if stage.unit == "ms"), COLD],
            "device": mx.default_device().type.name,
            "versions": {"mlx": version("mlx")},
        }

    def drop(self) -> None:
        self.loaded.clear()

    def load(self) -> None:
        self.loaded.append(Engine.load(self.place.converted, **MODES[self.place.mode]))

    def prepare(self, stage: str) -> Run:
        if stage == COLD:
            return self._cold()
        for known in STAGES:
            if known.name == stage:
                return _whole(known.prepare(self.engine), stage)
        raise Missing("no such stage")

    def _cold(self) -> Run:
        """As "first audio", with the system prompt's snapshot made within it: peers have none."""
        run = _whole(self.prepare("first audio"), COLD)

        def cold() -> float:
            self.engine._snapshot.cache_clear()
            return run()

        return cold

    def figures(self) -> dict[str, Callable[[], Any]]:
        return {
            "launches": self._launches,
            "bytes": self._bytes,
            "syncs": self._syncs,
            "batch": self._batch,
            "resident": self._resident,
        }

    def _launches(self) -> dict[str, int]:
        return {cost.name: cost.launches for cost in costs(self.engine)}

    def _bytes(self) -> dict[str, int]:
        return {cost.name: cost.weight_bytes for cost in costs(self.engine)}

    def _syncs(self) -> dict[str, Any]:
        """Syncs per frame between the first sound of an answer and its last, sound included."""
        size = self.engine.codec.frame_size
        with counted() as syncs:
            frames, marks = 0, list[tuple[int, int]]()
            for item in self.engine.chat(seed=0).reply("?", max_tokens=TOKENS):
                if isinstance(item, Sound):
                    frames += len(item.samples) // size
                    marks.append((frames, syncs.total))
        if len(marks) < 3:
            raise Missing("the model did not speak")
        spans = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(marks)]
        per_frame = sum(n for _, n in spans) / sum(f for f, _ in spans)
        return {"per frame": per_frame, "places": dict(syncs.places)}

    def _resident(self) -> int:
        """Bytes at most, from loading to a word, a frame and its sound behind 2,000 positions.

        These are not computed: in this form a CPU would take an hour for them. While they are,
        there is a chunk's worth more, 48 MB by what it takes in float32.
        """
        engine = self.engine
        cursor = Cursor(engine.context, pending=[TextIds((1,))])
        cursor.settle(engine.model)
        assert cursor.state
        layers = (
            layer.grown(POSITIONS + 1) if isinstance(layer, KVCache) else layer
            for layer in cursor.state.layers
        )
        cursor.state = Lfm2State(tuple(layers), POSITIONS)
        voice, key = engine.voice(), mx.random.key(0)
        hidden = cursor.step_ahead(engine.steps, Modality.TEXT, mx.array([5]))
        codes = engine.steps.frame(hidden, CHAT_VOICE, key)
        voice.push(codes)
        mx.eval(cursor.step_ahead(engine.steps, Modality.AUDIO_OUT, codes))
        return mx.get_peak_memory()

    def _batch(self) -> dict[str, float]:
        """How many times as fast as one by one recordings are put into words in a batch."""
        one, many = (self._speed(name) for name in ("transcription", BATCHED))
        runs = [(one(), many()) for _ in range(2)]  # what the first one warms up slows it
        single, batched = (max(figures) for figures in zip(*runs, strict=True))
        return {"single": single, "batched": batched, "times": batched / single}

    def _speed(self, name: str) -> Run:
        for stage in STAGES:
            if stage.name == name:
                return _whole(stage.prepare(self.engine), name)
        raise Missing(f"lfm bench has no stage '{name}'")


def _whole(run: Any, stage: str) -> Run:
    """A stage that always comes to its end, or says that it did not."""

    def complete() -> float:
        took = run()
        if took is None:
            raise Missing(f"the model did not get as far as {stage}")
        return took

    return complete


if __name__ == "__main__":
    serve(Ours(Place.told()))
