"""The machine on kernels that others have published and run on Metal, as evidence for it."""

import re
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models import gated_delta

from machine import execute, record
from small_kernels import needs_compiler, run

pytestmark = needs_compiler

DTYPES = (mx.float32, mx.float16, mx.bfloat16)


def mlx_text(name: str, until: str) -> str:
    """The start of one of MLX's files of kernels, up to the end of a function."""
    folder = Path(mx.__file__).parent / "include" / "mlx" / "backend" / "metal" / "kernels"
    text = (folder / name).read_text()
    end = text.index("\n}\n", re.search(rf"\b{until}\(", text).start())  # pyright: ignore[reportOptionalMemberAccess]
    # Lines that only a library of Metal code needs.
    return re.sub(r"^(#include|#define MLX_MTL|constant bool).*$", "", text[: end + 3], flags=re.M)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bits", [4, 8])
def test_mlx_quantized_matrix_times_vector(dtype: mx.Dtype, bits: int):
    """Against dequantised weights in float32; a row's error is that of rounding the result."""
    rows, columns = 32, 1024
    mx.random.seed(0)
    weight, scales, biases = mx.quantize(
        mx.random.normal((rows, columns)).astype(dtype), group_size=64, bits=bits
    )
    x = mx.random.normal((columns,)).astype(dtype)
    (y,) = run(
        f"""qmv_fast_impl<T, 64, {bits}>(w, scales, biases, x, y, columns, rows,
            threadgroup_position_in_grid, simdgroup_index_in_threadgroup,
            thread_index_in_simdgroup);""",
        {
            "w": weight,
            "scales": scales,
            "biases": biases,
            "x": x,
            "columns": mx.array(columns),
            "rows": mx.array(rows),
        },
        {"y": ((rows,), dtype)},
        (32, rows // 4, 1),
        (32, 2, 1),
        template=[("T", dtype)],
        header=mlx_text("quantized.h", "qmv_fast_impl"),
    )
    wide = [v.astype(mx.float32) for v in (scales, biases)]
    wanted = mx.dequantize(weight, *wide, group_size=64, bits=bits) @ x.astype(mx.float32)
    unit = {mx.float32: 1e-5, mx.float16: 2**-11, mx.bfloat16: 2**-8}[dtype]
    error = mx.abs(y.astype(mx.float32) - wanted).max() / mx.abs(wanted).max()
    assert error <= unit


def test_mlx_lm_gated_delta(monkeypatch: pytest.MonkeyPatch):
    """mlx-lm's kernel against its own form in MLX operations. It only makes one on Metal."""
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    kernel: Any = gated_delta._make_gated_delta_kernel()
    batch, length, heads, keys, values = 2, 5, 2, 64, 8
    mx.random.seed(1)
    q, k = (mx.random.normal((batch, length, heads, keys)) * 0.1 for _ in range(2))
    v = mx.random.normal((batch, length, heads, values))
    g, beta = (mx.random.uniform(shape=(batch, length, heads)) for _ in range(2))
    state = mx.random.normal((batch, heads, values, keys))
    inputs = [q, k, v, g, beta, state, mx.array(length)]
    types = [("InT", mx.float32), ("StT", mx.float32)]
    sizes = [("Dk", keys), ("Dv", values), ("Hk", heads), ("Hv", heads)]
    (made,) = record(
        lambda *arrays: kernel(
            inputs=list(arrays),
            template=[*types, *sizes],
            grid=(32, values, batch * heads),
            threadgroup=(32, 4, 1),
            output_shapes=[v.shape, state.shape],
            output_dtypes=[mx.float32, mx.float32],
        ),
        *inputs,
    )
    wanted = gated_delta.gated_delta_ops(q, k, v, g, beta, state)
    for seed in range(3):
        for ours, theirs in zip(execute(made, inputs, seed), wanted, strict=True):
            # Sums of 64 products in another order.
            error = mx.abs(ours - theirs).max() / mx.abs(theirs).max()
            assert error <= 1e-5
