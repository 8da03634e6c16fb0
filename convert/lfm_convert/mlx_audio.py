"""A folder that mlx-audio converted, as the mlx-community organisation publishes them, as a source.

Its names are mlx-audio's, its matrices may be quantised, and the depthformer's queries, keys and
values are apart. What was rounded once is rounded again here: the original gives better weights.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# (MLX's stubs are partial.)

import re
from pathlib import Path
from typing import Any, cast

import mlx.core as mx

from lfm2audio_mlx.errors import CheckpointError

__all__ = ["is_mlx_audio", "join_projections", "restore"]

Tensors = dict[str, mx.array]

QUERY, KEY, VALUE = (f".operator.{name}_proj.weight" for name in "qkv")


def is_mlx_audio(tensors: Tensors) -> bool:
    """Told by the encoder's name."""
    return any(name.startswith("audio_encoder.") for name in tensors)


def restore(tensors: Tensors, quantization: Any, path: Path) -> Tensors:
    """Quantised layers back to numbers; nothing is computed before it is read.

    `quantization` is the config's section, of which the group size is needed.

    Raises:
        CheckpointError: the section is missing, or a layer is not stored as it says.
    """
    made: Tensors = {}
    for name, tensor in tensors.items():
        layer = name.removesuffix(".weight")
        scales, biases = (tensors.get(f"{layer}.{part}") for part in ("scales", "biases"))
        if name.endswith((".scales", ".biases")) and tensors.get(_weight(name)) is not None:
            continue
        if scales is None or biases is None or tensor.dtype != mx.uint32:
            made[name] = tensor
            continue
        size: Any = None
        if isinstance(quantization, dict):
            size = cast(dict[str, Any], quantization).get("group_size")
        if not isinstance(size, int) or size <= 0:
            raise CheckpointError(f"{path}: '{name}' is quantised, the config does not say how")
        bits, rest = divmod(32 * tensor.shape[-1], scales.shape[-1] * size)
        if rest or bits not in (2, 3, 4, 5, 6, 8):
            raise CheckpointError(f"{path}: '{name}' does not fit a group size of {size}")
        made[name] = mx.dequantize(tensor, scales, biases, group_size=size, bits=bits)
    return made


def _weight(name: str) -> str:
    return re.sub(r"\.(scales|biases)$", ".weight", name)


def join_projections(tensors: Tensors) -> Tensors:
    """The depthformer's queries, keys and values in one matrix, as we and the original have it.

    A layer that lacks one is left as it is, for the check of names to find.
    """
    made = dict(tensors)
    for name in tensors:
        layer = name.removesuffix(QUERY)
        apart = [layer + projection for projection in (QUERY, KEY, VALUE)]
        if name.endswith(QUERY) and all(part in tensors for part in apart):
            made[f"{layer}.operator.qkv_proj.weight"] = mx.concatenate(
                [made.pop(part) for part in apart]
            )
    return made
