"""Whether our Metal kernels give on this machine what MLX's own operations give."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# (MLX's stubs are partial.)

from __future__ import annotations

import os

from lfm_cli.finding import Finding

__all__ = ["disagreement", "judge_kernels", "kernels"]

TOLERANCE = 1e-4
"""Largest difference over the largest value, in float32 through all layers: ten times what sums in
another order make of it."""
MEND = "`export LFM_KERNELS=off`, and report it with what `lfm bench` says of this machine"


def kernels(_: str | None) -> Finding:
    """Hear, take a step and speak a frame with the embedded model, with kernels and without."""
    import mlx.core as mx

    if not mx.metal.is_available():
        return Finding("skipped", "no Metal here, so none of our kernels run")
    if os.environ.get("LFM_KERNELS") == "off":
        return Finding("note", "LFM_KERNELS=off leaves them out: slower", "unset LFM_KERNELS")
    try:
        return judge_kernels(disagreement())
    except RuntimeError as error:  # of MLX, when Metal refuses one
        lines = str(error).splitlines() or [type(error).__name__]
        return Finding("fault", f"do not run: {lines[0]}", MEND)


def judge_kernels(difference: float) -> Finding:
    """The largest difference of a result, over its largest value -> what that means."""
    if difference <= TOLERANCE:
        return Finding("ok", "give what MLX's own operations give")
    return Finding("fault", f"their results are off by {difference:.0e}", MEND)


def disagreement() -> float:
    """The largest difference between results with kernels and without, over the largest value.
    Codes that differ are infinitely far apart."""
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

    model = Engine.load(dtype="float32").model
    nn.quantize(model, group_size=64, bits=4)  # most kernels are for packed weights
    features = mx.random.normal((1, 100, 128), key=mx.random.key(0))

    def results() -> list[np.ndarray]:
        steps, cursor = Steps(model), Cursor(1000, pending=[TextIds(tuple(range(9)))])
        heard, prompt = model.embed_audio(features), cursor.advance(model)
        hidden = cursor.step_ahead(steps, Modality.TEXT, mx.array([7]))
        codes = steps.frame(hidden, Sampling(1.0, 4), mx.random.key(1))
        return [np.array(array) for array in (heard, prompt, hidden, codes)]

    own = results()
    with without_kernels():
        plain = results()
    if not np.array_equal(own[-1], plain[-1]):
        return float("inf")
    differences = (np.abs(a - b).max() / np.abs(b).max() for a, b in zip(own, plain, strict=True))
    return float(max(differences))
