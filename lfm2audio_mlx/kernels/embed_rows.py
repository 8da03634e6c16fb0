"""Rows of a packed table, unpacked and summed in one launch: a word's embedding, or a frame's."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.kernels.metal import Grid, Kernel, usable
from lfm2audio_mlx.kernels.packed import packed

__all__ = ["embed_rows"]

_kernel = Kernel("embed_rows", ("ids", "stride", "words", "scales", "biases"), ("y",), ("packed",))


def embed_rows(table: nn.Module, ids: mx.array, stride: int = 0) -> mx.array:
    """ids [..., n] -> [..., K], the sum of rows ids_i + i * stride."""
    matrix = packed(table)
    if matrix is None or not usable(matrix.scales):
        return _ops(table, ids, stride)
    flat = ids.reshape(-1, ids.shape[-1])
    (y,) = _kernel(
        (flat, mx.array([stride]), *matrix.arrays),
        matrix.template,
        Grid((matrix.columns, len(flat), 1), (256, 1, 1)),
        [((*ids.shape[:-1], matrix.columns), matrix.scales.dtype)],
    )
    return y


def _ops(table: Any, ids: mx.array, stride: int) -> mx.array:
    if ids.shape[-1] == 1:
        return table(ids[..., 0])
    return table(ids + mx.array([stride * i for i in range(ids.shape[-1])])).sum(axis=-2)
