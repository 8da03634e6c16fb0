"""Right kernels on the machine: what they give is what numpy and MLX give, in any order."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import machine
from small_kernels import launch, needs_compiler, run

pytestmark = needs_compiler

FLOATS = (mx.float32, mx.float16, mx.bfloat16)
SEEDS = range(4)


def numbers(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


# ---- kernels that threads make together

RMS_NORM = """
threadgroup float partial[32];
const uint row = threadgroup_position_in_grid.x;
const uint t = thread_position_in_threadgroup.x;
const int n = x_shape[1];
float sum = 0;
for (int i = t; i < n; i += threads_per_threadgroup.x) {
  const float value = x[row * n + i];
  sum += value * value;
}
sum = simd_sum(sum);
if (thread_index_in_simdgroup == 0) partial[simdgroup_index_in_threadgroup] = sum;
threadgroup_barrier(mem_flags::mem_threadgroup);
sum = 0;
for (uint i = 0; i < simdgroups_per_threadgroup; ++i) sum += partial[i];
const float scale = metal::precise::rsqrt(sum / n + epsilon);
for (int i = t; i < n; i += threads_per_threadgroup.x) {
  y[row * n + i] = static_cast<T>(x[row * n + i] * scale * float(weight[i]));
}
"""


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_norm(dtype: mx.Dtype):
    """Against MLX's own in float32, rounded once: one unit in the last place of the largest."""
    x, weight = mx.array(numbers(3000)).reshape(3, 1000), mx.array(numbers(1000, 1))
    x, weight = x.astype(dtype), weight.astype(dtype)
    wanted = mx.fast.rms_norm(x.astype(mx.float32), weight.astype(mx.float32), 1e-5)
    unit = {mx.float32: 1e-6, mx.float16: 2**-10, mx.bfloat16: 2**-7}[dtype]
    for seed in SEEDS:
        inputs = {"x": x, "weight": weight, "epsilon": mx.array(1e-5)}
        (y,) = run(
            RMS_NORM,
            inputs,
            {"y": (x.shape, dtype)},
            (3 * 256, 1, 1),
            (256, 1, 1),
            template=[("T", dtype)],
            seed=seed,
        )
        assert y.dtype == dtype
        assert mx.abs(y.astype(mx.float32) - wanted).max() <= unit * mx.abs(wanted).max()


def test_a_sum_over_a_ragged_grid():
    """1000 elements in threadgroups of 96: the last has 40 threads, in one simdgroup and 8."""
    body = """
    threadgroup float tree[96];
    const uint i = thread_position_in_threadgroup.x;
    const uint size = threads_per_threadgroup.x;
    tree[i] = x[thread_position_in_grid.x];
    for (uint stride = 64; stride > 0; stride /= 2) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
      if (i < stride && i + stride < size) tree[i] += tree[i + stride];
    }
    if (i == 0) y[threadgroup_position_in_grid.x] = tree[0];
    """
    x = numbers(1000)
    wanted = [x[i : i + 96].sum(dtype=np.float64) for i in range(0, 1000, 96)]
    for seed in SEEDS:
        (y,) = run(
            body,
            {"x": mx.array(x)},
            {"y": ((11,), mx.float32)},
            (1000, 1, 1),
            (96, 1, 1),
            seed=seed,
        )
        np.testing.assert_allclose(np.array(y), wanted, rtol=1e-5, atol=1e-5)


def test_prefix_sums_of_a_threadgroup():
    body = """
    threadgroup int sums[32];
    const uint i = thread_index_in_threadgroup;
    const int inside = simd_prefix_inclusive_sum(x[i]);
    if (thread_index_in_simdgroup == 31) sums[simdgroup_index_in_threadgroup] = inside;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int before = 0;
    for (uint s = 0; s < simdgroup_index_in_threadgroup; ++s) before += sums[s];
    y[i] = before + inside;
    """
    x = np.arange(1024, dtype=np.int32)[::-1] % 7 - 3
    for seed in SEEDS:
        (y,) = run(
            body,
            {"x": mx.array(x)},
            {"y": ((1024,), mx.int32)},
            (1024, 1, 1),
            (1024, 1, 1),
            seed=seed,
        )
        np.testing.assert_array_equal(np.array(y), np.cumsum(x))


def test_lanes_exchange_through_memory():
    """simdgroup_barrier orders the lanes of one simdgroup, there and back again."""
    body = """
    threadgroup float all[128];
    const uint lane = thread_index_in_simdgroup;
    threadgroup float* mine = all + 32 * simdgroup_index_in_threadgroup;
    float value = x[thread_position_in_grid.x];
    for (uint apart = 1; apart < 32; apart *= 2) {
      mine[lane] = value;
      simdgroup_barrier(mem_flags::mem_threadgroup);
      value += mine[lane ^ apart];
      simdgroup_barrier(mem_flags::mem_threadgroup);
    }
    y[thread_position_in_grid.x] = value;
    """
    x = numbers(256)
    wanted = np.repeat(x.reshape(8, 32).sum(1, dtype=np.float64), 32)
    for seed in SEEDS:
        (y,) = run(
            body,
            {"x": mx.array(x)},
            {"y": ((256,), mx.float32)},
            (256, 1, 1),
            (128, 1, 1),
            seed=seed,
        )
        np.testing.assert_allclose(np.array(y), wanted, rtol=1e-5, atol=1e-5)


def test_an_output_is_shared_behind_a_barrier_for_device_memory():
    body = """
    const uint i = thread_position_in_grid.x;
    y[i] = x[i];
    threadgroup_barrier(mem_flags::mem_device | mem_flags::mem_threadgroup);
    z[i] = y[63 - i];
    """
    x = numbers(64)
    outputs = {"y": ((64,), mx.float32), "z": ((64,), mx.float32)}
    _, z = run(body, {"x": mx.array(x)}, outputs, (64, 1, 1), (64, 1, 1))
    np.testing.assert_array_equal(np.array(z), x[::-1])


def test_atomics():
    body = """
    const uint i = thread_position_in_grid.x;
    atomic_fetch_add_explicit(&counts[x[i]], 1, memory_order_relaxed);
    """
    x = np.arange(1000) % 7
    (counts,) = run(
        body,
        {"x": mx.array(x, mx.int32)},
        {"counts": ((7,), mx.int32)},
        (1000, 1, 1),
        (128, 1, 1),
        init_value=0,
        atomic_outputs=True,
    )
    np.testing.assert_array_equal(np.array(counts), np.bincount(x))


# ---- what MLX passes


def test_templates_shapes_and_scalars():
    body = """
    const uint i = thread_position_in_grid.x;
    const uint row = i / x_shape[1], column = i % x_shape[1];
    T value = x[row * x_strides[0] + column * x_strides[1]];
    if (DOUBLED) value = value * T(2);
    y[i] = U(value) * N + U(count) + U(table[column]) + x_ndim;
    """
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    inputs = {"x": mx.array(x, mx.bfloat16), "count": mx.array(7), "table": mx.array([1, 2, 3])}
    for doubled in (False, True):
        (y,) = run(
            body,
            inputs,
            {"y": ((2, 3), mx.int32)},
            (6, 1, 1),
            (6, 1, 1),
            template=[("T", mx.bfloat16), ("U", mx.int32), ("N", 5), ("DOUBLED", doubled)],
        )
        np.testing.assert_array_equal(np.array(y), x * (1 + doubled) * 5 + 7 + [1, 2, 3] + 2)


@pytest.mark.parametrize("row_contiguous", [False, True])
def test_inputs_that_are_not_row_contiguous(row_contiguous: bool):
    """Copied, as MLX does, or as they lie with their strides."""
    base = mx.array(numbers(24)).reshape(4, 6)
    x = base[:, ::2].T
    body = """const uint i = thread_position_in_grid.x;
    y[i] = x[i / 4 * x_strides[0] + i % 4 * x_strides[1]]; z[i] = x_strides[0];"""
    outputs = {"y": ((3, 4), mx.float32), "z": ((12,), mx.int32)}
    y, z = run(body, {"x": x}, outputs, (12, 1, 1), (12, 1, 1), row_contiguous=row_contiguous)
    assert mx.array_equal(y, x)
    assert z[0].item() == (4 if row_contiguous else 2)


def test_copies_are_counted():
    rows = mx.zeros((4, 6), mx.bfloat16)
    scalar = mx.array(1)
    assert machine.hidden_copies([rows, rows[1:3], rows.reshape(24), scalar, rows[:, 1:2]]) == 1
    assert machine.hidden_copies([rows.T, rows[:, 1:], mx.broadcast_to(scalar, (3,))]) == 3


def test_launches_are_recorded_in_order():
    def call(x: mx.array) -> mx.array:
        for scale in (2, 3):
            kernel: Any = mx.fast.metal_kernel(
                name=f"times_{scale}",
                input_names=["x"],
                output_names=["y"],
                source=f"y[thread_position_in_grid.x] = x[thread_position_in_grid.x] * {scale};",
            )
            (x,) = kernel(
                inputs=[x],
                grid=(8, 1, 1),
                threadgroup=(8, 1, 1),
                output_shapes=[x.shape],
                output_dtypes=[x.dtype],
            )
        return x + 1

    x = mx.arange(8, dtype=mx.float32)
    launches = machine.record(call, x)
    assert ["times_2" in launches[0].name, "times_3" in launches[1].name] == [True, True]
    for made in launches:
        (x,) = machine.execute(made, [x])
    assert mx.array_equal(x, mx.arange(8) * 6)


def test_outputs_with_a_value_before():
    made = launch(
        "y[0] = 1;", {"x": mx.zeros(1)}, {"y": ((3,), mx.int32)}, (1, 1, 1), (1, 1, 1), init_value=7
    )
    assert machine.execute(made, [mx.zeros(1)])[0].tolist() == [1, 7, 7]
