"""LFM2's gated short convolution, C * conv(B * x), over a prompt in one launch.

For a single step the twin is one launch too, once `mx.compile` has fused it, and its taps need no
copies (docs/speed.md): the kernel is for two positions and more.
"""

import mlx.core as mx

from lfm2audio_mlx.kernels.depthwise import weighted_sum
from lfm2audio_mlx.kernels.metal import Grid, Kernel, usable

__all__ = ["Taps", "short_conv"]

Taps = tuple[mx.array, ...]
"""The last inputs [B, 1, D] of a convolution, oldest first: all that it sees of the past."""

_kernel = Kernel(
    "short_conv",
    ("gated", "older", "newer", "weight", "lengths"),
    ("y", "next_older", "next_newer"),
)


def short_conv(
    gated: mx.array, taps: Taps | None, weight: mx.array, bias: mx.array | None, length: int | None
) -> tuple[mx.array, Taps]:
    """gated [B, T, 3 D] (B, C and x), weight [K, D] -> [B, T, D], and the taps after the first
    `length` positions, or after all. No taps are zeros."""
    B, T, D = gated.shape[0], gated.shape[1], gated.shape[2] // 3
    K = weight.shape[0]
    if taps is None:
        taps = (mx.zeros((B, 1, D), gated.dtype),) * (K - 1)
    if T == 1 or K != 3 or bias is not None or not usable(gated, weight, *taps):
        return _ops(gated, taps, weight, bias, length)
    y, older, newer = _kernel(
        (gated, *taps, weight, mx.array([T if length is None else length])),
        {"T": gated.dtype},
        Grid((D, T, B), (min(D, 256), 1, 1)),
        [((B, T, D), gated.dtype), *[((B, 1, D), gated.dtype)] * 2],
    )
    return y, (older, newer)


def _ops(
    gated: mx.array, taps: Taps, weight: mx.array, bias: mx.array | None, length: int | None
) -> tuple[mx.array, Taps]:
    gate_in, gate_out, x = mx.split(gated, 3, axis=-1)
    seen, taps = _shifted(taps, gate_in * x, length)
    return gate_out * weighted_sum(seen, weight, bias), taps


def _shifted(taps: Taps, x: mx.array, length: int | None) -> tuple[list[mx.array], Taps]:
    """What each tap of a causal convolution sees of x [B, T, D], oldest first, [B, T, D] each, and
    the taps after the first `length` steps, or after all. For a single step nothing is copied."""
    T, size = x.shape[1], len(taps)
    end = T if length is None else length
    if T == 1:
        seen = [*taps, x]
        return seen, tuple(seen[1:])
    whole = mx.concatenate([*taps, x], axis=1)
    # Copies, or the next step would hold all of `whole`.
    last = (mx.contiguous(whole[:, end + k : end + k + 1]) for k in range(size))
    return [whole[:, k : k + T] for k in range(size + 1)], tuple(last)
