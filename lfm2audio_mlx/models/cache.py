"""What attention remembers of the past: keys and values.

All of it is values, not places: a step takes a state and returns the next one, and the old one
stays good. Keeping it is a snapshot at no cost; MLX copies a buffer only when it is still held
(otherwise the write happens in place).
"""

from dataclasses import dataclass
from typing import NamedTuple

import mlx.core as mx

__all__ = ["KVCache", "WindowCache"]

GROWTH = 256
"""Positions by which a `KVCache` grows: few distinct shapes, so that memory stays flat."""


class KVCache(NamedTuple):
    """Keys and values of all past positions, [B, H, capacity, D]; what lies beyond the positions
    there were is not to be looked at, and is written over."""

    keys: mx.array
    values: mx.array

    @property
    def capacity(self) -> int:
        return self.keys.shape[2]

    def first(self, length: int) -> "KVCache":
        """Those of the first positions."""
        return KVCache(self.keys[:, :, :length], self.values[:, :, :length])

    def grown(self, length: int) -> "KVCache":
        """With room for so many positions."""
        missing = length - self.capacity
        if missing <= 0:
            return self
        B, H, before, D = self.keys.shape
        room = mx.zeros((B, H, -(-missing // GROWTH) * GROWTH, D), self.keys.dtype)
        if not before:
            return KVCache(room, mx.zeros_like(room))
        return KVCache(*(mx.concatenate([old, room], axis=2) for old in self))

    @staticmethod
    def append(past: "KVCache | None", keys: mx.array, values: mx.array, offset: int) -> "KVCache":
        """With keys and values [B, H, T, D] of the positions from `offset` on."""
        start = mx.array([offset])
        past = (past or KVCache(keys[:, :, :0], values[:, :, :0])).grown(offset + keys.shape[2])
        return KVCache(
            mx.slice_update(past.keys, keys, start, axes=(2,)),
            mx.slice_update(past.values, values, start, axes=(2,)),
        )

    def put(self, keys: mx.array, values: mx.array, offsets: mx.array) -> "KVCache":
        """With keys and values [B, H, 1, D] of a position of each row's own, `offsets` [B]."""
        if offsets.size == 1:
            return KVCache(
                mx.slice_update(self.keys, keys, offsets, axes=(2,)),
                mx.slice_update(self.values, values, offsets, axes=(2,)),
            )
        places = mx.broadcast_to(offsets[:, None, None, None], keys.shape)
        return KVCache(
            mx.put_along_axis(self.keys, places, keys, axis=2),
            mx.put_along_axis(self.values, places, values, axis=2),
        )


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
