"""Kernels and bytes are counted from graphs, as a GPU would have them, and stay few."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx.utils import tree_flatten

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.models.mimi import Mimi
from lfm2audio_mlx.weights import Checkpoint, build
from lfm_cli.costs import costs
from lfm_cli.launches import launches, weight_bytes
from small import deep_config, packed_model

x = mx.random.normal((1, 1, 8, 64), key=mx.random.key(0))
w = mx.random.normal((64, 64), key=mx.random.key(1))
mx.eval(x, w)


def test_each_operation_is_a_kernel_and_a_view_is_none():
    assert launches(lambda: (x @ w).transpose(0, 2, 1, 3).reshape(8, 64)[:4] + 1) == Counter(
        Matmul=1, Add=1
    )
    assert launches(lambda: mx.concatenate([x, x * 2]).view(mx.uint32)) == Counter(
        Concatenate=2, Multiply=1
    )


def test_a_fused_function_is_one_kernel_on_any_backend():
    weight = mx.ones((64,))
    mx.eval(weight)
    q = nn.QuantizedEmbedding(16, 64)
    mx.eval(q.parameters())
    for fused in (
        lambda: mx.fast.rms_norm(x, weight, 1e-5),
        lambda: mx.fast.rms_norm(x, None, 1e-5),
        lambda: mx.fast.layer_norm(x, weight, weight, 1e-5),
        lambda: mx.fast.rope(x, 64, traditional=True, base=1e4, scale=1.0, offset=3),
        lambda: mx.fast.scaled_dot_product_attention(x, x, x, scale=1.0, mask="causal"),
        lambda: mx.dequantize(q.weight, q.scales, q.biases),
    ):
        assert launches(fused).total() == 1
    # What a kernel reads is computed before it.
    normed = lambda: mx.fast.rms_norm(x, weight * 2, 1e-5)  # noqa: E731
    assert launches(normed).total() == 2
    assert mx.allclose(mx.fast.rms_norm(x, None, 0.0).square().mean(-1), mx.ones((1, 1, 8)))


def test_what_compiles_to_one_kernel_is_counted_as_one():
    assert launches(lambda: mx.compile(lambda a: (a * 2 + 1) * a)(x)).total() == 1


def test_bytes_are_of_weights_and_of_all_that_are_read():
    table = mx.zeros((1000, 64))
    mx.eval(table)
    assert weight_bytes(lambda a: a @ w, [w], x) == w.nbytes
    assert weight_bytes(lambda a: a @ w @ w, [w], x) == 2 * w.nbytes
    # Of a table a few rows are read; and what is no weight does not count.
    assert weight_bytes(lambda ids: table[ids] @ w, [table, w], mx.array([1, 2])) == w.nbytes
    assert weight_bytes(lambda a: a @ w + x, [w], x + 1) == w.nbytes


@pytest.fixture(scope="module")
def deep(engines: dict[str, Engine]) -> Engine:
    """As many layers as LFM2-Audio-1.5B has, in small."""
    config = engines["v1"].config
    assert config.mimi
    transformer = replace(
        config.mimi.transformer, num_layers=8, d_model=64, num_heads=2, ff_dim=128
    )
    mimi = replace(
        config.mimi, transformer=transformer, seanet=replace(config.mimi.seanet, dimension=64)
    )
    config = replace(deep_config(config), mimi=mimi)
    model, codec = packed_model(config, mx.bfloat16), cast(Mimi, build(config, "mimi"))
    nn.quantize(codec.decoder_transformer, group_size=32, bits=4)
    codec.prepare()
    mx.eval(codec.parameters())
    return Engine(Checkpoint(config, model, codec), engines["v1"].tokenizer)  # pyright: ignore[reportArgumentType]


def test_a_step_launches_few_kernels(deep: Engine):
    """mlx-audio 0.6.2 has 265, 2,732 and 334 (docs/speed.md). Without our own kernels first."""
    without = {cost.name: cost.launches_without for cost in costs(deep)}
    assert without["text token"] <= 198
    assert without["depth frame"] <= 791
    assert without["codec frame"] <= 120
    own = {cost.name: cost.launches for cost in costs(deep)}
    assert own["backbone step"] <= 101
    assert own["text token"] <= 103
    assert own["depth frame"] <= 260
    assert own["encode 4 s"] <= without["encode 4 s"] - 170


def test_a_step_reads_its_weights_once_and_the_depthformer_eight_times(deep: Engine):
    counted = {cost.name: cost.weight_bytes for cost in costs(deep)}
    lfm, depthformer = deep.model.lfm, deep.model.depthformer
    assert 0.97 < counted["text token"] / (size(lfm.layers) + size([lfm.embed_tokens])) < 1.0
    heads = size([book.embedding for book in depthformer.depth_embeddings])
    rest = size([depthformer.depth_linear]) + heads
    assert 0.97 < counted["depth frame"] / (8 * size(depthformer.layers) + rest) < 1.0


def size(modules: Sequence[nn.Module]) -> int:
    """Bytes of all weights; norms have some that stand there twice, joined and apart."""
    found = [cast(Any, tree_flatten(module.parameters())) for module in modules]
    return sum(array.nbytes for leaves in found for _, array in leaves)
