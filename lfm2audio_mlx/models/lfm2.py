"""LFM2: a stack of gated short convolutions and grouped-query attention.

The backbone of LFM2-Audio (full attention) and the body of the LFM2.5 detokenizer (sliding
attention). Reference: transformers' `Lfm2Model`.
"""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import Lfm2Config
from lfm2audio_mlx.models.cache import KVCache, WindowCache, push_tail
from lfm2audio_mlx.models.layers import DepthwiseConv, SwiGLU

__all__ = ["Lfm2", "Lfm2State"]

LayerState = KVCache | WindowCache | mx.array | None


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
            if isinstance(layer, KVCache | WindowCache):
                found += [layer.keys, layer.values]
            elif layer is not None:
                found.append(layer)
        return found


class Attention(nn.Module):
    """Grouped-query attention with RMS-normed queries and keys and half-split RoPE."""

    def __init__(self, config: Lfm2Config, window: int):
        super().__init__()
        dim, self.head_dim = config.hidden_size, config.head_dim
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.window, self.rope_theta = window, config.rope_theta
        self.q_proj = nn.Linear(dim, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(dim, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(dim, self.kv_heads * self.head_dim, bias=False)
        self.out_proj = nn.Linear(self.heads * self.head_dim, dim, bias=False)
        self.q_layernorm = nn.RMSNorm(self.head_dim, eps=config.norm_eps)
        self.k_layernorm = nn.RMSNorm(self.head_dim, eps=config.norm_eps)

    def _rope(self, x: mx.array, offset: int) -> mx.array:
        return mx.fast.rope(
            x,
            self.head_dim,
            traditional=False,
            base=self.rope_theta,
            scale=1.0,
            offset=offset,
        )

    def __call__(
        self, x: mx.array, past: KVCache | WindowCache | None, offset: int
    ) -> tuple[mx.array, KVCache | WindowCache]:
        B, T, _ = x.shape
        queries = self.q_layernorm(self.q_proj(x).reshape(B, T, self.heads, -1))
        keys = self.k_layernorm(self.k_proj(x).reshape(B, T, self.kv_heads, -1))
        values = self.v_proj(x).reshape(B, T, self.kv_heads, -1).transpose(0, 2, 1, 3)
        queries = self._rope(queries.transpose(0, 2, 1, 3), offset)
        keys = self._rope(keys.transpose(0, 2, 1, 3), offset)
        if self.window:
            assert not isinstance(past, KVCache)
            keys, values, mask, state = WindowCache.append(past, keys, values, self.window)
        else:
            assert not isinstance(past, WindowCache)
            state = KVCache.append(past, keys, values)
            keys, values = state.filled
            mask = "causal" if T > 1 else None
        y = mx.fast.scaled_dot_product_attention(
            queries, keys, values, scale=self.head_dim**-0.5, mask=mask
        )
        return self.out_proj(y.transpose(0, 2, 1, 3).reshape(B, T, -1)), state


class ShortConv(nn.Module):
    """Gated causal depthwise convolution: C * conv(B * x)."""

    def __init__(self, config: Lfm2Config):
        super().__init__()
        dim, bias = config.hidden_size, config.conv_bias
        self.kernel_size = config.conv_kernel_size
        self.in_proj = nn.Linear(dim, 3 * dim, bias=bias)
        self.out_proj = nn.Linear(dim, dim, bias=bias)
        self.conv = DepthwiseConv(dim, self.kernel_size, bias)

    def __call__(self, x: mx.array, tail: mx.array | None) -> tuple[mx.array, mx.array]:
        gate_in, gate_out, x = mx.split(self.in_proj(x), 3, axis=-1)
        x, tail = push_tail(tail, gate_in * x, self.kernel_size - 1)
        return self.out_proj(gate_out * self.conv(x)), tail


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

    def __call__(self, x: mx.array, state: LayerState, offset: int) -> tuple[mx.array, LayerState]:
        h = self.operator_norm(x)
        if self.is_conv:
            assert state is None or isinstance(state, mx.array)
            h, state = self.conv(h, state)
        else:
            assert not isinstance(state, mx.array)
            h, state = self.self_attn(h, state, offset)
        x = x + h
        return x + self.feed_forward(self.ffn_norm(x)), state


class Lfm2(nn.Module):
    """Embeddings in, final-normed hidden states out; the token table doubles as text head."""

    def __init__(self, config: Lfm2Config):
        super().__init__()
        if config.vocab_size:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = [Layer(config, kind) for kind in config.layer_types]
        self.embedding_norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)

    def __call__(self, x: mx.array, state: Lfm2State | None = None) -> tuple[mx.array, Lfm2State]:
        """x [B, T, hidden] after the positions in `state` -> hidden states [B, T, hidden]."""
        state = state or Lfm2State((None,) * len(self.layers), 0)
        layer_states: list[LayerState] = []
        for layer, layer_state in zip(self.layers, state.layers, strict=True):
            x, new_state = layer(x, layer_state, state.offset)
            layer_states.append(new_state)
        return self.embedding_norm(x), Lfm2State(tuple(layer_states), state.offset + x.shape[1])
