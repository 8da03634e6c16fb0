"""Where a step is worth compiling: on a GPU, where fewer kernels are less time.

MLX's CPU backend compiles too, but through g++ at first use, which takes seconds, and a step is
no faster for it (measured); there it runs as it is written.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import mlx.core as mx

__all__ = ["compiled", "compiling"]

P = ParamSpec("P")
R = TypeVar("R")

_forced: bool | None = None


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`mx.compile` on a GPU, nothing on the CPU; decided at each call.

    Arguments and results are arrays in tuples, and plain numbers, one graph for each of those.
    """
    fused = mx.compile(function)

    @wraps(function)
    def choose(*args: P.args, **kwargs: P.kwargs) -> R:
        on = mx.default_device() == mx.Device(mx.gpu) if _forced is None else _forced
        return (fused if on else function)(*args, **kwargs)

    return choose


@contextmanager
def compiling(on: bool) -> Generator[None]:
    """Compile meanwhile, or do not, whatever the device: for tests and for counting."""
    global _forced
    before, _forced = _forced, on
    try:
        yield
    finally:
        _forced = before
