"""LFM2: a stack of gated short convolutions and grouped-query attention.

The backbone of LFM2-Audio (full attention) and the body of the LFM2.5 detokenizer (sliding
attention). Reference: transformers' `Lfm2Model`.
"""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from lfm2audio_mlx.config import Lfm2Config
from lfm2audio_mlx.kernels.projections import norm_project, project_add
from lfm2audio_mlx.kernels.qk_norm_rope import qk_norm_rope
from lfm2audio_mlx.kernels.short_conv import Taps, short_conv
from lfm2audio_mlx.models.cache import KVCache, WindowCache
from lfm2audio_mlx.models.layers import DepthwiseConv, SwiGLU, head_weights, join

__all__ = ["Lfm2", "Lfm2State"]

LayerState = KVCache | WindowCache | Taps | None


@dataclass(frozen=True)
class Lfm2State:
    """What the stack remembers after `offset` positions; one entry a layer."""

    layers: tuple[LayerState, ...]
    offset: int

    @property
    def arrays(self) -> list[mx.array]:
        """All that it is made of."""
        found: list[mx.array] = []
        for layer in self.layers:
            if isinstance(layer, WindowCache):
                found += [layer.keys, layer.values]
            else:
                found += layer or ()
        return found

    @property
    def taps(self) -> tuple[LayerState, ...]:
        """All that a step does not leave in place: what `one_back` needs of the state before."""
        return tuple(None if isinstance(layer, KVCache) else layer for layer in self.layers)

    def one_back(self, taps: tuple[LayerState, ...]) -> "Lfm2State":
        """As it was a position ago; what was written for that one is not looked at any more."""
        layers = (
            old if old is not None else new for old, new in zip(taps, self.layers, strict=True)
        )
        return Lfm2State(tuple(layers), self.offset - 1)


class Attention(nn.Module):
    """Grouped-query attention with RMS-normed queries and keys and half-split RoPE, of a normed x
    and added to x itself."""

    def __init__(self, config: Lfm2Config, window: int):
        super().__init__()
        dim, self.head_dim = config.hidden_size, config.head_dim
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.window, self.rope_theta, self.eps = window, config.rope_theta, config.norm_eps
        self.q_proj = nn.Linear(dim, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(dim, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(dim, self.kv_heads * self.head_dim, bias=False)
        self.out_proj = nn.Linear(self.heads * self.head_dim, dim, bias=False)
        self.q_layernorm = nn.RMSNorm(self.head_dim, eps=config.norm_eps)
        self.k_layernorm = nn.RMSNorm(self.head_dim, eps=config.norm_eps)

    def join(self) -> None:
        """Make one layer of the three that read the same input, and one norm of two."""
        join(self, "qkv_proj", ("q_proj", "k_proj", "v_proj"))
        self.head_weights = self._head_weights()

    def _head_weights(self) -> mx.array:
        return head_weights(self.q_layernorm, self.k_layernorm, self.heads, self.kv_heads)

    def __call__(
        self, x: mx.array, norm: nn.RMSNorm, past: KVCache | WindowCache | None, offset: int
    ) -> tuple[mx.array, KVCache | WindowCache]:
        """Positions [B, T, D] from `offset` on."""
        queries, keys, values = self._project(x, norm, offset)
        if self.window:
            assert not isinstance(past, KVCache)
            keys, values, mask, state = WindowCache.append(past, keys, values, self.window)
        else:
            assert not isinstance(past, WindowCache)
            state = KVCache.append(past, keys, values, offset)
            keys, values = state.first(offset + x.shape[1])
            mask = "causal" if x.shape[1] > 1 else None
        return self._attend(x, queries, keys, values, mask), state

    def step(
        self, x: mx.array, norm: nn.RMSNorm, past: KVCache, offsets: mx.array, mask: mx.array
    ) -> tuple[mx.array, KVCache]:
        """One position a row [B, 1, D], each at an offset of its own; what it sees is `mask`."""
        queries, keys, values = self._project(x, norm, offsets)
        state = past.put(keys, values, offsets)
        return self._attend(x, queries, state.keys, state.values, mask), state

    def _project(
        self, x: mx.array, norm: nn.RMSNorm, offset: int | mx.array
    ) -> tuple[mx.array, ...]:
        """Queries, keys and values, [B, heads, T, head_dim] each."""
        B, T, _ = x.shape
        if "qkv_proj" in self:
            qkv = norm_project(norm, self["qkv_proj"], x)
        else:
            h = norm(x)
            qkv = mx.concatenate([self.q_proj(h), self.k_proj(h), self.v_proj(h)], axis=-1)
        qkv = qkv.reshape(B, T, -1, self.head_dim)
        weights = self.head_weights if "head_weights" in self else self._head_weights()
        queries, keys = qk_norm_rope(qkv, weights, self.kv_heads, self.eps, self.rope_theta, offset)
        values = qkv[:, :, self.heads + self.kv_heads :]
        return queries, keys, values.transpose(0, 2, 1, 3)

    def _attend(
        self,
        x: mx.array,
        queries: mx.array,
        keys: mx.array,
        values: mx.array,
        mask: mx.array | str | None,
    ) -> mx.array:
        y = mx.fast.scaled_dot_product_attention(
            queries, keys, values, scale=self.head_dim**-0.5, mask=mask
        )
        B, _, T, _ = y.shape
        return project_add(self.out_proj, y.transpose(0, 2, 1, 3).reshape(B, T, -1), x)


class ShortConv(nn.Module):
    """Gated causal depthwise convolution, C * conv(B * x), of a normed x and added to x itself."""

    def __init__(self, config: Lfm2Config):
        super().__init__()
        dim, bias = config.hidden_size, config.conv_bias
        self.kernel_size = config.conv_kernel_size
        self.in_proj = nn.Linear(dim, 3 * dim, bias=bias)
        self.out_proj = nn.Linear(dim, dim, bias=bias)
        self.conv = DepthwiseConv(dim, self.kernel_size, bias)

    def __call__(
        self, x: mx.array, norm: nn.RMSNorm, taps: Taps | None, length: int | None = None
    ) -> tuple[mx.array, Taps]:
        gated = norm_project(norm, self.in_proj, x)
        y, taps = short_conv(gated, taps, self.conv.weight, self.conv.get("bias"), length)
        return project_add(self.out_proj, y, x), taps


class Layer(nn.Module):
    """Operator (attention or convolution), then feed-forward, both pre-normed and residual."""

    def __init__(self, config: Lfm2Config, kind: str):
        super().__init__()
        self.is_conv = kind == "conv"
        if self.is_conv:
            self.conv = ShortConv(config)
        else:
            window = config.sliding_window if kind == "sliding_attention" else 0
            self.self_attn = Attention(config, window)
        self.feed_forward = SwiGLU(config.hidden_size, config.ff_dim)
        self.operator_norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.ffn_norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)

    def __call__(
        self, x: mx.array, state: LayerState, offset: int, length: int | None = None
    ) -> tuple[mx.array, LayerState]:
        if self.is_conv:
            assert not isinstance(state, KVCache | WindowCache)
            x, state = self.conv(x, self.operator_norm, state, length)
        else:
            assert state is None or isinstance(state, KVCache | WindowCache)
            x, state = self.self_attn(x, self.operator_norm, state, offset)
        return self.feed_forward(x, self.ffn_norm), state

    def step(
        self, x: mx.array, state: LayerState, offsets: mx.array, mask: mx.array
    ) -> tuple[mx.array, LayerState]:
        if isinstance(state, KVCache):
            x, state = self.self_attn.step(x, self.operator_norm, state, offsets, mask)
        else:
            assert not isinstance(state, WindowCache)
            x, state = self.conv(x, self.operator_norm, state)
        return self.feed_forward(x, self.ffn_norm), state


class Lfm2(nn.Module):
    """Embeddings in, final-normed hidden states out; the token table doubles as text head."""

    def __init__(self, config: Lfm2Config):
        super().__init__()
        if config.vocab_size:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [Layer(config, kind) for kind in config.layer_types]
        self.embedding_norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)

    def __call__(
        self, x: mx.array, state: Lfm2State | None = None, length: int | None = None
    ) -> tuple[mx.array, Lfm2State]:
        """x [B, T, hidden] after the positions in `state` -> hidden states [B, T, hidden].

        Only the first `length` are positions, if that is given; what follows fills up a shape, and
        leaves no trace in the next state. (Not with sliding attention, which remembers all.)
        """
        state = state or Lfm2State((None,) * len(self.layers), 0)
        end = state.offset + (x.shape[1] if length is None else length)
        layer_states: list[LayerState] = []
        for layer, layer_state in zip(self.layers, state.layers, strict=True):
            x, new_state = layer(x, layer_state, state.offset, length)
            layer_states.append(new_state)
        return self.embedding_norm(x), Lfm2State(tuple(layer_states), end)

    def step(
        self, x: mx.array, layers: tuple[LayerState, ...], offsets: mx.array
    ) -> tuple[mx.array, tuple[LayerState, ...]]:
        """One position a row, x [B, 1, hidden] at `offsets` [B] -> hidden states [B, hidden].

        The same as a call, in shapes that change only where a `KVCache` grows, so that it can be
        compiled: all keys are looked at, behind a mask. Each `KVCache` must have room.
        """
        capacity = next((s.capacity for s in layers if isinstance(s, KVCache)), 0)
        # From the host, or a kernel would count.
        places = mx.array(np.arange(capacity, dtype=np.int32))
        mask = (places <= offsets[:, None])[:, None, None]
        after: list[LayerState] = []
        for layer, state in zip(self.layers, layers, strict=True):
            x, new_state = layer.step(x, state, offsets, mask)
            after.append(new_state)
        return self.embedding_norm(x)[:, 0], tuple(after)
