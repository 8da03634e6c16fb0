"""Every kernel gives what its twin gives, on the machine that runs it here and on Metal itself."""

import math
import os
import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest

from cases import CASES, Case, Maker
from harness import Machine, compare, expected, on_machine, tolerance
from lfm2audio_mlx.kernels.metal import FLOATS, Kernel, launching, usable, without_kernels
from lfm2audio_mlx.kernels.sample_top_k import Draws, Offer, sample_top_k
from lfm2audio_mlx.sampling import GREEDY, Sampling
from machine import KernelFault
from small_kernels import needs_compiler

EVERY = [(case, dtype) for case in CASES for dtype in FLOATS]
NAMES = [f"{case.kernel}: {case.shape}, {str(dtype).split('.')[-1]}" for case, dtype in EVERY]


@needs_compiler
@pytest.mark.parametrize(("case", "dtype"), EVERY, ids=NAMES)
def test_a_kernel_is_its_twin(case: Case, dtype: mx.Dtype):
    """Without a fault, in another order each time, with no copy of an input made for it."""
    results, launched = on_machine(case, dtype, seed=0)
    assert compare(results, expected(case, dtype, seed=0)) <= tolerance(case, dtype)
    assert launched.launches == [case.kernel] * case.launches
    assert launched.copies == 0
    assert all(r.dtype in (dtype, mx.uint32) for r in results)


@pytest.mark.metal
@pytest.mark.parametrize(("case", "dtype"), EVERY, ids=NAMES)
def test_a_kernel_is_its_twin_on_metal(case: Case, dtype: mx.Dtype):
    """Twice, since what is not ordered may differ from run to run."""
    launches: list[str] = []

    def launch(kernel: Kernel, *rest: object) -> list[mx.array]:
        launches.append(kernel.name)
        return kernel.launch(*rest)  # pyright: ignore[reportArgumentType]

    with mx.stream(mx.gpu):
        for seed in (0, 1):
            with launching(launch):
                results = list(case.call(Maker(dtype, seed)))
            # On the processor, whose arithmetic is not the GPU's.
            with mx.stream(mx.cpu), without_kernels():
                wanted = expected(case, dtype, seed)
                mx.eval(wanted)
            assert compare(results, wanted) <= tolerance(case, dtype)
    assert launches == [case.kernel] * case.launches * 2


@needs_compiler
@pytest.mark.parametrize("sampling", [Sampling(1.0, 4), Sampling(0.7, 0)])
def test_draws_are_the_softmax(sampling: Sampling):
    """Chi-square against the probabilities; 0.1 % of keys would exceed the bound by chance. The
    twin draws the very same, so it passes too."""
    count = 2000
    logits = mx.array([[0.3, 2.0, 1.2, -1.0, 1.5, 0.0, 0.7, 0.1, -0.5]])
    many = mx.broadcast_to(logits, (count, 9))
    draws = Draws(sampling, mx.random.key(11), (1, count, 9))
    with launching(Machine(0)):
        drawn = np.array(sample_top_k(mx.contiguous(many), draws, 0, Offer(9)))
    assert np.array_equal(drawn, sample_top_k(many, draws, 0, Offer(9)))
    kept = np.array(logits[0], np.float64) / sampling.temperature
    if sampling.top_k:
        kept[kept < np.sort(kept)[-sampling.top_k]] = -np.inf
    expected = count * np.exp(kept) / np.exp(kept).sum()
    seen = np.bincount(drawn, minlength=9)
    assert seen[expected == 0].sum() == 0
    there = expected > 0
    statistic = ((seen - expected)[there] ** 2 / expected[there]).sum()
    assert statistic < {4: 16.3, 9: 26.1}[int(there.sum())]


@needs_compiler
@pytest.mark.parametrize("dtype", FLOATS)
def test_ties_and_signs_of_zero(dtype: mx.Dtype):
    """Values that tie with the k-th stay, -0 is 0, and the first of the largest is greedy's."""
    logits = mx.array([[0.0, -0.0, -1.0, 0.0, -2.0, -3.0, -1.0, -0.0, -9.0]]).astype(dtype)
    rows = mx.contiguous(mx.broadcast_to(logits, (200, 9)))
    with launching(Machine(3)):
        draws = Draws(Sampling(1.0, 2), mx.random.key(0), (1, 200, 9))
        tied = np.array(sample_top_k(rows, draws, 0, Offer(9)))
        greedy = sample_top_k(logits, Draws(GREEDY, None, (1, 1, 9)), 0, Offer(9))
    assert set(tied.tolist()) == {0, 1, 3, 7}
    assert greedy.tolist() == [0]


@needs_compiler
@pytest.mark.parametrize("rest", [math.nan, -math.inf, 0.0])
def test_logits_that_are_no_numbers_choose_nothing_outside(rest: float):
    logits = mx.where(mx.arange(40) > 33, math.nan, mx.full((2, 40), rest))
    for sampling in (GREEDY, Sampling(1.0, 4)):
        draws = Draws(sampling, mx.random.key(0), (1, 2, 40))
        with launching(Machine(0)):
            codes = np.array(sample_top_k(logits, draws, 0, Offer(40)))
        assert (codes < 40).all()


def test_kernels_are_left_out_where_they_do_not_run():
    assert not usable(mx.zeros((2,))) or mx.metal.is_available()
    with launching(Machine(0)):
        assert usable(mx.zeros((2,)))
        assert not usable(mx.zeros((2,), mx.int32))
        assert not usable(mx.zeros((2,)), mx.zeros((2,), mx.float16))
        with without_kernels():
            assert not usable(mx.zeros((2,)))


@pytest.mark.metal
@pytest.mark.parametrize(("setting", "used"), [("on", True), ("off", False)])
def test_an_environment_variable_leaves_them_out(setting: str, used: bool):
    code = (
        "import mlx.core as mx; from lfm2audio_mlx.kernels.metal import usable;"
        "print(usable(mx.zeros((2,))))"
    )
    environment = os.environ | {"LFM_KERNELS": setting}
    found = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert found.strip() == str(used)


BARRIER = "threadgroup_barrier(mem_flags::mem_threadgroup);"
PLANTED = [
    # A kernel, what is changed in its text, the fault.
    ("sample_top_k", BARRIER + "\n    const", "const", "race"),
    ("sample_top_k", "32 * turn", "0 * turn", "race"),
    ("sample_top_k", "threadgroup uint counts[64]", "threadgroup uint counts[33]", "bounds"),
    ("rel_pos_attention", BARRIER + "\n\n", "\n", "race"),
    ("rel_pos_attention", "start += 32) {\n  " + BARRIER, "start += 32) {", "race"),
    ("rel_pos_attention", "start < length;", "start < length - own;", "barrier"),
    ("rel_pos_attention", "start + row < length", "start + row <= length", "bounds"),
    ("rel_pos_attention", "if (i < length)", "if (i <= length)", "bounds"),
    ("norm_project", "first + r < rows_of_w", "first + r < rows_of_w + 1", "bounds"),
    ("norm_project", "first + r < rows_of_w", "first + r < rows_of_w - 1", "unwritten"),
    ("norm_project", "column < matrix.columns", "column <= matrix.columns", "bounds"),
    ("norm_swiglu", "int(lane) == r", "int(lane) <= r", "race"),
    ("project_add", "metal::min(first + r, rows_of_w - 1)", "first + r", "bounds"),
    ("qk_norm_rope", "pair < D / 2", "pair <= D / 2", "race"),
    ("depth_attention", "p < room", "p < position + 1", "unwritten"),
    ("depth_attention", "head % share == 0", "true", "race"),
    ("short_conv", "lengths[0] - 2", "lengths[0] - 1", "bounds"),
    ("glu_conv", "at >= 0 && at < length", "at < length", "bounds"),
    ("embed_rows", "i * stride[0], column", "i * stride[0] + 99, column", "bounds"),
    ("sample_and_embed", "column < columns", "column < columns + 1", "bounds"),
]


@needs_compiler
@pytest.mark.parametrize(("kernel", "right", "wrong", "kind"), PLANTED)
def test_a_planted_fault_is_found(kernel: str, right: str, wrong: str, kind: str):
    """What the proof is worth: each of these changes to a kernel's text is noticed, as what it is,
    in every order that is tried."""
    small = [c for c in CASES if c.kernel == kernel and not c.published]
    for seed in range(3):
        kinds: set[str] = set()
        for case in small:
            with launching(Machine(seed, change=(right, wrong))):
                try:
                    mx.eval(list(case.call(Maker(mx.float32, seed))))
                except KernelFault as fault:
                    kinds.add(fault.kind)
        assert kind in kinds
