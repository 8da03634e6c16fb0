"""A depthwise convolution in MLX's operations, for the twins of two kernels."""

from collections.abc import Sequence

import mlx.core as mx

__all__ = ["centred", "weighted_sum"]


def weighted_sum(
    seen: Sequence[mx.array], weight: mx.array, bias: mx.array | None = None
) -> mx.array:
    """One filter a channel, from what each of its K taps sees: K times [B, T, D], weight [K, D].

    Shifted products: for a handful of taps this is elementwise work that fuses, and a grouped
    convolution is slow on MLX's CPU backend.
    """
    # Slices, since an index would be looked up on the device.
    weights = mx.split(weight, len(seen), axis=0)
    y = seen[0] * weights[0]
    for x, w in zip(seen[1:], weights[1:], strict=True):
        y = y + x * w
    return y if bias is None else y + bias


def centred(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
    """One filter a channel, each step amid what it sees: x [B, T, D], weight [K, D] with
    K odd, bias [D] -> [B, T, D]; beyond the ends are zeros."""
    K, T = weight.shape[0], x.shape[1]
    padded = mx.pad(x, [(0, 0), (K // 2, K // 2), (0, 0)])
    return weighted_sum([padded[:, k : k + T] for k in range(K)], weight, bias)
