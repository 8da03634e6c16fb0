"""The short convolution sees a stream as if it came at once, and past its end nothing."""

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.kernels.short_conv import short_conv

TOLERANCE = 1e-6  # the same sums in float32


@pytest.mark.parametrize("taps", [2, 3, 5])
def test_a_stream_is_as_if_it_came_at_once(taps: int):
    D = 3
    gated = mx.random.normal((2, 12, 3 * D), key=mx.random.key(0))
    weight, bias = mx.random.normal((taps, D), key=mx.random.key(1)), mx.array([1.0, -2.0, 0.5])
    whole, _ = short_conv(gated, None, weight, bias, None)
    state, start = None, 0
    for length in (1, 1, 5, 1, 4):
        part, state = short_conv(gated[:, start : start + length], state, weight, bias, None)
        assert np.abs(part - whole[:, start : start + length]).max() < TOLERANCE
        start += length
    inner, _, x = mx.split(gated, 3, axis=-1)
    assert np.array_equal(mx.concatenate(list(state or ()), axis=1), (inner * x)[:, 1 - taps :])


def test_it_is_what_its_formula_says():
    gated = mx.random.normal((1, 6, 6), key=mx.random.key(2))
    weight = mx.random.normal((3, 2), key=mx.random.key(3))
    inner, outer, x = (np.array(part)[0] for part in mx.split(gated, 3, axis=-1))
    padded = np.concatenate([np.zeros((2, 2)), inner * x])
    wanted = [outer[t] * (padded[t : t + 3] * np.array(weight)).sum(axis=0) for t in range(6)]
    y = np.array(short_conv(gated, None, weight, None, None)[0][0])
    assert np.abs(y - np.array(wanted)).max() < TOLERANCE


@pytest.mark.parametrize("length", [1, 2, 4])
def test_what_fills_up_a_prompt_leaves_no_trace(length: int):
    gated = mx.random.normal((1, 6, 6), key=mx.random.key(4))
    weight = mx.random.normal((3, 2), key=mx.random.key(5))
    _, short = short_conv(gated[:, :length], None, weight, None, None)
    _, filled = short_conv(gated, None, weight, None, length)
    for one, other in zip(short, filled, strict=True):
        assert np.array_equal(one, other)
