"""Queries and keys made ready for attention: RMS norm of each head, and RoPE, in one launch.

Zhang and Sennrich 2019 (https://arxiv.org/abs/1910.07467), Su et al. 2021
(https://arxiv.org/abs/2104.09864).
"""

import math

import mlx.core as mx

from lfm2audio_mlx.kernels.metal import SIMD, Grid, Kernel, usable

__all__ = ["qk_norm_rope"]

TOGETHER = 8
"""Heads to a threadgroup."""

_kernel = Kernel(
    "qk_norm_rope", ("qkv", "weights", "offsets", "settings"), ("queries", "keys"), ("head",)
)


def qk_norm_rope(
    qkv: mx.array,
    weights: mx.array,
    kv_heads: int,
    eps: float,
    theta: float,
    offset: int | mx.array,
    interleaved: bool = False,
) -> tuple[mx.array, mx.array]:
    """qkv [B, T, heads + 2 kv_heads, D] -> queries [B, heads, T, D], keys [B, kv_heads, T, D].

    `weights` [heads + kv_heads, D] are of the norm. `offset` is the position of the first, for all
    rows or [B]. RoPE turns the halves of a head, or neighbours with `interleaved`.
    """
    B, T, total, D = qkv.shape
    heads = total - 2 * kv_heads
    if not usable(qkv, weights) or D % 2:
        return _ops(qkv, weights, kv_heads, eps, theta, offset, interleaved)
    if isinstance(offset, int):
        offset = mx.array([offset] * B)
    queries, keys = _kernel(
        (qkv, weights, offset.astype(mx.int32), mx.array([eps, math.log2(theta)])),
        {"T": qkv.dtype, "D": D, "INTERLEAVED": interleaved},
        Grid((SIMD * (heads + kv_heads), T, B), (SIMD * TOGETHER, 1, 1)),
        [((B, heads, T, D), qkv.dtype), ((B, kv_heads, T, D), qkv.dtype)],
    )
    return queries, keys


def _ops(
    qkv: mx.array,
    weights: mx.array,
    kv_heads: int,
    eps: float,
    theta: float,
    offset: int | mx.array,
    interleaved: bool,
) -> tuple[mx.array, mx.array]:
    heads, D = qkv.shape[2] - 2 * kv_heads, qkv.shape[3]
    turned = mx.fast.rms_norm(qkv[:, :, : heads + kv_heads], None, eps) * weights
    turned = mx.fast.rope(
        turned.transpose(0, 2, 1, 3),
        D,
        traditional=interleaved,
        base=theta,
        scale=1.0,
        offset=offset,
    )
    queries, keys = mx.split(turned, [heads], axis=1)
    return queries, keys
