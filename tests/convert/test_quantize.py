"""Least squares beat rounding in every group, in the very format that MLX reads."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm_convert.quantize import Quantized, pack, quantize_weight

BITS = [2, 3, 4, 5, 6, 8]


def dequantized(made: Quantized, bits: int, group_size: int) -> np.ndarray:
    """What MLX makes of it, computed in float32."""
    scales, biases = made.scales.astype(mx.float32), made.biases.astype(mx.float32)
    return np.array(mx.dequantize(made.weight, scales, biases, group_size=group_size, bits=bits))


def squared_error(made: np.ndarray, weight: mx.array) -> float:
    return float(((made - np.array(weight)) ** 2).sum())


@pytest.mark.parametrize("bits", BITS)
@given(st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=10)
def test_levels_are_packed_as_mlx_unpacks_them(bits: int, rows: int, seed: int):
    levels = np.random.default_rng(seed).integers(0, 2**bits, (rows, 64))
    ones = mx.ones((rows, 2))
    unpacked = mx.dequantize(pack(levels, bits), ones, ones * 0, group_size=32, bits=bits)
    assert np.array_equal(unpacked, levels)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("group_size", [32, 64])
def test_the_error_is_below_plain_rounding_and_is_what_is_stored(bits: int, group_size: int):
    weight = mx.random.normal((48, 256), key=mx.random.key(bits))
    made = quantize_weight(weight, bits, group_size, mx.bfloat16)
    assert made.error < made.plain_error
    # The same sum in another order.
    stored = squared_error(dequantized(made, bits, group_size), weight)
    assert made.error == pytest.approx(stored, rel=1e-3)
    plain = mx.quantize(weight.astype(mx.bfloat16), group_size=group_size, bits=bits)
    rounded = mx.dequantize(
        plain[0], *(a.astype(mx.float32) for a in plain[1:]), group_size=group_size, bits=bits
    )
    # Reported is the nearest level for MLX's scale and bias, a shade better than MLX's own choice
    # of levels, which it makes in bfloat16.
    assert made.plain_error <= squared_error(np.array(rounded), weight) * 1.001


def test_no_group_is_worse_than_plain_rounding():
    weight = mx.random.normal((64, 128), key=mx.random.key(0)) ** 3
    made = dequantized(quantize_weight(weight, 4, 32, mx.float32), 4, 32)
    plain = mx.quantize(weight, group_size=32, bits=4)
    rounded = np.array(mx.dequantize(*plain, group_size=32, bits=4))
    exact = np.array(weight)

    def by_group(other: np.ndarray) -> np.ndarray:
        return ((other - exact) ** 2).reshape(64, 4, 32).sum(axis=-1)

    assert (by_group(made) <= by_group(rounded) * (1 + 1e-4) + 1e-9).all()


def test_what_matters_is_kept_best():
    weight = mx.random.normal((32, 64), key=mx.random.key(1))
    importance = mx.where(mx.arange(64) < 8, 100.0, 1.0)
    exact = np.array(weight)

    def error(h: mx.array | None) -> float:
        made = dequantized(quantize_weight(weight, 3, 64, mx.float32, h), 3, 64)
        return float(((made - exact)[:, :8] ** 2).sum())

    assert error(importance) < 0.8 * error(None)


def test_what_was_not_used_is_not_ruined():
    weight = mx.random.normal((64, 128), key=mx.random.key(3))
    importance = mx.where(mx.arange(128) < 5, 1.0, 0.0)
    made = dequantized(quantize_weight(weight, 4, 64, mx.float32, importance), 4, 64)
    plain = dequantized(quantize_weight(weight, 4, 64, mx.float32), 4, 64)
    exact = np.array(weight)
    # A weight may move by a level or two for the sake of those in use, not by half the range.
    assert np.abs(made - exact).max() < 2.5 * np.abs(plain - exact).max()


@pytest.mark.parametrize("weight", [0.0, 1.5, -2.0])
def test_a_constant_matrix_stays_what_it_is(weight: float):
    made = quantize_weight(mx.full((4, 64), weight), 4, 64, mx.float32)
    assert np.allclose(dequantized(made, 4, 64), weight, atol=1e-6)


def test_an_outlier_does_not_spoil_its_group():
    weight = np.random.default_rng(0).normal(0, 0.01, (1, 64)).astype(np.float32)
    weight[0, 5] = 1.0
    made = quantize_weight(mx.array(weight), 4, 64, mx.float32)
    assert made.error < made.plain_error


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch):
    from lfm_convert import quantize

    weight = mx.random.normal((50, 64), key=mx.random.key(2))
    whole = quantize_weight(weight, 4, 32, mx.bfloat16)
    monkeypatch.setattr(quantize, "CHUNK", 64 * 7)
    pieces = quantize_weight(weight, 4, 32, mx.bfloat16)
    for name in ("weight", "scales", "biases"):
        assert mx.array_equal(getattr(whole, name), getattr(pieces, name))
