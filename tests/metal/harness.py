"""Cases on the machine that runs Metal kernels on a CPU, or on Metal itself, beside their twins."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import mlx.core as mx
import numpy as np

import machine
from cases import Case, Maker
from lfm2audio_mlx.kernels.metal import Grid, Kernel, Outputs, Template, launching

__all__ = ["Machine", "compare", "error", "expected", "on_machine", "tolerance"]

ROUNDING = {mx.float32: 1e-5, mx.float16: 2**-11, mx.bfloat16: 2**-8}
"""Largest difference from the twin in float32, over its largest value. In 16 bits: rounding to the
nearest, once. In float32: sums of up to 8,192 products in another order."""


def tolerance(case: Case, dtype: mx.Dtype) -> float:
    """What a case may differ from its twin by, over the largest value."""
    return ROUNDING[dtype] * case.roundings + case.position * 2**-23


@dataclass
class Machine:
    """Launches kernels on `machine`, and keeps account of them. With a `change` of their text,
    before and after, to plant a fault; `everywhere`: in each."""

    seed: int
    change: tuple[str, str] | None = None
    everywhere: bool = True
    launches: list[str] = field(default_factory=list)
    copies: int = 0

    def __call__(
        self,
        kernel: Kernel,
        inputs: Sequence[mx.array],
        template: Template,
        grid: Grid,
        outputs: Outputs,
    ) -> list[mx.array]:
        mx.eval(*inputs)
        (launch,) = machine.record(
            lambda *given: kernel.launch(given, template, grid, outputs), *inputs
        )
        if self.change:
            assert not self.everywhere or self.change[0] in launch.source
            launch = replace(launch, source=launch.source.replace(*self.change))
        self.copies += machine.hidden_copies(inputs)
        self.launches.append(kernel.name)
        return machine.execute(launch, inputs, self.seed + len(self.launches))


def on_machine(case: Case, dtype: mx.Dtype, seed: int) -> tuple[list[mx.array], Machine]:
    """What a case gives, and what was launched for it."""
    launcher = Machine(seed)
    with launching(launcher):
        results = list(case.call(Maker(dtype, seed)))
    return results, launcher


def expected(case: Case, dtype: mx.Dtype, seed: int) -> list[mx.array]:
    """What the twin gives in float32, of the same values."""
    return list(case.call(Maker(dtype, seed, wide=True)))


def error(ours: mx.array, wanted: mx.array) -> float:
    """The largest difference over the largest value; codes are equal or infinitely wrong."""
    if ours.shape != wanted.shape:
        return float("inf")
    if mx.issubdtype(ours.dtype, mx.integer):
        return 0.0 if np.array_equal(ours, wanted) else float("inf")
    wide, other = np.array(ours.astype(mx.float32)), np.array(wanted.astype(mx.float32))
    return float(np.abs(wide - other).max() / np.abs(other).max())


def compare(ours: Iterable[mx.array], wanted: Iterable[mx.array]) -> float:
    """The worst error of several results."""
    return max(error(one, other) for one, other in zip(ours, wanted, strict=True))
