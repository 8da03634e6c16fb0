"""Runs a kernel that is written down in a test: the body, its inputs and its outputs."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
import pytest

import kernel_build
import machine

needs_compiler = pytest.mark.skipif(
    not sys.platform.startswith("linux") or kernel_build.compiler() is None,
    reason="the machine runs on Linux and compiles kernels: install g++ 12 or newer",
)

Size = tuple[int, int, int]
Outputs = Mapping[str, tuple[tuple[int, ...], mx.Dtype]]
Template = Sequence[tuple[str, int | bool | mx.Dtype]]


def launch(
    body: str,
    inputs: Mapping[str, mx.array],
    outputs: Outputs,
    grid: Size,
    threadgroup: Size,
    *,
    header: str = "",
    template: Template = (),
    row_contiguous: bool = True,
    init_value: float | None = None,
    atomic_outputs: bool = False,
) -> machine.Launch:
    """The launch MLX makes of this body."""
    kernel: Any = mx.fast.metal_kernel(
        name="small",
        input_names=list(inputs),
        output_names=list(outputs),
        source=body,
        header=header,
        ensure_row_contiguous=row_contiguous,
        atomic_outputs=atomic_outputs,
    )

    def call(*arrays: mx.array) -> list[mx.array]:
        return kernel(
            inputs=list(arrays),
            template=list(template),
            grid=grid,
            threadgroup=threadgroup,
            output_shapes=[shape for shape, _ in outputs.values()],
            output_dtypes=[dtype for _, dtype in outputs.values()],
            init_value=init_value,
        )

    (only,) = machine.record(call, *inputs.values(), init_value=init_value)
    return only


def run(
    body: str,
    inputs: Mapping[str, mx.array],
    outputs: Outputs,
    grid: Size,
    threadgroup: Size,
    *,
    seed: int = 0,
    header: str = "",
    template: Template = (),
    row_contiguous: bool = True,
    init_value: float | None = None,
    atomic_outputs: bool = False,
) -> list[mx.array]:
    """What the kernel gives on the machine."""
    made = launch(
        body,
        inputs,
        outputs,
        grid,
        threadgroup,
        header=header,
        template=template,
        row_contiguous=row_contiguous,
        init_value=init_value,
        atomic_outputs=atomic_outputs,
    )
    return machine.execute(made, list(inputs.values()), seed)
