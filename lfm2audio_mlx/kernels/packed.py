"""Packed weights as our kernels read them (packed.metal)."""

from typing import Any, NamedTuple, cast

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.kernels.metal import Template

__all__ = ["Packed", "packed"]


class Packed(NamedTuple):
    """A matrix of 2, 4, 6 or 8 bits: words [rows, columns * bits / 32], scales and biases
    [rows, columns / group_size]."""

    words: mx.array
    scales: mx.array
    biases: mx.array
    bits: int
    group_size: int

    @property
    def arrays(self) -> tuple[mx.array, mx.array, mx.array]:
        return self[:3]

    @property
    def rows(self) -> int:
        return self.words.shape[0]

    @property
    def columns(self) -> int:
        return self.scales.shape[1] * self.group_size

    @property
    def template(self) -> Template:
        """What a kernel has to know before it is compiled."""
        return {"T": self.scales.dtype, "BITS": self.bits, "GROUP": self.group_size}


def packed(layer: nn.Module) -> Packed | None:
    """The weights of a linear layer or a table, if they are packed in a form that kernels read."""
    if not isinstance(layer, nn.QuantizedLinear | nn.QuantizedEmbedding):
        return None
    if layer.mode != "affine" or layer.bits not in (2, 4, 6, 8):
        return None
    loaded = cast(Any, layer)  # whose biases may be None by its type, not in this mode
    return Packed(loaded.weight, loaded.scales, loaded.biases, layer.bits, layer.group_size)
