"""Rows of a packed table, unpacked and summed in one launch: a word's embedding, or a frame's."""

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.kernels.metal import Grid, Kernel, usable
from lfm2audio_mlx.kernels.projections import packed, template_of

__all__ = ["embed_rows"]

_kernel = Kernel("embed_rows", ("ids", "stride", "words", "scales", "biases"), ("y",), ("packed",))


def embed_rows(table: nn.Module, ids: mx.array, stride: int = 0) -> mx.array:
    """ids [..., n] -> [..., K], the sum of rows ids_i + i * stride."""
    if not packed(table) or not usable(table.scales):
        if ids.shape[-1] == 1:
            return table(ids[..., 0])
        return table(ids + mx.array([stride * i for i in range(ids.shape[-1])])).sum(axis=-2)
    columns, rows = table.scales.shape[1] * table.group_size, ids.size // ids.shape[-1]
    (y,) = _kernel(
        (ids.reshape(rows, -1), mx.array([stride]), table.weight, table.scales, table.biases),
        template_of(table),
        Grid((columns, rows, 1), (256, 1, 1)),
        [((*ids.shape[:-1], columns), table.scales.dtype)],
    )
    return y
