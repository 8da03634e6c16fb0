"""How often the host waits for the device, counted from inside Python.

MLX computes when it is asked to and blocks only where a value leaves it: `mx.eval`,
`mx.synchronize`, and an array's `item`, `tolist`, `int()`, `float()`, `bool()`, index, `bytes()`,
DLPack and NumPy conversion. Each of these is wrapped for the time of counting, on the module, on
the class `mx.array` and, because NumPy reads an array's buffer without calling any of its methods,
on `numpy.array` and its kin. One that happens inside another is not counted, nor is taking out an
array that a counted `mx.eval` has just computed: nothing is waited for. `mx.async_eval` does not
block, so it is no sync; taking its result later is one, whether or not it is ready by then.

What C++ evaluates on its own account is not seen; MLX has no such thing in a model's step but
printing an array, and its `copy` conversions, which are wrapped.
"""

# pyright: reportUnknownMemberType=false
# (mx.eval takes anything.)

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

__all__ = ["Syncs", "counted"]

METHODS = (
    *("item", "tolist", "__int__", "__float__", "__bool__", "__index__", "__complex__"),
    *("__bytes__", "__array__", "__dlpack__", "__repr__", "__str__", "__format__"),
)
CONVERSIONS = ("array", "asarray", "ascontiguousarray", "asanyarray", "copyto", "save")
RECENT = 256
"""Arrays remembered as computed; more than one step's worth."""


class Syncs:
    """The count so far: `total`, and `places`, where in the source each was asked for."""

    def __init__(self) -> None:
        self.total = 0
        self.places: Counter[str] = Counter()
        self._inside = False
        self._computed: deque[mx.array] = deque(maxlen=RECENT)

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, counted where it waits for an array."""

        def counting(*inputs: Any, **options: Any) -> Any:
            wanted = list(_arrays(inputs))
            if self._inside or (inputs and not wanted) or self._known(wanted):
                return function(*inputs, **options)
            self.total += 1
            self.places[_place(sys._getframe(1))] += 1  # pyright: ignore[reportPrivateUsage]
            self._inside = True
            try:
                return function(*inputs, **options)
            finally:
                self._inside = False
                self._computed.extend(wanted)

        return counting

    def _known(self, wanted: list[mx.array]) -> bool:
        return bool(wanted) and all(any(a is b for b in self._computed) for a in wanted)


@contextmanager
def counted() -> Generator[Syncs]:
    """Within it, syncs are counted."""
    syncs = Syncs()
    places: list[tuple[Any, str]] = [(mx, "eval"), (mx, "synchronize")]
    places += [(mx.array, name) for name in METHODS if name in vars(mx.array)]
    places += [(np, name) for name in CONVERSIONS]
    before = [(where, name, getattr(where, name)) for where, name in places]
    try:
        for where, name, function in before:
            setattr(where, name, syncs.wrap(function))
        yield syncs
    finally:
        for where, name, function in before:
            setattr(where, name, function)


def _arrays(tree: Any) -> Iterator[mx.array]:
    if isinstance(tree, mx.array):
        yield tree
    elif isinstance(tree, dict):
        yield from _arrays(tuple(tree.values()))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    elif isinstance(tree, tuple | list):
        for part in tree:  # pyright: ignore[reportUnknownVariableType]
            yield from _arrays(part)


def _place(frame: Any) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno}"
