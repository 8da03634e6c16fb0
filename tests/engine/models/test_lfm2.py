"""The backbone beside mlx-lm's LFM2, a second implementation, and in calls of any size."""

from typing import Any, cast

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten

from lfm2audio_mlx.config import Lfm2Config
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.layout import join_layers
from lfm2audio_mlx.models.cache import GROWTH, KVCache
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


def random_stack(config: Lfm2Config) -> Lfm2:
    """Ours as it is before its layers are joined."""
    stack = Lfm2(config)
    weights: list[tuple[str, mx.array]] = []
    for name, weight in cast(list[tuple[str, mx.array]], tree_flatten(stack.parameters())):
        values = mx.random.normal(weight.shape, key=mx.random.key(len(weights)))
        # Norms about 1, the rest as large as keeps sums about 1.
        values = 1 + 0.1 * values if "norm" in name else values / weight.shape[-1] ** 0.5
        weights.append((name, values))
    stack.load_weights(weights)
    return stack


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_equals_mlx_lm_before_and_after_layers_are_joined(engines: dict[str, Engine], name: str):
    config = engines[name].config.lfm
    ours = random_stack(config)
    ids = mx.random.randint(0, 1024, (2, 19), key=mx.random.key(0))
    theirs = twin(ours, config)(ids)
    apart, _ = ours(ours.embed_tokens(ids))
    join_layers(ours)
    together, _ = ours(ours.embed_tokens(ids))
    for states in (apart, together):
        assert np.abs(states - theirs).max() < TOLERANCE * np.abs(theirs).max()


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("name", ["v1", "v25"])
def test_a_step_of_many_rows_is_a_call_for_each(
    engines: dict[str, Engine], name: str, compile: bool
):
    """Rows at offsets of their own, of which one has filled its cache and one stands at its end."""
    lfm = engines[name].model.lfm
    lengths, hidden = [5, GROWTH - 1, 70], engines[name].config.lfm.hidden_size
    alone: list[tuple[mx.array, Lfm2State]] = []
    for row, length in enumerate(lengths):
        x = mx.random.normal((1, length, hidden), key=mx.random.key(row))
        alone.append(lfm(x))
    layers = tuple(
        stacked([state.layers[number] for _, state in alone]) for number in range(len(lfm.layers))
    )
    step = mx.compile(lfm.step) if compile else lfm.step
    x = mx.random.normal((3, 1, hidden), key=mx.random.key(10))
    together, _ = step(x, layers, mx.array(lengths))
    for row, (_, state) in enumerate(alone):
        wanted, _ = lfm(x[row : row + 1], state)
        difference = np.abs(together[row] - wanted[0, -1]).max()
        assert difference < TOLERANCE * np.abs(wanted).max()


def stacked(states: list[Any]) -> Any:
    """One layer's states as rows of a batch."""
    kind = KVCache if isinstance(states[0], KVCache) else lambda *taps: taps
    return kind(*(mx.concatenate(list(arrays)) for arrays in zip(*states, strict=True)))


@pytest.mark.parametrize("length", [1, 2, 7, 12])
@pytest.mark.parametrize("name", ["v1", "v25"])
def test_what_fills_up_a_shape_leaves_no_trace(engines: dict[str, Engine], name: str, length: int):
    lfm = engines[name].model.lfm
    x = mx.random.normal((1, 20, engines[name].config.lfm.hidden_size), key=mx.random.key(4))
    whole, _ = lfm(x)
    _, begun = lfm(x[:, :3])
    filled = mx.concatenate([x[:, 3 : 3 + length], 9 * mx.ones((1, 5, x.shape[2]))], axis=1)
    hidden, state = lfm(filled, begun, length)
    assert state.offset == 3 + length
    after, _ = lfm(x[:, 3 + length :], state)
    for ours, wanted in (
        (hidden[:, :length], whole[:, 3 : 3 + length]),
        (after, whole[:, 3 + length :]),
    ):
        assert np.abs(ours - wanted).max() < TOLERANCE * np.abs(whole).max()


def test_a_step_back_is_as_if_it_had_not_been_taken(engines: dict[str, Engine]):
    lfm = engines["v1"].model.lfm
    x = mx.random.normal((1, 12, engines["v1"].config.lfm.hidden_size), key=mx.random.key(3))
    _, state = lfm(x[:, :10])
    taps = state.taps
    _, wrong = lfm(x[:, 10:11] * 3, state)
    back = wrong.one_back(taps)
    assert back.offset == 10
    again, _ = lfm(x[:, 10:], back)
    whole, _ = lfm(x)
    assert np.abs(again - whole[:, 10:]).max() < TOLERANCE * np.abs(whole).max()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
@settings(max_examples=15)
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
