"""The streamed file is the one that the safetensors library reads, to the last byte counted."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from lfm_convert.writer import Layout, total_size, write_safetensors

DTYPES = [mx.float32, mx.float16, mx.bfloat16, mx.uint32]
shapes = st.lists(st.integers(1, 5), max_size=3).map(tuple)


def values(shape: tuple[int, ...], dtype: mx.Dtype, seed: int) -> mx.array:
    numbers = np.random.default_rng(seed).integers(0, 100, shape)
    return mx.array(numbers.astype(np.float32)).astype(dtype)


@given(st.lists(st.tuples(shapes, st.sampled_from(DTYPES)), min_size=1, max_size=6))
@settings(max_examples=40)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, entries: list):
    path = tmp_path_factory.mktemp("writer") / "a.safetensors"
    layout: Layout = {f"layer.{i}": entry for i, entry in enumerate(entries)}
    arrays = {name: values(*entry, seed=i) for i, (name, entry) in enumerate(layout.items())}
    record = write_safetensors(path, layout, iter(arrays.items()))
    loaded = mx.load(str(path))
    assert isinstance(loaded, dict) and loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert mx.array_equal(loaded[name], array)
    with safe_open(path, framework="numpy") as file:  # checks lengths and offsets
        assert file.metadata() == {"format": "mlx"}
    data = path.read_bytes()
    assert record.size == len(data) == total_size(layout)
    assert record.sha256 == hashlib.sha256(data).hexdigest()


def test_a_tensor_is_let_go_before_the_next_is_made(tmp_path: Path):
    """Peak memory is one tensor, not the file."""
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    layout: Layout = {str(i): ((1 << 20,), mx.float32) for i in range(16)}

    def made() -> Iterator[tuple[str, mx.array]]:
        for name in layout:
            yield name, mx.zeros((1 << 20,)) + 1

    write_safetensors(tmp_path / "a.safetensors", layout, made())
    assert mx.get_peak_memory() - before < 4 * (4 << 20)


@pytest.mark.parametrize("fault", ["order", "shape", "missing"])
def test_a_layout_that_is_not_kept_is_noticed(tmp_path: Path, fault: str):
    layout: Layout = {"a": ((2,), mx.float32), "b": ((3,), mx.float32)}
    tensors = {"a": mx.zeros((2,)), "b": mx.zeros((3,))}
    if fault == "order":
        tensors = dict(reversed(tensors.items()))
    elif fault == "shape":
        tensors["b"] = mx.zeros((4,))
    else:
        del tensors["b"]
    with pytest.raises(AssertionError):
        write_safetensors(tmp_path / "a.safetensors", layout, iter(tensors.items()))
