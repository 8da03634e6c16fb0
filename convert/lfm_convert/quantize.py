"""Choose each group's scale and bias by least squares, in the format that MLX stores.

MLX reads a group of weights as `scale * q + bias` with whole `q` from 0 to 2^bits - 1, and its own
`mx.quantize` takes scale and bias from the group's least and largest weight. That spends levels
on outliers. Here they minimise the squared error, each input weighted by how large it gets in
use: from several starts, rounding to `q` and solving for scale and bias (a 2 x 2 system) take
turns, and the best of all, plain rounding among them, is kept. Alternating minimisation as in
Lloyd's algorithm; format and size are those of plain rounding.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# (MLX's stubs are partial.)

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

__all__ = ["Quantized", "pack", "quantize_weight"]

SHRINKS = (1.0, 0.93, 0.86, 0.79)
"""Parts of a group's range that the levels span at the start."""

FLOOR = 0.01
"""Least importance of an input, as a part of the mean."""

ROUNDS = 4
CHUNK = 1 << 22
"""Weights that are worked on at once, which bounds the memory."""


@dataclass(frozen=True)
class Quantized:
    """What MLX stores of a matrix, and the (weighted) squared errors of it and of rounding."""

    weight: mx.array
    scales: mx.array
    biases: mx.array
    error: float
    plain_error: float
    energy: float


def quantize_weight(
    weight: mx.array,
    bits: int,
    group_size: int,
    dtype: mx.Dtype,
    importance: mx.array | None = None,
) -> Quantized:
    """Quantise a matrix [rows, inputs]; scales and biases are stored in `dtype`.

    `importance` [inputs] weighs the error of each input: its mean square in use.
    """
    rows, inputs = weight.shape
    groups = inputs // group_size
    step = max(1, CHUNK // inputs)
    h = mx.ones((inputs,))
    if importance is not None and bool((importance > 0).any()):
        # What the recordings did not use is not worth nothing.
        h = importance.astype(mx.float32) + FLOOR * importance.mean()
    h = h.reshape(1, groups, group_size)
    parts: list[tuple[mx.array, ...]] = []
    for start in range(0, rows, step):
        block = weight[start : start + step].astype(mx.float32).reshape(-1, groups, group_size)
        plain = _plain(block, bits, group_size, dtype)
        best = _search(block, h, bits, dtype, plain)
        levels, scales, biases, error, plain_error = best
        energy = (h * block * block).sum()
        packed = pack(np.array(levels).reshape(-1, inputs), bits)
        parts.append((packed, scales[..., 0], biases[..., 0], error, plain_error, energy))
        mx.eval(parts[-1])
    columns = list(zip(*parts, strict=True))
    return Quantized(
        mx.concatenate(list(columns[0])),
        mx.concatenate(list(columns[1])).astype(dtype),
        mx.concatenate(list(columns[2])).astype(dtype),
        *(float(sum(float(value) for value in column)) for column in columns[3:]),
    )


def _plain(
    block: mx.array, bits: int, group_size: int, dtype: mx.Dtype
) -> tuple[mx.array, mx.array]:
    """MLX's own scale and bias of each group [rows, groups, 1], as they would be stored."""
    flat = block.reshape(block.shape[0], -1).astype(dtype)
    _, scales, biases = mx.quantize(flat, group_size=group_size, bits=bits)
    return scales[..., None].astype(mx.float32), biases[..., None].astype(mx.float32)


def _search(
    block: mx.array,
    h: mx.array,
    bits: int,
    dtype: mx.Dtype,
    plain: tuple[mx.array, mx.array],
) -> tuple[mx.array, mx.array, mx.array, mx.array, mx.array]:
    """Levels [rows, groups, group], scale and bias [rows, groups, 1], and both errors."""
    top = float(2**bits - 1)
    scale, bias = plain
    levels, error = _round(block, h, scale, bias, top)
    plain_error = error.sum()
    low, high = block.min(axis=-1, keepdims=True), block.max(axis=-1, keepdims=True)
    middle, half = (low + high) / 2, (high - low) / 2
    starts = [plain]
    starts += [(mx.maximum(2 * s * half / top, 1e-12), middle - s * half) for s in SHRINKS]
    for new_scale, new_bias in starts:
        for _ in range(ROUNDS):
            new_levels, _ = _round(block, h, new_scale, new_bias, top)
            new_scale, new_bias = _solve(block, h, new_levels, new_scale, new_bias)
        new_scale = new_scale.astype(dtype).astype(mx.float32)
        new_bias = new_bias.astype(dtype).astype(mx.float32)
        new_levels, new_error = _round(block, h, new_scale, new_bias, top)
        better = new_error < error
        scale, bias = mx.where(better, new_scale, scale), mx.where(better, new_bias, bias)
        levels, error = mx.where(better, new_levels, levels), mx.where(better, new_error, error)
    return levels.astype(mx.uint8), scale, bias, error.sum(), plain_error


def _round(
    block: mx.array, h: mx.array, scale: mx.array, bias: mx.array, top: float
) -> tuple[mx.array, mx.array]:
    """Nearest levels, and each group's weighted squared error."""
    safe = mx.where(scale == 0, 1.0, scale)
    levels = mx.clip(mx.round((block - bias) / safe), 0.0, top)
    difference = block - (levels * scale + bias)
    return levels, (h * difference * difference).sum(axis=-1, keepdims=True)


def _solve(
    block: mx.array, h: mx.array, levels: mx.array, scale: mx.array, bias: mx.array
) -> tuple[mx.array, mx.array]:
    """The scale and bias of least weighted squared error for given levels."""
    total = h.sum(axis=-1, keepdims=True)
    q = (h * levels).sum(axis=-1, keepdims=True) / total
    w = (h * block).sum(axis=-1, keepdims=True) / total
    spread = (h * (levels - q) * (levels - q)).sum(axis=-1, keepdims=True)
    joint = (h * (levels - q) * (block - w)).sum(axis=-1, keepdims=True)
    # A group on one level has no spread: it keeps what it had.
    new_scale = mx.where(spread > 0, joint / mx.where(spread > 0, spread, 1.0), scale)
    return new_scale, mx.where(spread > 0, w - new_scale * q, bias)


def pack(levels: np.ndarray, bits: int) -> mx.array:
    """Levels [rows, inputs] as MLX packs them: a little-endian stream of bits in 32-bit words."""
    rows, inputs = levels.shape
    if bits == 8:
        stream = np.ascontiguousarray(levels, np.uint8)
    else:
        spread = np.unpackbits(levels.astype(np.uint8)[..., None], axis=-1, bitorder="little")
        stream = np.packbits(spread[..., :bits].reshape(rows, inputs * bits), 1, "little")
    return mx.array(stream.view("<u4"))
