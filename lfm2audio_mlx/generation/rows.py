"""Greedy texts of several prompts at once: a step of the backbone reads its weights for all rows.

Rows begin and end whenever they do, each at a position of its own; one that is free takes the
next prompt. As in `decode`, the host is a step behind: a row that has ended makes one token more,
which nobody looks at.
"""

from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.loops import repeated
from lfm2audio_mlx.generation.steps import Steps
from lfm2audio_mlx.models.cache import KVCache
from lfm2audio_mlx.models.lfm2 import LayerState
from lfm2audio_mlx.sampling import GREEDY
from lfm2audio_mlx.tokens import SpecialTokens

__all__ = ["Row", "Rows"]


@dataclass(eq=False)
class Row:
    """One text. `done` once it has ended: `complete` by its own end, in a `loop` that was cut off,
    `speaking` where the model began to answer in sound, or at its limit."""

    offset: int
    limit: int
    tokens: list[int] = field(default_factory=list[int])
    done: bool = False
    complete: bool = False
    loop: bool = False
    speaking: bool = False

    def push(self, token: int, special: SpecialTokens) -> None:
        """The next token that was chosen."""
        if token == special.turn_end:
            self.done = self.complete = True
        elif token == special.audio_start:
            self.done = self.speaking = True
        else:
            self.tokens.append(token)
            if extra := repeated(self.tokens):
                del self.tokens[-extra:]
                self.loop = self.done = True
            elif len(self.tokens) == self.limit:
                self.done = True


class Rows:
    """At most `size` texts on their way; as many rows are computed as were ever needed at once."""

    def __init__(self, steps: Steps, special: SpecialTokens, size: int):
        self._steps, self._special, self._size = steps, special, size
        self._rows: list[Row | None] = []
        self._key = mx.random.key(0)
        self._layers: tuple[LayerState, ...] = ()
        self._drawn = mx.zeros((0,), mx.uint32)
        """The token that each row has chosen and that is not read yet."""

    @property
    def full(self) -> bool:
        return len(self._rows) == self._size and all(self._rows)

    @property
    def idle(self) -> bool:
        return not any(self._rows)

    def add(self, cursor: Cursor, limit: int) -> Row:
        """Begin a text of at most `limit` tokens where `cursor` stands; a row must be free."""
        hidden = cursor.advance(self._steps.model)
        first = self._steps.word(hidden, GREEDY, self._key)
        assert cursor.state
        if all(self._rows):
            self._widen(cursor.state.layers)
        place = self._rows.index(None)
        row = self._rows[place] = Row(cursor.state.offset, limit)
        pairs = zip(self._layers, cursor.state.layers, strict=True)
        self._layers = tuple(_put(rows, one, place) for rows, one in pairs)
        self._drawn = mx.slice_update(self._drawn, first, mx.array([place]), (0,))
        mx.async_eval(self._drawn, self._layers)
        return row

    def _widen(self, like: tuple[LayerState, ...]) -> None:
        """Twice the rows, so that few widths are compiled."""
        more = min(max(1, len(self._rows)), self._size - len(self._rows))
        layers = self._layers or tuple(_rows_of(layer, 0) for layer in like)
        self._layers = tuple(_beside(layer, _rows_of(layer, more)) for layer in layers)
        self._drawn = mx.concatenate([self._drawn, mx.zeros((more,), mx.uint32)])
        self._rows += [None] * more

    def step(self) -> list[Row]:
        """One token more of each row; those that it ended."""
        drawn, offsets = self._drawn, [row.offset if row else 0 for row in self._rows]
        room = max(offsets) + 1
        layers = tuple(s.grown(room) if isinstance(s, KVCache) else s for s in self._layers)
        self._layers = ()  # let go, or keys and values would have to be copied
        hidden, self._layers = self._steps.rows(drawn, layers, mx.array(offsets))
        del layers
        self._drawn = self._steps.word(hidden, GREEDY, self._key)
        mx.async_eval(self._drawn)
        ended: list[Row] = []
        for place, token in enumerate(np.array(drawn).tolist()):
            if row := self._rows[place]:
                row.offset += 1
                row.push(token, self._special)
                if row.done:
                    ended.append(row)
                    self._rows[place] = None
        return ended


def _rows_of(layer: LayerState, count: int) -> LayerState:
    """So many empty rows of a layer's kind."""
    assert isinstance(layer, tuple)
    arrays = (mx.zeros((count, *array.shape[1:]), array.dtype) for array in layer)
    return KVCache(*arrays) if isinstance(layer, KVCache) else tuple(arrays)


def _beside(one: LayerState, other: LayerState) -> LayerState:
    assert isinstance(one, tuple) and isinstance(other, tuple)
    arrays = (mx.concatenate([a, b]) for a, b in zip(one, other, strict=True))
    return KVCache(*arrays) if isinstance(one, KVCache) else tuple(arrays)


def _put(rows: LayerState, one: LayerState, place: int) -> LayerState:
    """The rows of a layer with a new one in its place."""
    assert isinstance(rows, tuple) and isinstance(one, tuple)
    if isinstance(rows, KVCache) and isinstance(one, KVCache):
        capacity = max(rows.capacity, one.capacity)
        rows, one = rows.grown(capacity), one.grown(capacity)
    start = mx.array([place])
    arrays = (mx.slice_update(a, b, start, (0,)) for a, b in zip(rows, one, strict=True))
    return KVCache(*arrays) if isinstance(rows, KVCache) else tuple(arrays)
