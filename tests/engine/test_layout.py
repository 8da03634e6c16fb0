"""Layers laid out for speed hold the same weights."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from lfm2audio_mlx.layout import by_columns, unpack_layers, unpacked
from lfm2audio_mlx.models.layers import join


@pytest.mark.parametrize("kind", [nn.Linear, nn.Embedding])
@pytest.mark.parametrize("group_size", [32, 64, 128])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_unpacking_is_what_mlx_has_it(kind: type, group_size: int, bits: int):
    layer = kind(384, 256).to_quantized(group_size, bits)
    wanted = mx.dequantize(layer.weight, layer.scales, layer.biases, group_size, bits)
    assert np.array_equal(unpacked(layer), wanted)


@pytest.mark.parametrize("shape", [(1, 5), (16, 3), (50, 7), (64, 64)])
def test_a_transpose_is_one_in_memory_too(shape: tuple[int, int]):
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    turned = by_columns(weights)
    assert np.array_equal(turned, weights.T)
    assert turned.flags["C_CONTIGUOUS"]


def test_all_layers_of_a_network_are_unpacked():
    network = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64, bias=False), nn.Embedding(9, 64))
    nn.quantize(network, group_size=64, bits=4)
    x = mx.random.normal((3, 64), key=mx.random.key(0))
    before = [network.layers[0](x), network.layers[1](x), network.layers[2].as_linear(x)]
    unpack_layers(network)
    assert [type(layer) for layer in network.layers] == [nn.Linear, nn.Linear, nn.Embedding]
    after = [network.layers[0](x), network.layers[1](x), network.layers[2].as_linear(x)]
    for one, other in zip(before, after, strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_layers_that_are_stored_in_different_ways_stay_apart():
    owner = nn.Module()
    owner.a = nn.Linear(64, 64, bias=False)
    owner.b = nn.QuantizedLinear(64, 64, bias=False, bits=4)
    owner.c = nn.QuantizedLinear(64, 64, bias=False, bits=8)
    for pair in (("a", "b"), ("b", "c")):
        join(owner, "both", pair)
        assert "both" not in owner
        assert all(part in owner for part in pair)
