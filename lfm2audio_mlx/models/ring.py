"""Sliding windows in buffers of a fixed size: position p lives in slot p % size, never moved.

What a step needs to know about positions is made here on the host, as few small arrays that all
layers share: a GPU would spend longer on launching what computes them.
"""

import mlx.core as mx
import numpy as np

__all__ = ["around", "turns"]


def around(offset: int, T: int, window: int, size: int) -> tuple[mx.array, mx.array]:
    """Where the T positions from `offset` on go, and what they see: slots [T], mask [T, size].

    A position sees itself and the window - 1 before it. `size` is at least window - 1 + T, so
    that nothing is written over that the first of them still sees.
    """
    positions = np.arange(offset, offset + T)
    last = offset + T - 1
    held = last - (last - np.arange(size)) % size
    distance = positions[:, None] - held
    mask = (held >= 0) & (distance >= 0) & (distance < window)
    return mx.array(positions % size), mx.array(mask)  # pyright: ignore[reportArgumentType]


def turns(offset: int, T: int, dim: int, base: float) -> mx.array:
    """RoPE of interleaved pairs as complex factors, for T positions: [3, T, dim // 2].

    A pair is a complex number, multiplied by e^(i * position * frequency): what Su et al. 2021
    (https://arxiv.org/abs/2104.09864) write out in sines and cosines. The factors are for
    queries, for keys, and for values, which are multiplied by 1.
    """
    frequencies = base ** (-np.arange(0, dim, 2) / dim)
    turn = np.exp(1j * np.outer(np.arange(offset, offset + T), frequencies))
    return mx.array(np.stack([turn, turn, np.ones_like(turn)]).astype(np.complex64))
