"""What a thread on the machine knows about itself, and what it learns from its simdgroup."""

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

from small_kernels import needs_compiler, run

pytestmark = needs_compiler

FLOATS = (mx.float32, mx.float16, mx.bfloat16)


ONE_OF_EACH: dict[str, tuple[str, Callable[[np.ndarray], object]]] = {
    "sum": ("simd_sum(v)", np.sum),
    "product": ("simd_product(v)", np.prod),
    "max": ("simd_max(v)", np.max),
    "min": ("simd_min(v)", np.min),
    "shuffle": ("simd_shuffle(v, (lane * 7 + 3) % 32)", lambda v: v[(np.arange(32) * 7 + 3) % 32]),
    "xor": ("simd_shuffle_xor(v, 5)", lambda v: v[np.arange(32) ^ 5]),
    "down": ("simd_shuffle_down(v, 3)", lambda v: np.concatenate([v[3:], v[29:]])),
    "up": ("simd_shuffle_up(v, 3)", lambda v: np.concatenate([v[:3], v[:29]])),
    "broadcast": ("simd_broadcast(v, 9)", lambda v: v[9]),
    "first": ("simd_broadcast_first(v)", lambda v: v[0]),
    "inclusive": ("simd_prefix_inclusive_sum(v)", np.cumsum),
    "exclusive": ("simd_prefix_exclusive_sum(v)", lambda v: np.cumsum(v) - v),
    "product inclusive": ("simd_prefix_inclusive_product(v)", np.cumprod),
    "any": (
        "T(simd_any(v > T(3)) + 2 * simd_any(v > T(2)))",
        lambda v: any(v > 3) + 2 * any(v > 2),
    ),
    "all": (
        "T(simd_all(v > T(0)) + 2 * simd_all(v > T(1)))",
        lambda v: all(v > 0) + 2 * all(v > 1),
    ),
    "quad sum": ("quad_sum(v)", lambda v: np.repeat(v.reshape(8, 4).sum(1), 4)),
    "quad xor": ("quad_shuffle_xor(v, 2)", lambda v: v[np.arange(32) ^ 2]),
    "quad broadcast": ("quad_broadcast(v, 3)", lambda v: np.repeat(v[3::4], 4)),
    "ballot": (
        "T(popcount(ulong(simd_ballot(v > T(1)))))",
        lambda v: np.count_nonzero(v > 1),
    ),
}


@pytest.mark.parametrize("dtype", [*FLOATS, mx.int32, mx.uint8], ids=str)
def test_simd_functions(dtype: mx.Dtype):
    """Small whole numbers and halves: exact in every type, whatever the order."""
    body = "const uint lane = thread_index_in_simdgroup;\nconst T v = x[lane];\n" + "".join(
        f"y[{32 * n} + lane] = {text};\n" for n, (text, _) in enumerate(ONE_OF_EACH.values())
    )
    x = np.ones(32)
    x[[4, 11, 30]] = 2, 3, 2
    shape = (32 * len(ONE_OF_EACH),)
    (y,) = run(
        body,
        {"x": mx.array(x).astype(dtype)},
        {"y": (shape, dtype)},
        (32, 1, 1),
        (32, 1, 1),
        template=[("T", dtype)],
    )
    rows = np.array(y.astype(mx.float32)).reshape(-1, 32)
    for row, (name, (_, wanted)) in zip(rows, ONE_OF_EACH.items(), strict=True):
        np.testing.assert_array_equal(row, np.broadcast_to(np.asarray(wanted(x)), 32), name)


def test_lanes_that_are_not_there_give_nothing_sensible():
    """In a simdgroup of 20, reduction is over 20; what comes down from lane 20 is garbage."""
    body = """const uint i = thread_position_in_grid.x;
    y[i] = simd_sum(x[i]);
    z[i] = simd_shuffle_down(x[i], 1);"""
    x = np.random.default_rng(0).standard_normal(20).astype(np.float32)
    outputs = {"y": ((20,), mx.float32), "z": ((20,), mx.float32)}
    y, z = run(body, {"x": mx.array(x)}, outputs, (20, 1, 1), (32, 1, 1))
    np.testing.assert_allclose(np.array(y), np.full(20, x.sum(dtype=np.float64)), rtol=1e-5)
    np.testing.assert_array_equal(np.array(z)[:19], x[1:])
    assert np.isnan(np.array(z)[19])


# ---- what a thread knows about itself

SCALARS = [
    "dispatch_quadgroups_per_threadgroup",
    "dispatch_simdgroups_per_threadgroup",
    "quadgroup_index_in_threadgroup",
    "quadgroups_per_threadgroup",
    "simdgroup_index_in_threadgroup",
    "simdgroups_per_threadgroup",
    "thread_execution_width",
    "thread_index_in_quadgroup",
    "thread_index_in_simdgroup",
    "thread_index_in_threadgroup",
]
TRIPLES = [
    "dispatch_threads_per_threadgroup",
    "grid_origin",
    "grid_size",
    "thread_position_in_grid",
    "thread_position_in_threadgroup",
    "threadgroup_position_in_grid",
    "threadgroups_per_grid",
    "threads_per_grid",
    "threads_per_threadgroup",
]


def attributes(at: tuple[int, int, int], grid: np.ndarray, group: np.ndarray) -> dict[str, object]:
    """By their definition, for the thread at this place in the grid."""
    group = np.minimum(group, grid)
    where = np.array(at) // group
    inside = np.array(at) % group
    size = np.minimum(group, grid - where * group)
    index = inside[0] + size[0] * (inside[1] + size[1] * inside[2])
    return {
        "dispatch_quadgroups_per_threadgroup": -(-group.prod() // 4),
        "dispatch_simdgroups_per_threadgroup": -(-group.prod() // 32),
        "dispatch_threads_per_threadgroup": group,
        "grid_origin": (0, 0, 0),
        "grid_size": grid,
        "quadgroup_index_in_threadgroup": index // 4,
        "quadgroups_per_threadgroup": -(-size.prod() // 4),
        "simdgroup_index_in_threadgroup": index // 32,
        "simdgroups_per_threadgroup": -(-size.prod() // 32),
        "thread_execution_width": 32,
        "threads_per_simdgroup": 32,
        "thread_index_in_quadgroup": index % 4,
        "thread_index_in_simdgroup": index % 32,
        "thread_index_in_threadgroup": index,
        "thread_position_in_grid": at,
        "thread_position_in_threadgroup": inside,
        "threadgroup_position_in_grid": where,
        "threadgroups_per_grid": -(-grid // group),
        "threads_per_grid": grid,
        "threads_per_threadgroup": size,
    }


@pytest.mark.parametrize("width", ["thread_execution_width", "threads_per_simdgroup"])
def test_attributes(width: str):
    """A grid whose last threadgroups are smaller in x and z, with a threadgroup higher than it."""
    grid, group = (10, 3, 5), (4, 8, 3)
    scalars = [width if name == "thread_execution_width" else name for name in SCALARS]
    columns = scalars + [f"{name}.{axis}" for name in TRIPLES for axis in "xyz"]
    body = f"""
    const uint3 p = thread_position_in_grid;
    device uint* row = y + ((p.z * 3 + p.y) * 10 + p.x) * {len(columns)};
    """ + "".join(f"row[{i}] = {name};\n" for i, name in enumerate(columns))
    shape = (5, 3, 10, len(columns))
    (y,) = run(body, {"x": mx.zeros(1)}, {"y": (shape, mx.uint32)}, grid, group)
    for z, y_, x in np.ndindex(shape[:3]):
        known = attributes((x, y_, z), np.array(grid), np.array(group))
        row = [known[name] for name in scalars]
        row += [part for name in TRIPLES for part in np.array(known[name])]
        np.testing.assert_array_equal(np.array(y)[z, y_, x], row)
