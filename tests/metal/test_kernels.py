"""Every kernel gives what its twin gives, on the machine that runs it here and on Metal itself."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from cases import CASES, Case, Maker
from harness import Machine, compare, expected, on_machine, tolerance
from lfm2audio_mlx import kernels as kernel_texts
from lfm2audio_mlx.kernels.metal import FLOATS, Kernel, launching, usable, without_kernels
from lfm2audio_mlx.kernels.projections import norm_project, project_add
from lfm2audio_mlx.kernels.rel_pos_attention import rel_pos_attention
from lfm2audio_mlx.kernels.sample_top_k import Draws, Offer, sample_top_k
from lfm2audio_mlx.sampling import GREEDY, Sampling
from machine import KernelFault
from small_kernels import needs_compiler, run

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
@pytest.mark.parametrize("places", [(3, 259), (300, 599), (0, 256, 512)])
def test_the_first_of_the_largest_wins_wherever_it_is(places: tuple[int, ...]):
    """In one thread's share, in two of one simdgroup's, in two simdgroups'."""
    logits = mx.zeros((1, 600), mx.bfloat16)
    logits[0, mx.array(places)] = 1.0
    with launching(Machine(0)):
        code = sample_top_k(logits, Draws(GREEDY, None, (1, 1, 600)), 0, Offer(600))
    assert code.tolist() == [places[0]]


def drawn(key: mx.array, places: mx.array, count: int) -> np.ndarray:
    """Numbers of the `count` that `draw.metal` draws from a key."""
    header = (Path(kernel_texts.__file__).parent / "draw.metal").read_text("utf-8")
    body = """
        const uint n = thread_position_in_grid.x;
        noise[n] = gumbel(uint2(key[0], key[1]), places[n], uint(count[0]));
    """
    inputs = {"key": key, "places": places.astype(mx.uint32), "count": mx.array([count])}
    outputs = {"noise": (places.shape, mx.float32)}
    return np.array(run(body, inputs, outputs, (places.size, 1, 1), (32, 1, 1), header=header)[0])


@needs_compiler
@pytest.mark.parametrize("count", [8, 9, 2048, 2049])
def test_noise_is_what_mlx_draws(count: int):
    key = mx.random.key(count)
    wanted = np.array(mx.random.gumbel((count,), key=key))
    ours = drawn(key, mx.arange(count), count)
    assert np.abs(ours - wanted).max() < 1e-5  # logarithms of two libraries, in float32


@needs_compiler
def test_no_noise_is_infinite():
    """Of a number so near to one that it is one in float32: once in 33 million, so looked for."""
    count = 1 << 22
    for seed in range(100):
        key = mx.random.key(seed)
        bits = np.array(mx.random.split(key, count // 2)).reshape(-1)  # which are raw draws
        place = int(bits.argmax())
        if bits[place] >= 0xFFFFFF80:
            assert np.float32(bits[place]) / np.float32(2**32) == 1.0
            noise = drawn(key, mx.array([place] * 8), count)
            assert np.isfinite(noise).all()
            assert noise[0] > 16
            return
    pytest.fail("no such number was found")


def launched_by(call: Callable[[], object]) -> list[str]:
    """Kernels that something would launch; none runs."""
    names: list[str] = []

    def note(kernel: Kernel, *rest: Any) -> list[mx.array]:
        names.append(kernel.name)
        return [mx.zeros(shape, dtype) for shape, dtype in rest[-1]]

    with launching(note):
        call()
    return names


@pytest.mark.parametrize(
    ("layer", "used"),
    [
        (nn.QuantizedLinear(64, 64, bias=False, bits=4), True),
        (nn.QuantizedLinear(64, 64, bias=True, bits=4), False),
        (nn.QuantizedLinear(64, 64, bias=False, bits=3), False),
        (nn.QuantizedLinear(64, 64, bias=False, bits=5), False),
        (nn.QuantizedLinear(64, 64, bias=False, bits=4, group_size=32, mode="mxfp4"), False),
        (nn.Linear(64, 64, bias=False), False),
    ],
)
def test_only_weights_that_a_kernel_reads_go_to_it(layer: nn.Module, used: bool):
    norm, x = nn.RMSNorm(64), mx.zeros((1, 64))
    assert launched_by(lambda: norm_project(norm, layer, x)) == ["norm_project"] * used
    assert launched_by(lambda: project_add(layer, x, x)) == ["project_add"] * used


@pytest.mark.parametrize(("positions", "used"), [(1, True), (4, True), (5, False), (16, False)])
def test_many_positions_are_for_matrix_kernels(positions: int, used: bool):
    norm, layer = nn.RMSNorm(64), nn.QuantizedLinear(64, 64, bias=False, bits=4)
    x = mx.zeros((1, positions, 64))
    assert launched_by(lambda: norm_project(norm, layer, x)) == ["norm_project"] * used


@pytest.mark.parametrize(
    ("length", "D", "used"), [(512, 32, True), (513, 32, False), (9, 48, False)]
)
def test_the_encoders_attention_has_its_limits(length: int, D: int, used: bool):
    qkv, distances = mx.zeros((1, length, 3, 2, D)), mx.zeros((2 * length - 1, 2, D))
    bias = mx.zeros((2, D))
    launched = launched_by(lambda: rel_pos_attention(qkv, distances, bias, bias))
    assert launched == ["rel_pos_attention"] * used


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
    assert not usable(mx.zeros((8,))) or mx.metal.is_available()
    with launching(Machine(0)):
        assert usable(mx.zeros((8,)))
        assert not usable(mx.zeros((7,)))
        assert not usable(mx.zeros((8,), mx.int32))
        assert not usable(mx.zeros((8,)), mx.zeros((8,), mx.float16))
        with without_kernels():
            assert not usable(mx.zeros((8,)))


@pytest.mark.metal
@pytest.mark.parametrize(("setting", "used"), [("on", True), ("off", False)])
def test_an_environment_variable_leaves_them_out(setting: str, used: bool):
    code = (
        "import mlx.core as mx; from lfm2audio_mlx.kernels.metal import usable;"
        "print(usable(mx.zeros((8,))))"
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
