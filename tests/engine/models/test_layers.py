"""Our ways of writing convolutions, beside MLX's own."""

from typing import TypeVar

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_map

from lfm2audio_mlx.models.mimi import DepthwiseUpsample
from lfm2audio_mlx.models.seanet import CausalConv, CausalUpsample

Layer = TypeVar("Layer", bound=nn.Module)

TOLERANCE = 1e-5  # float32 sums of a few hundred products in another order


def filled(layer: Layer, seed: int) -> Layer:
    """The layer with random weights."""
    mx.random.seed(seed)
    layer.update(tree_map(lambda weight: mx.random.normal(weight.shape), layer.parameters()))
    return layer


@pytest.mark.parametrize(("kernel_size", "dilation"), [(7, 1), (3, 2), (1, 1), (3, 1)])
def test_causal_convolution(kernel_size: int, dilation: int):
    layer = filled(CausalConv(4, 5, kernel_size, dilation), 2)
    x = mx.random.normal((2, layer.reach + 9, 4))
    theirs = mx.conv1d(x, layer.weight, dilation=dilation) + layer.bias
    assert theirs.shape == (2, 9, 5)
    assert np.allclose(layer(x), theirs, atol=TOLERANCE)


@pytest.mark.parametrize("stride", [2, 5, 8])
def test_upsampling_is_a_transposed_convolution(stride: int):
    layer = filled(CausalUpsample(4, 3, stride), 3)
    x = mx.random.normal((2, 7, 4))
    theirs = mx.conv_transpose1d(x, layer.weight.transpose(1, 0, 2), stride=stride) + layer.bias
    layer.prepare()
    assert np.allclose(layer(x), theirs[:, stride : 7 * stride], atol=TOLERANCE)


def test_depthwise_upsampling_is_a_grouped_transposed_convolution():
    layer = filled(DepthwiseUpsample(4, 2), 4)
    entries = mx.random.normal((1, 3, 7, 4))
    ours = layer(entries, mx.zeros((1, 3, 1, 4)))
    x = entries.sum(axis=1)
    weight = layer.weight.reshape(4, 4).T[..., None]
    theirs = mx.conv_transpose1d(x, weight, stride=2, groups=4)[:, :14]
    assert np.allclose(ours, theirs, atol=TOLERANCE)
