"""A Metal kernel of ours: its text in a file of its own, when it is used, how it is launched.

`LFM_KERNELS=off` in the environment leaves them all out, to compare. What a kernel's text looks
like to MLX: the file is the body of a function whose parameters are the inputs, the outputs and
those of Metal's attributes that it names; whatever it includes by `headers` stands before that.
"""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx

__all__ = [
    "FLOATS",
    "SIMD",
    "Grid",
    "Kernel",
    "Launcher",
    "Outputs",
    "Template",
    "launching",
    "usable",
    "without_kernels",
]

SIMD = 32
"""Threads of a simdgroup, on all of Apple's GPUs."""
FLOATS = (mx.float32, mx.float16, mx.bfloat16)
"""Types that kernels compute on; inside, all is float32."""

LEAST = 8
"""Numbers in an input below which MLX hands it over in another address space, in which our texts do
not look (`max_constant_array_size` in its metal_kernel.cpp)."""

Size = tuple[int, int, int]
Template = Mapping[str, int | bool | mx.Dtype]
"""Values of what a kernel's text leaves open, by name."""
Outputs = Sequence[tuple[tuple[int, ...], mx.Dtype]]
"""Shape and type of each."""


@dataclass(frozen=True)
class Grid:
    """How many threads in all, and how many together, in x, y and z."""

    threads: Size
    threadgroup: Size


Launcher = Callable[["Kernel", Sequence[mx.array], Template, Grid, Outputs], list[mx.array]]
"""What may be put in place of a launch: it gets the kernel, and what the kernel is called with."""

_how: Launcher | bool = True
"""True: by MLX, where there is Metal. False: not at all."""


class Kernel:
    """The kernel in `<name>.metal`. Inputs are made contiguous, which copies those that are not."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        headers: Sequence[str] = (),
    ):
        self.name, self.inputs, self.outputs = name, list(inputs), list(outputs)
        self.body, self.header = _text(name), "\n".join(map(_text, headers))
        self._call: Any = mx.fast.metal_kernel(
            name=f"lfm_{name}",
            input_names=self.inputs,
            output_names=self.outputs,
            source=self.body,
            header=self.header,
        )

    def __call__(
        self,
        inputs: Sequence[mx.array],
        template: Template,
        grid: Grid,
        outputs: Outputs,
    ) -> list[mx.array]:
        """Arrays of the shapes and types in `outputs`."""
        launch = Kernel.launch if isinstance(_how, bool) else _how
        return launch(self, inputs, template, grid, outputs)

    def launch(
        self,
        inputs: Sequence[mx.array],
        template: Template,
        grid: Grid,
        outputs: Outputs,
    ) -> list[mx.array]:
        """By MLX itself."""
        return self._call(
            inputs=list(inputs),
            template=list(template.items()),
            grid=grid.threads,
            threadgroup=grid.threadgroup,
            output_shapes=[shape for shape, _ in outputs],
            output_dtypes=[dtype for _, dtype in outputs],
        )


def usable(*arrays: mx.array) -> bool:
    """Do kernels run here, and on these inputs, which must be of one type and not tiny?"""
    if _how is False or (_how is True and not _on_metal()):
        return False
    dtype = arrays[0].dtype
    return dtype in FLOATS and all(a.dtype == dtype and a.size >= LEAST for a in arrays)


def _on_metal() -> bool:
    return _wanted() and mx.default_device() == mx.Device(mx.gpu)


@cache
def _wanted() -> bool:
    """Once for a process: this is asked for every operation of a step."""
    return os.environ.get("LFM_KERNELS") != "off" and mx.metal.is_available()


@contextmanager
def launching(launcher: Launcher | Literal[False]) -> Generator[None]:
    """Use kernels meanwhile whatever the device, and launch them so, or use none: for tests and
    counting. What `mx.compile` has seen already stays as it is."""
    global _how
    before, _how = _how, launcher
    try:
        yield
    finally:
        _how = before


def without_kernels() -> AbstractContextManager[None]:
    """Use none meanwhile, to compare."""
    return launching(False)


def _text(name: str) -> str:
    return (Path(__file__).parent / f"{name}.metal").read_text("utf-8")
