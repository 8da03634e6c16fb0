"""What a network remembers of the past: keys and values, and the tails of convolutions.

All of it is values, not places: a step takes a state and returns the next one, and the old one
stays good. Keeping it is a snapshot at no cost; MLX copies a buffer only when it is still held
(otherwise the write happens in place).
"""

from dataclasses import dataclass

import mlx.core as mx

__all__ = ["KVCache", "WindowCache", "push_tail"]

GROWTH = 256
"""Positions by which a `KVCache` grows: few distinct shapes, so that memory stays flat."""


@dataclass(frozen=True)
class KVCache:
    """Keys and values of all past positions, [B, H, capacity, D], of which `length` are filled."""

    keys: mx.array
    values: mx.array
    length: int

    @staticmethod
    def append(past: "KVCache | None", keys: mx.array, values: mx.array) -> "KVCache":
        """Past and new positions; keys and values [B, H, T, D]."""
        B, H, T, D = keys.shape
        length = past.length if past else 0
        if past is None or length + T > past.keys.shape[2]:
            missing = length + T - (past.keys.shape[2] if past else 0)
            room = mx.zeros((B, H, -(-missing // GROWTH) * GROWTH, D), keys.dtype)
            old_keys, old_values = (past.keys, past.values) if past else (room[:, :, :0],) * 2
            past = KVCache(
                mx.concatenate([old_keys, room], axis=2),
                mx.concatenate([old_values, room], axis=2),
                length,
            )
        start = mx.array([length])
        return KVCache(
            mx.slice_update(past.keys, keys, start, axes=(2,)),
            mx.slice_update(past.values, values, start, axes=(2,)),
            length + T,
        )

    @property
    def filled(self) -> tuple[mx.array, mx.array]:
        """Keys and values of the positions so far, [B, H, length, D]."""
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


@dataclass(frozen=True)
class WindowCache:
    """Keys and values that a sliding window can still reach, [B, H, at most window - 1, D].

    `offset` counts all positions that ever went in.
    """

    keys: mx.array
    values: mx.array
    offset: int

    @staticmethod
    def append(
        past: "WindowCache | None", keys: mx.array, values: mx.array, window: int
    ) -> tuple[mx.array, mx.array, mx.array, "WindowCache"]:
        """Keys and values to attend to, the mask [T, S] of who may see what, and the next state.

        A query at position q sees the keys at q - window + 1 ... q.
        """
        T = keys.shape[2]
        offset = past.offset if past else 0
        if past:
            keys = mx.concatenate([past.keys, keys], axis=2)
            values = mx.concatenate([past.values, values], axis=2)
        S = keys.shape[2]
        distance = mx.arange(S - T, S)[:, None] - mx.arange(S)
        mask = (distance >= 0) & (distance < window)
        first = max(0, S - window + 1)
        state = WindowCache(keys[:, :, first:], values[:, :, first:], offset + T)
        return keys, values, mask, state


def push_tail(tail: mx.array | None, x: mx.array, size: int) -> tuple[mx.array, mx.array]:
    """Put the last `size` inputs of a causal convolution before the new ones.

    Returns [B, size + T, D] to convolve, and the next tail [B, size, D]; no tail means zeros.
    """
    B, _, D = x.shape
    if tail is None:
        tail = mx.zeros((B, size, D), x.dtype)
    x = mx.concatenate([tail, x], axis=1)
    return x, x[:, x.shape[1] - size :]
