"""The backbone beside mlx-lm's LFM2, a second implementation, and in calls of any size."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten

from lfm2audio_mlx.config import Lfm2Config
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.models.lfm2 import Lfm2, Lfm2State

TOLERANCE = 1e-5  # relative to the largest value; float32 in another order


def twin(ours: Lfm2, config: Lfm2Config):
    """mlx-lm's model with our weights."""
    from mlx_lm.models import lfm2

    arguments = lfm2.ModelArgs(
        model_type="lfm2",
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=len(config.layer_types),
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        max_position_embeddings=32768,
        norm_eps=config.norm_eps,
        conv_bias=config.conv_bias,
        conv_L_cache=config.conv_kernel_size,
        block_dim=config.hidden_size,
        block_ff_dim=config.ff_dim,
        block_multiple_of=1,
        block_ffn_dim_multiplier=1.0,
        block_auto_adjust_ff_dim=False,
        rope_theta=config.rope_theta,
        layer_types=list(config.layer_types),
    )
    theirs = lfm2.Lfm2Model(arguments)
    weights = dict(tree_flatten(ours.parameters()))
    for name in list(weights):
        if name.endswith(".conv.conv.weight"):
            weights[name] = weights[name].T[..., None]
    theirs.load_weights(list(weights.items()), strict=True)
    return theirs


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_equals_mlx_lm(engines: dict[str, Engine], name: str):
    engine = engines[name]
    ids = mx.random.randint(0, 1024, (2, 19), key=mx.random.key(0))
    ours, _ = engine.model.lfm(engine.model.embed_text(ids))
    theirs = twin(engine.model.lfm, engine.config.lfm)(ids)
    assert np.abs(ours - theirs).max() < TOLERANCE * np.abs(theirs).max()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("name", ["v1", "v25"])
def test_any_split_gives_the_same_states(engines: dict[str, Engine], name: str, sizes: list[int]):
    lfm = engines[name].model.lfm
    x = mx.random.normal(
        (1, sum(sizes), engines[name].config.lfm.hidden_size), key=mx.random.key(1)
    )
    whole, _ = lfm(x)
    state: Lfm2State | None = None
    start = 0
    for size in sizes:
        hidden, state = lfm(x[:, start : start + size], state)
        start += size
        assert state.offset == start
        difference = np.abs(hidden - whole[:, start - size : start]).max()
        assert difference < TOLERANCE * np.abs(whole).max()


def test_a_state_can_be_continued_twice(engines: dict[str, Engine]):
    lfm = engines["v1"].model.lfm
    x = mx.random.normal((1, 12, 96), key=mx.random.key(2))
    _, state = lfm(x[:, :8])
    first, _ = lfm(x[:, 8:], state)
    lfm(-x[:, 8:], state)
    again, _ = lfm(x[:, 8:], state)
    assert np.array_equal(first, again)
