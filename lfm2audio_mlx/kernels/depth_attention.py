"""One step of the depthformer's attention: norm, RoPE, append and attend, in one launch.

A frame has eight positions, so all of its keys and values are a few kilobytes: the kernel hands
back a copy with one more in it, since what a kernel writes is always new.
"""

import math
from typing import NamedTuple

import mlx.core as mx

from lfm2audio_mlx.kernels.metal import SIMD, Grid, Kernel, usable
from lfm2audio_mlx.kernels.qk_norm_rope import qk_norm_rope

__all__ = ["DepthSettings", "Past", "depth_attention"]

Past = tuple[mx.array, ...]
"""Keys and values of a frame so far: apart [B, kv_heads, room, D], or together
[B, 2, kv_heads, room, D] as the kernel has them."""

_kernel = Kernel(
    "depth_attention", ("qkv", "past", "weights", "at", "settings"), ("y", "kept"), ("head",)
)


class DepthSettings(NamedTuple):
    """Heads of keys and values, positions in a frame, the norm's epsilon, RoPE's theta."""

    kv_heads: int
    room: int
    eps: float
    theta: float


def depth_attention(
    qkv: mx.array, weights: mx.array, past: Past | None, position: int, settings: DepthSettings
) -> tuple[mx.array, Past]:
    """qkv [B, heads + 2 kv_heads, D] at a position of the frame -> [B, heads, D], and the past of
    the next position. `weights` [heads + kv_heads, D] are of the norm of queries and keys, one for
    all heads of a kind."""
    B, total, D = qkv.shape
    kv_heads, room = settings.kv_heads, settings.room
    heads = total - 2 * kv_heads
    share = heads // kv_heads
    if not usable(qkv, weights) or D % 2 or share * SIMD > 1024:
        return _ops(qkv, weights, past, position, settings)
    scale = [settings.eps, math.log2(settings.theta), D**-0.5]
    y, kept = _kernel(
        (qkv, past[0] if past else qkv, weights, mx.array([position, room]), mx.array(scale)),
        {"T": qkv.dtype, "D": D, "FIRST": past is None},
        Grid((SIMD * heads, B, 1), (SIMD * share, 1, 1)),
        [((B, heads, D), qkv.dtype), ((B, 2, kv_heads, room, D), qkv.dtype)],
    )
    return y, (kept,)


def _ops(
    qkv: mx.array, weights: mx.array, past: Past | None, position: int, settings: DepthSettings
) -> tuple[mx.array, Past]:
    B, total, D = qkv.shape
    kv_heads = settings.kv_heads
    heads = total - 2 * kv_heads
    value = qkv[:, heads + kv_heads :, None]
    if past is None:
        # Whoever is alone attends to himself, and is not turned.
        share = heads // kv_heads
        y = mx.broadcast_to(value, (B, kv_heads, share, D)).reshape(B, heads, D)
        key = qkv[:, heads : heads + kv_heads, None]
        key = mx.fast.rms_norm(key, weights[-1:].squeeze(0), settings.eps)
        # Room for the whole frame; what is no position yet is never looked at.
        room = (B, kv_heads, settings.room, D)
        return y, tuple(mx.contiguous(mx.broadcast_to(x, room)) for x in (key, value))
    eps, theta = settings.eps, settings.theta
    query, key = qk_norm_rope(qkv[:, None], weights, kv_heads, eps, theta, position, True)
    start, seen = mx.array([position]), position + 1
    keys = mx.slice_update(past[0], key, start, axes=(2,))
    values = mx.slice_update(past[1], value, start, axes=(2,))
    y = mx.fast.scaled_dot_product_attention(
        query, keys[:, :, :seen], values[:, :, :seen], scale=D**-0.5
    )
    return y[:, :, 0], (keys, values)
