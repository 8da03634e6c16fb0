"""A depthwise convolution as shifted products, beside MLX's own."""

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.kernels.depthwise import weighted_sum


@pytest.mark.parametrize("taps", [1, 3, 4, 9])
def test_it_is_a_grouped_convolution(taps: int):
    x = mx.random.normal((2, 20, 6), key=mx.random.key(0))
    weight, bias = mx.random.normal((taps, 6), key=mx.random.key(1)), mx.arange(6)
    theirs = mx.conv1d(x, weight.T[..., None], groups=6) + bias
    length = 20 - taps + 1
    ours = weighted_sum([x[:, k : k + length] for k in range(taps)], weight, bias)
    assert np.allclose(ours, theirs, atol=1e-5)  # float32 sums in another order
