"""Mimi's decoder: eight codes a frame of 80 ms to a waveform, one-shot or frame by frame.

Défossez et al. 2024 (https://arxiv.org/abs/2410.00037). Codebook tables with their output
projections folded in, a depthwise upsampling, a causal transformer over a sliding window, SEANet.
Reference: `moshi/models/compression.py`, `moshi/modules/transformer.py`, `moshi/quantization`.
"""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import CodecTransformerConfig, MimiConfig
from lfm2audio_mlx.models.cache import WindowCache
from lfm2audio_mlx.models.codec import check_codes
from lfm2audio_mlx.models.seanet import Seanet, SeanetState, overlap_add

__all__ = ["Mimi", "MimiState"]


@dataclass(frozen=True)
class MimiState:
    """What decoding remembers between calls."""

    upsample: mx.array
    transformer: tuple[WindowCache, ...]
    seanet: SeanetState


class Codebooks(nn.Module):
    """Sum of each codebook's entry, already projected: weight [codebooks * size, dimension]."""

    def __init__(self, codebooks: int, size: int, dim: int):
        super().__init__()
        self.size = size
        self.weight = mx.zeros((codebooks * size, dim))

    def __call__(self, codes: mx.array) -> mx.array:
        """[B, codebooks, T] -> [B, T, dimension]."""
        offsets = mx.arange(codes.shape[1])[:, None] * self.size
        return self.weight[codes + offsets].sum(axis=1)


class DepthwiseUpsample(nn.Module):
    """Transposed depthwise convolution; weight [2, stride, D]: now and the step after."""

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.weight = mx.zeros((2, stride, dim))

    def __call__(self, x: mx.array, tail: mx.array | None) -> tuple[mx.array, mx.array]:
        return overlap_add(x[:, :, None, None] * self.weight, tail)


class CodecAttention(nn.Module):
    """Causal attention over the last `context` steps, interleaved-pair RoPE."""

    def __init__(self, config: CodecTransformerConfig):
        super().__init__()
        self.heads, self.context = config.num_heads, config.context
        self.max_period = config.max_period
        self.in_proj = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out_proj = nn.Linear(config.d_model, config.d_model, bias=False)

    def __call__(self, x: mx.array, past: WindowCache | None) -> tuple[mx.array, WindowCache]:
        B, T, D = x.shape
        offset = past.offset if past else 0
        qkv = self.in_proj(x).reshape(B, T, 3 * self.heads, -1).transpose(0, 2, 1, 3)
        queries, keys, values = mx.split(qkv, 3, axis=1)
        queries, keys = self._rope(queries, offset), self._rope(keys, offset)
        keys, values, mask, state = WindowCache.append(past, keys, values, self.context)
        y = mx.fast.scaled_dot_product_attention(
            queries, keys, values, scale=(D // self.heads) ** -0.5, mask=mask
        )
        return self.out_proj(y.transpose(0, 2, 1, 3).reshape(B, T, D)), state

    def _rope(self, x: mx.array, offset: int) -> mx.array:
        return mx.fast.rope(
            x,
            x.shape[-1],
            traditional=True,
            base=self.max_period,
            scale=1.0,
            offset=offset,
        )


class LayerScale(nn.Module):
    """A learnt factor a channel (Touvron et al. 2021, https://arxiv.org/abs/2103.17239)."""

    def __init__(self, dim: int):
        super().__init__()
        self.scale = mx.ones((dim,))

    def __call__(self, x: mx.array) -> mx.array:
        return x * self.scale


class CodecLayer(nn.Module):
    def __init__(self, config: CodecTransformerConfig):
        super().__init__()
        dim = config.d_model
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.self_attn = CodecAttention(config)
        self.linear1 = nn.Linear(dim, config.ff_dim, bias=False)
        self.linear2 = nn.Linear(config.ff_dim, dim, bias=False)
        self.layer_scale_1, self.layer_scale_2 = LayerScale(dim), LayerScale(dim)

    def __call__(self, x: mx.array, past: WindowCache | None) -> tuple[mx.array, WindowCache]:
        h, state = self.self_attn(self.norm1(x), past)
        x = x + self.layer_scale_1(h)
        h = self.linear2(nn.gelu(self.linear1(self.norm2(x))))
        return x + self.layer_scale_2(h), state


class CodecTransformer(nn.Module):
    """Layers between optional projections, where the width differs from the latent's."""

    def __init__(self, config: CodecTransformerConfig, dim: int):
        super().__init__()
        self.layers = [CodecLayer(config) for _ in range(config.num_layers)]
        if config.d_model != dim:
            self.input_proj = nn.Linear(dim, config.d_model, bias=False)
            self.output_proj = nn.Linear(config.d_model, dim, bias=False)

    def __call__(
        self, x: mx.array, past: tuple[WindowCache, ...] | None
    ) -> tuple[mx.array, tuple[WindowCache, ...]]:
        x = self.input_proj(x) if "input_proj" in self else x
        states: list[WindowCache] = []
        for layer, cache in zip(self.layers, past or (None,) * len(self.layers), strict=True):
            x, state = layer(x, cache)
            states.append(state)
        return (self.output_proj(x) if "output_proj" in self else x), tuple(states)


class Mimi(nn.Module):
    """The decoder half of the codec."""

    def __init__(self, config: MimiConfig, codebooks: int, codebook_size: int):
        super().__init__()
        dim = config.seanet.dimension
        self.sample_rate = config.sample_rate
        self.frame_size = config.upsample_stride
        for ratio in config.seanet.ratios:
            self.frame_size *= ratio
        self.quantizer = Codebooks(codebooks, codebook_size, dim)
        self.upsample = DepthwiseUpsample(dim, config.upsample_stride)
        self.decoder_transformer = CodecTransformer(config.transformer, dim)
        self.decoder = Seanet(config.seanet)

    def decode(self, codes: mx.array, state: MimiState | None = None) -> tuple[mx.array, MimiState]:
        """codes [B, codebooks, T] -> samples [B, T * frame_size], exactly, and the next state.

        Raises:
            RequestError: a code is not in the tables.
        """
        check_codes(codes, self.quantizer.size)
        x = self.quantizer(codes)
        x, upsample = self.upsample(x, state.upsample if state else None)
        x, transformer = self.decoder_transformer(x, state.transformer if state else None)
        samples, seanet = self.decoder(x, state.seanet if state else None)
        return samples, MimiState(upsample, transformer, seanet)

    def flush(self, state: MimiState) -> mx.array:
        """Nothing: every sample of a frame is given with it."""
        return mx.zeros((state.upsample.shape[0], 0))
