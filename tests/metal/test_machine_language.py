"""The Metal language in C++: its numbers, vectors and functions are those of numpy and MLX."""

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

from small_kernels import needs_compiler, run

pytestmark = needs_compiler

FLOATS16 = (mx.float16, mx.bfloat16)
NAMES = {mx.float32: "float", mx.float16: "half", mx.bfloat16: "bfloat"}


def each(body: str, x: mx.array, dtype: mx.Dtype, **others: mx.array) -> mx.array:
    """y[i] for every i, of the shape of x."""
    text = "const uint i = thread_position_in_grid.x;\n" + body
    count = x.size
    return run(
        text, {"x": x, **others}, {"y": (x.shape, dtype)}, (count, 1, 1), (min(count, 1024), 1, 1)
    )[0]


def same(ours: mx.array, wanted: mx.array | np.ndarray) -> None:
    """Equal in every bit, but for what a NaN carries and the sign of nothing."""
    left, right = (np.array(mx.array(a).astype(mx.float32)) for a in (ours, wanted))
    np.testing.assert_array_equal(left, right)


def random_floats(count: int) -> np.ndarray:
    """Of all magnitudes that 16 bits reach and some that they do not, and the ends."""
    generator = np.random.default_rng(0)
    x = np.exp2(generator.uniform(-28, 18, count)) * generator.choice([-1, 1], count)
    ends = [0, np.inf, np.nan, 65504, 65519.99, 65520, 2**-24, 2**-25, 3 * 2**-26, 1 + 2**-11]
    ends += [1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 2**-14 - 2**-25, 3.4028235e38, 2.0**-130]
    return np.concatenate([x, ends, -np.array(ends)]).astype(np.float32)


@pytest.mark.parametrize("dtype", FLOATS16, ids=str)
def test_every_16_bit_number_as_a_float(dtype: mx.Dtype):
    bits = mx.arange(65536).astype(mx.uint16)
    same(each(f"y[i] = as_type<{NAMES[dtype]}>(x[i]);", bits, mx.float32), bits.view(dtype))


@pytest.mark.parametrize("dtype", FLOATS16, ids=str)
def test_floats_in_16_bits(dtype: mx.Dtype):
    x = mx.array(random_floats(100_000))
    same(each(f"y[i] = {NAMES[dtype]}(x[i]);", x, dtype), x.astype(dtype))
    if dtype == mx.float16:
        with np.errstate(over="ignore"):
            same(each("y[i] = x[i];", x, dtype), np.array(x).astype(np.float16))


@pytest.mark.parametrize("dtype", FLOATS16, ids=str)
@pytest.mark.parametrize("op", "+-*/")
def test_arithmetic_rounds_after_each_operation(dtype: mx.Dtype, op: str):
    generator = np.random.default_rng(1)
    a, b, c = (mx.array(generator.standard_normal(20_000)).astype(dtype) for _ in range(3))
    ops: dict[str, Callable[[mx.array, mx.array], mx.array]]
    ops = {"+": mx.add, "-": mx.subtract, "*": mx.multiply, "/": mx.divide}
    inputs = {"b": b, "c": c}
    same(each(f"y[i] = x[i] {op} b[i] + c[i];", a, dtype, **inputs), ops[op](a, b) + c)
    same(
        each(f"T3 v = x[i]; v {op}= b[i]; y[i] = v;".replace("T3", NAMES[dtype]), a, dtype, b=b),
        ops[op](a, b),
    )
    wide = [v.astype(mx.float32) for v in (a, b)]
    same(each(f"y[i] = x[i] {op} float(b[i]);", a, mx.float32, b=b), ops[op](*wide))
    same(each(f"y[i] = x[i] {op} 3;", a, dtype), ops[op](a, mx.array(3, dtype)))


def test_literals_are_floats():
    """As in Metal, which has no double: 0.1 is the float, and sums are rounded to floats."""
    x = mx.array([1e-8, 1.0, 3.0])
    same(each("y[i] = x[i] * 0.1 + 1.0;", x, mx.float32), x * 0.1 + 1.0)
    same(each("half h = 0.1h * 1e0H + 0h; y[i] = h;", x, mx.float16), mx.full(3, 0.1, mx.float16))


MATHS = {
    "exp": np.exp, "exp2": np.exp2, "log": np.log, "log2": np.log2, "log10": np.log10,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "sin": np.sin, "cos": np.cos,
    "tanh": np.tanh, "atan": np.arctan, "sinh": np.sinh, "floor": np.floor, "ceil": np.ceil,
    "trunc": np.trunc, "rint": np.rint, "abs": np.abs, "fabs": np.abs, "sign": np.sign,
    "round": lambda x: np.floor(x + 0.5), "log1p": np.log1p, "expm1": np.expm1,
    "precise::exp": np.exp, "fast::tanh": np.tanh,
}  # fmt: skip


@pytest.mark.parametrize("dtype", NAMES, ids=str)
def test_functions(dtype: mx.Dtype):
    """Of positive numbers, within rounding: one unit in 16 bits, four in float32."""
    x = mx.array(np.linspace(0.01, 4, 500)).astype(dtype)
    wide = np.array(x.astype(mx.float32)).astype(np.float64)
    count = len(MATHS)
    body = "const uint i = thread_position_in_grid.x;\n" + "".join(
        f"y[i * {count} + {n}] = metal::{name}(x[i]);\n" for n, name in enumerate(MATHS)
    )
    (y,) = run(body, {"x": x}, {"y": ((500, count), dtype)}, (500, 1, 1), (500, 1, 1))
    unit = {mx.float32: 2**-21, mx.float16: 2**-11, mx.bfloat16: 2**-8}[dtype]
    for column, (name, function) in zip(
        np.array(y.astype(mx.float32)).T, MATHS.items(), strict=True
    ):
        wanted = function(wide)
        np.testing.assert_allclose(column, wanted, rtol=unit, atol=unit / 8, err_msg=name)


def test_functions_of_several():
    texts = {
        "metal::max(a, b)": np.maximum,
        "metal::min(a, b)": np.minimum,
        "metal::pow(metal::abs(a), b)": lambda a, b: np.abs(a) ** b,
        "metal::fma(a, b, a)": lambda a, b: a * b + a,
        "metal::clamp(a, -0.5f, 0.5f)": lambda a, _: np.clip(a, -0.5, 0.5),
        "metal::select(a, b, a < b)": lambda a, b: np.where(a < b, b, a),
        "metal::copysign(a, b)": np.copysign,
        "metal::fmod(a, b)": np.fmod,
        "metal::max(a, NAN)": lambda a, _: a,
        "float(metal::isnan(a) || metal::isinf(b))": lambda a, _: a * 0,
    }
    generator = np.random.default_rng(2)
    a, b = (generator.standard_normal(200).astype(np.float32) for _ in range(2))
    body = "const uint i = thread_position_in_grid.x;\nconst float a = u[i], b = v[i];\n" + "".join(
        f"y[i * {len(texts)} + {n}] = {text};\n" for n, text in enumerate(texts)
    )
    inputs = {"u": mx.array(a), "v": mx.array(b)}
    (y,) = run(body, inputs, {"y": ((200, len(texts)), mx.float32)}, (200, 1, 1), (200, 1, 1))
    for column, (text, function) in zip(np.array(y).T, texts.items(), strict=True):
        np.testing.assert_allclose(column, function(a, b), rtol=2e-6, atol=1e-7, err_msg=text)


def test_functions_of_integers():
    texts = {
        "popcount(v)": lambda v: [int(n).bit_count() for n in v],
        "clz(v)": lambda v: [32 - int(n).bit_length() for n in v],
        "ctz(v)": lambda v: [(n & -n).bit_length() - 1 if n else 32 for n in map(int, v)],
        "mulhi(v, 0xdeadbeefu)": lambda v: v.astype(np.uint64) * 0xDEADBEEF >> 32,
        "rotate(v, 9u)": lambda v: v << 9 | v >> 23,
        "extract_bits(v, 5, 11)": lambda v: v >> 5 & 2047,
        "insert_bits(v, 3u, 8, 4)": lambda v: v & ~np.uint32(0xF00) | 0x300,
        "reverse_bits(v)": lambda v: [int(f"{n:032b}"[::-1], 2) for n in v],
        "min(v, 77u)": lambda v: np.minimum(v, 77),
        "uint(abs(int(v)))": lambda v: np.abs(v.astype(np.int32)),
        "numeric_limits<uint>::max() - v": lambda v: ~v,
    }
    x = np.random.default_rng(3).integers(0, 2**32, 100, np.uint32)
    x[:3] = 0, 1, 2**31 + 1
    body = "const uint i = thread_position_in_grid.x;\nconst uint v = x[i];\n" + "".join(
        f"y[i * {len(texts)} + {n}] = {text};\n" for n, text in enumerate(texts)
    )
    (y,) = run(
        body, {"x": mx.array(x)}, {"y": ((100, len(texts)), mx.uint32)}, (100, 1, 1), (100, 1, 1)
    )
    for column, (text, function) in zip(np.array(y).T, texts.items(), strict=True):
        np.testing.assert_array_equal(column, np.array(function(x)).astype(np.uint32), text)


@pytest.mark.parametrize("dtype", NAMES, ids=str)
def test_vectors(dtype: mx.Dtype):
    """Loads and stores of four, arithmetic, parts and constructors; small whole numbers."""
    name = NAMES[dtype]
    body = (
        """
    const uint i = thread_position_in_grid.x;
    T4 v = ((const device T4*)x)[i];
    T4 w = T4(v.xy, v.w, T(2)) + v * T(2);
    w.y -= v[3];
    w[2] = dot(v, T4(T(1)));
    ((device T4*)y)[i] = max(w, T4(T(-3))) + T4(packed_T4(v));
    ((device T2*)(y + 4 * THREADS))[i] = v.zw + as_type<T2>(as_type<ushort2>(v.xy));
    """.replace("T4", f"{name}4")
        .replace("T2", f"{name}2")
        .replace("T(", f"{name}(")
    )
    body = body.replace(f"packed_{name}4", f"packed_{name}4")
    if dtype == mx.float32:
        body = body.replace("ushort2", "uint2")
    generator = np.random.default_rng(4)
    x = generator.integers(-8, 8, (16, 4)).astype(np.float32)
    (y,) = run(
        body.replace("THREADS", "16"),
        {"x": mx.array(x).astype(dtype)},
        {"y": ((96,), dtype)},
        (16, 1, 1),
        (16, 1, 1),
    )
    w = np.stack([x[:, 0], x[:, 1], x[:, 3], np.full(16, 2)], 1) + 2 * x
    w[:, 1] -= x[:, 3]
    w[:, 2] = x.sum(1)
    wanted = np.concatenate([(np.maximum(w, -3) + x).ravel(), (x[:, 2:] + x[:, :2]).ravel()])
    np.testing.assert_array_equal(np.array(y.astype(mx.float32)), wanted)


def test_vectors_of_integers():
    """Four bytes of a word, as a quantised weight is taken apart."""
    body = """
    const uint i = thread_position_in_grid.x;
    const uchar4 bytes = as_type<uchar4>(x[i]);
    const uint4 low = uint4(bytes) & 15u;
    const int3 signs = int3(int4(low).xyz) - 8;
    y[i] = int(low.x + low.y * 16 + low.z * 256 + low.w * 4096) + signs.x * signs.y * signs.z;
    """
    x = np.random.default_rng(5).integers(0, 2**32, 50, np.uint32)
    (y,) = run(body, {"x": mx.array(x)}, {"y": ((50,), mx.int32)}, (50, 1, 1), (50, 1, 1))
    low = np.stack([x >> shift & 15 for shift in (0, 8, 16, 24)]).astype(np.int64)
    signs = low[:3] - 8
    wanted = (low * np.array([1, 16, 256, 4096])[:, None]).sum(0) + signs.prod(0)
    np.testing.assert_array_equal(np.array(y), wanted)


def test_helpers_in_all_address_spaces():
    """Functions and tables of a header, pointers to all memory, a struct with some."""
    header = """
    constant float table[4] = {1, 10, 100, 1000};
    constant constexpr int shift = 2;
    struct Row { const device float* from; threadgroup float* to; };
    template <typename T, int N>
    inline T total(thread const T (&values)[N], constant T* weights) {
      T sum = 0;
      for (int j = 0; j < N; ++j) sum += values[j] * weights[j];
      return sum;
    }
    inline void fill(Row row, uint lane) { row.to[lane] = row.from[lane]; }
    """
    body = """
    threadgroup float kept[2][32], other[32]; /* threadgroup float never[8]; */
    threadgroup uint once;
    const uint i = thread_index_in_threadgroup;
    fill(Row{x, kept[i % 2]}, i);
    if (i == 0) once = shift;  // threadgroup
    other[i] = 1;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    thread float four[4];
    for (int j = 0; j < 4; ++j) four[j] = kept[(i + j) % 2][(i + j) % 32] * other[(i + 1) % 32];
    y[i] = total(four, table) + once;
    """
    x = np.arange(32, dtype=np.float32) % 10
    (y,) = run(
        body, {"x": mx.array(x)}, {"y": ((32,), mx.float32)}, (32, 1, 1), (32, 1, 1), header=header
    )
    wanted = sum(np.roll(x, -j) * 10.0**j for j in range(4)) + 2
    np.testing.assert_array_equal(np.array(y), wanted)
