"""What the steps of generation take wherever they run; counted, not timed."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (MLX's stubs are partial.)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import mlx.core as mx
from mlx.utils import tree_flatten

from lfm2audio_mlx.engine import CHAT_VOICE, Engine
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.prompt import TextIds
from lfm2audio_mlx.generation.steps import Steps
from lfm2audio_mlx.models.codec import Codec
from lfm2audio_mlx.models.compiled import compiling
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.sampling import GREEDY
from lfm2audio_mlx.tokens import Modality
from lfm_cli.launches import arrays_of, launches, weight_bytes

__all__ = ["Cost", "costs"]

ENCODED, PREFILLED = 4, 80
"""Seconds of a question, and positions that it comes to with a system prompt, in whole buckets."""


@dataclass(frozen=True)
class Cost:
    """Kernels that a step launches on Metal, what it would launch without our own, and bytes of
    weights that it reads."""

    name: str
    launches: int
    launches_without: int
    weight_bytes: int


def costs(engine: Engine) -> list[Cost]:
    """Of hearing, of taking in a prompt, and of the steps that speech is made of, each compiled as
    a GPU has it."""
    cursor = Cursor(engine.context, pending=[TextIds((1,))])
    cursor.settle(engine.model)
    state = cursor.state
    assert state
    hidden = mx.zeros((1, engine.config.lfm.hidden_size), engine.dtype)
    codes = mx.zeros((1, engine.config.codebooks, 1), mx.int32)
    begun = engine.codec.decode(codes)[1]
    key = mx.random.key(0)
    mx.eval(arrays_of(begun), key)
    with compiling(False):  # each is compiled here, as a whole
        steps = Steps(engine.model)

        def backbone_step(word: mx.array) -> Any:
            hidden, after = steps.backbone(Modality.TEXT, word, state)
            return hidden, after.arrays

        def text_token(word: mx.array) -> Any:
            hidden, after = steps.backbone(Modality.TEXT, word, state)
            return steps.word(hidden, GREEDY, key), after.arrays

        def depth_frame(hidden: mx.array) -> Any:
            return steps.frame(hidden, CHAT_VOICE, key)

        def codec_frame(codes: mx.array) -> Any:
            samples, after = engine.codec.decode(codes, begun, checked=True)
            return samples, arrays_of(after)

        model = engine.model
        features = engine.config.features
        heard = mx.zeros(
            (1, ENCODED * features.sample_rate // features.hop_length, features.features)
        )
        prompt = mx.zeros((1, PREFILLED, engine.config.lfm.hidden_size), engine.dtype)

        def prefill(prompt: mx.array) -> Any:
            hidden, after = model.lfm(prompt)
            return hidden, after.arrays

        return [
            _counted("encode 4 s", model.embed_audio, heard, model, whole=False),
            _counted("prefill 80 positions", prefill, prompt, model, whole=False),
            _counted("backbone step", backbone_step, mx.array([0]), model),
            _counted("text token", text_token, mx.array([0]), model),
            _counted("depth frame", depth_frame, hidden, model),
            _counted("codec frame", codec_frame, codes, engine.codec),
        ]


def _counted(
    name: str,
    step: Callable[[mx.array], Any],
    given: mx.array,
    module: Lfm2Audio | Codec,
    whole: bool = True,
) -> Cost:
    """`whole`: the step is one graph that is compiled."""
    mx.eval(given)
    weights = [array for _, array in cast(Any, tree_flatten(cast(Any, module).parameters()))]
    read = weight_bytes(step, weights, given)

    def count(own: bool) -> int:
        run = mx.compile(step) if whole else step
        return launches(lambda: run(given), own).total()

    return Cost(name, count(own=True), count(own=False), read)
