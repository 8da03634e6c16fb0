"""Whether our Metal kernels give on this machine what MLX's own operations give."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# (MLX's stubs are partial.)

from __future__ import annotations

import os

from lfm_cli.finding import Finding

__all__ = ["disagreement", "judge_kernels", "kernels"]

TOLERANCES = {"float32": 1e-2, "bfloat16": 1e-1}
"""Largest difference over the largest value, through all layers. New GPUs multiply float32 with 11
bits where MLX does (TF32), and bfloat16 has 8; a wrong kernel is off by as much as its result."""
FRAMES = 4
"""Drawn with as many keys, so that all of the sampler has a part in it."""
MEND = "`export LFM_KERNELS=off`, and report it with what `lfm bench` says of this machine"


def kernels(_: str | None) -> Finding:
    """Hear, take a step and speak a frame with the embedded model, with kernels and without."""
    import mlx.core as mx

    if not mx.metal.is_available():
        return Finding("skipped", "no Metal here, so none of our kernels run")
    if os.environ.get("LFM_KERNELS") == "off":
        return Finding("note", "LFM_KERNELS=off leaves them out: slower", "unset LFM_KERNELS")
    try:
        found = {dtype: disagreement(dtype) for dtype in TOLERANCES}
    except (RuntimeError, ValueError) as error:  # of MLX, when Metal refuses one
        lines = str(error).splitlines() or [type(error).__name__]
        return Finding("fault", f"do not run: {lines[0]}", MEND)
    return judge_kernels(found)


def judge_kernels(found: dict[str, float]) -> Finding:
    """The largest difference of a result over its largest value, by type -> what that means."""
    for dtype, difference in found.items():
        if not difference <= TOLERANCES[dtype]:
            return Finding("fault", f"their results are off by {difference:.0e} in {dtype}", MEND)
    return Finding("ok", "give what MLX's own operations give")


def disagreement(dtype: str) -> float:
    """The largest difference between results with kernels, and without on the processor, over the
    largest value. In float32 codes that differ are infinitely far apart."""
    import mlx.core as mx
    import mlx.nn as nn
    import numpy as np

    from lfm2audio_mlx.engine import Engine
    from lfm2audio_mlx.generation.cursor import Cursor
    from lfm2audio_mlx.generation.prompt import TextIds
    from lfm2audio_mlx.generation.steps import Steps
    from lfm2audio_mlx.kernels.metal import without_kernels
    from lfm2audio_mlx.sampling import Sampling
    from lfm2audio_mlx.tokens import Modality

    model = Engine.load(dtype=dtype).model
    nn.quantize(model, group_size=64, bits=4)  # most kernels are for packed weights
    features = mx.random.normal((1, 100, 128), key=mx.random.key(0))
    state = mx.random.normal((1, model.lfm.embedding_norm.weight.size), key=mx.random.key(1))
    state = state.astype(getattr(mx, dtype))
    mx.eval(model.parameters(), features, state)

    def results() -> list[np.ndarray]:
        steps, cursor = Steps(model), Cursor(1000, pending=[TextIds(tuple(range(9)))])
        found = [model.embed_audio(features), cursor.advance(model)]
        found.append(cursor.step_ahead(steps, Modality.TEXT, mx.array([7])))
        found += [steps.frame(state, Sampling(1.0, 4), mx.random.key(n)) for n in range(FRAMES)]
        return [np.array(array.astype(mx.float32)) for array in found]

    own = results()
    with mx.stream(mx.cpu), without_kernels():
        plain = results()
    pairs = list(zip(own, plain, strict=True))
    codes, pairs = pairs[-FRAMES:], pairs[:-FRAMES]
    if dtype == "float32" and not all(np.array_equal(*pair) for pair in codes):
        return float("inf")
    return float(max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs))
