"""Mimi's decoder: eight codes a frame of 80 ms to a waveform, one-shot or frame by frame.

Défossez et al. 2024 (https://arxiv.org/abs/2410.00037). Codebook tables with their output
projections folded in, a depthwise upsampling, a causal transformer over a sliding window, SEANet.
Reference: `moshi/models/compression.py`, `moshi/modules/transformer.py`, `moshi/quantization`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import CodecTransformerConfig, MimiConfig
from lfm2audio_mlx.models.codec import check_codes
from lfm2audio_mlx.models.compiled import compiled
from lfm2audio_mlx.models.ring import around, turns
from lfm2audio_mlx.models.seanet import Seanet

__all__ = ["Mimi", "MimiState"]

BLOCK = 16
"""Most frames that are decoded at once: bounds memory, and the slots of the attention's ring."""

Arrays = tuple[mx.array, ...]


@dataclass(frozen=True)
class MimiState:
    """What decoding remembers after `steps` steps of the transformer.

    `entries` [B, codebooks, 1, D] are the last frame's, `memories` the window of each layer, and
    `latents` [B, past, D] the last that went into SEANet. All of it is zeros at the beginning.
    """

    steps: int
    entries: mx.array
    memories: Arrays
    latents: mx.array


class Codebooks(nn.Module):
    """Each codebook's entries, already projected: weight [codebooks * size, dimension]."""

    def __init__(self, codebooks: int, size: int, dim: int):
        super().__init__()
        self.weight = mx.zeros((codebooks * size, dim))
        self._offsets = mx.arange(codebooks)[:, None] * size

    def __call__(self, codes: mx.array) -> mx.array:
        """[B, codebooks, T] -> [B, codebooks, T, dimension]; their sum is the latent."""
        return self.weight[codes + self._offsets]


class DepthwiseUpsample(nn.Module):
    """Transposed depthwise convolution; weight [2, stride, D]: now and the step after."""

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.weight = mx.zeros((2, stride, dim))

    def __call__(self, entries: mx.array, previous: mx.array) -> mx.array:
        """Sums of entries [B, codebooks, T, D] after [B, codebooks, 1, D] -> [B, T * stride, D]."""
        B, _, T, D = entries.shape
        earlier = mx.concatenate([previous, entries[:, :, :-1]], axis=2) if T > 1 else previous
        now, later = mx.split(self.weight, 2)
        return (summed(entries) * now + summed(earlier) * later).reshape(B, -1, D)


def summed(entries: mx.array) -> mx.array:
    """[B, codebooks, T, D] of any type -> their sums [B, 1, T, 1, D] in float32.

    Written out, since that compiles to one kernel with what comes after.
    """
    B, K, T, D = entries.shape
    first, *rest = mx.split(entries.reshape(B, K, T, 1, D), K, axis=1)
    total = first.astype(mx.float32)
    for entry in rest:
        total = total + entry.astype(mx.float32)
    return total


def add(x: mx.array, linear: nn.Linear | nn.QuantizedLinear, h: mx.array) -> mx.array:
    """x + linear(h), in one kernel where the weights are plain."""
    if isinstance(linear, nn.Linear):
        return mx.addmm(x, h, linear.weight.T)
    return x + linear(h)


def plain(linear: nn.Linear | nn.QuantizedLinear) -> nn.Linear:
    """The layer with weights that are not quantised; for a small one, whose sum is then one kernel
    with what it is added to."""
    if isinstance(linear, nn.Linear):
        return linear
    result = nn.Linear(1, 1, bias=False)
    result.weight = mx.dequantize(
        linear.weight, linear.scales, linear.biases, linear.group_size, linear.bits
    )
    return result


class CodecAttention(nn.Module):
    """Causal attention over the last `context` steps, interleaved-pair RoPE."""

    def __init__(self, config: CodecTransformerConfig):
        super().__init__()
        self.heads = config.num_heads
        self.in_proj = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out_proj = nn.Linear(config.d_model, config.d_model, bias=False)

    def __call__(
        self, x: mx.array, h: mx.array, memory: mx.array, at: Arrays
    ) -> tuple[mx.array, mx.array]:
        """x + attention over h, both [B, T, D], and what is remembered then.

        `memory` [2, B, heads, slots, D / heads] holds keys and values, and `at` where the steps
        are: their turns [3, 1, 1, T, D / heads / 2], slots [1, 1, 1, T, 1], mask [T, slots].
        """
        B, T, D = h.shape
        rotations, slots, mask = at
        # Pairs of float32 are complex64, so that RoPE is one product; values are multiplied by 1.
        pairs = self.in_proj(h).view(mx.complex64).reshape(B, T, 3, self.heads, -1)
        qkv = (pairs.transpose(2, 0, 3, 1, 4) * rotations).view(mx.float32)
        memory = mx.put_along_axis(memory, slots, qkv[1:], axis=3)
        keys, values = mx.split(memory, 2)
        y = mx.fast.scaled_dot_product_attention(
            qkv[:1].squeeze(0),
            keys.squeeze(0),
            values.squeeze(0),
            scale=(D // self.heads) ** -0.5,
            mask=mask,
        )
        return add(x, self.out_proj, y.transpose(0, 2, 1, 3).reshape(B, T, D)), memory


class LayerScale(nn.Module):
    """A learnt factor a channel (Touvron et al. 2021, https://arxiv.org/abs/2103.17239)."""

    def __init__(self, dim: int):
        super().__init__()
        self.scale = mx.ones((dim,))

    def fold(self, linear: nn.Linear | nn.QuantizedLinear) -> None:
        """Have the layer before give what this one would make of it."""
        for name in ("scales", "biases") if "scales" in linear else ("weight",):
            linear[name] = linear[name] * self.scale[:, None]


class CodecLayer(nn.Module):
    def __init__(self, config: CodecTransformerConfig):
        super().__init__()
        dim = config.d_model
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.self_attn = CodecAttention(config)
        self.linear1 = nn.Linear(dim, config.ff_dim, bias=False)
        self.linear2 = nn.Linear(config.ff_dim, dim, bias=False)
        self.layer_scale_1, self.layer_scale_2 = LayerScale(dim), LayerScale(dim)

    def prepare(self) -> None:
        """Fold the layer scales into the weights; once."""
        attention = self.self_attn
        attention.out_proj = plain(attention.out_proj)
        self.pop("layer_scale_1").fold(attention.out_proj)
        self.pop("layer_scale_2").fold(self.linear2)

    def __call__(self, x: mx.array, memory: mx.array, at: Arrays) -> tuple[mx.array, mx.array]:
        x, memory = self.self_attn(x, self.norm1(x), memory, at)
        h = nn.gelu(self.linear1(self.norm2(x)))
        return add(x, self.linear2, h), memory


class CodecTransformer(nn.Module):
    """Layers between optional projections, where the width differs from the latent's."""

    def __init__(self, config: CodecTransformerConfig, dim: int, block: int):
        super().__init__()
        self.config, self.heads = config, config.num_heads
        self.slots = config.context - 1 + block
        self.layers = [CodecLayer(config) for _ in range(config.num_layers)]
        if config.d_model != dim:
            self.input_proj = nn.Linear(dim, config.d_model, bias=False)
            self.output_proj = nn.Linear(config.d_model, dim, bias=False)

    def beginning(self, B: int) -> Arrays:
        """What the layers remember of nothing."""
        head_dim = self.config.d_model // self.heads
        return (mx.zeros((2, B, self.heads, self.slots, head_dim)),) * len(self.layers)

    def at(self, offset: int, T: int) -> Arrays:
        """What all layers need to know of the places of T steps from `offset` on."""
        rotations = turns(offset, T, self.config.d_model // self.heads, self.config.max_period)
        slots, mask = around(offset, T, self.config.context, self.slots)
        return rotations[:, None, None], slots[None, None, None, :, None], mask

    def __call__(self, x: mx.array, memories: Arrays, at: Arrays) -> tuple[mx.array, Arrays]:
        """At most `block` steps [B, T, dim] -> [B, T, dim], and what is remembered then."""
        x = self.input_proj(x) if "input_proj" in self else x
        kept: list[mx.array] = []
        for layer, memory in zip(self.layers, memories, strict=True):
            x, memory = layer(x, memory, at)
            kept.append(memory)
        return (self.output_proj(x) if "output_proj" in self else x), tuple(kept)


class Mimi(nn.Module):
    """The decoder half of the codec."""

    def __init__(self, config: MimiConfig, codebooks: int, codebook_size: int):
        super().__init__()
        self.dim, self.stride = config.seanet.dimension, config.upsample_stride
        self.sample_rate, self.codebook_size = config.sample_rate, codebook_size
        self.frame_size = self.stride * math.prod(config.seanet.ratios)
        self.codebooks = codebooks
        self.quantizer = Codebooks(codebooks, codebook_size, self.dim)
        self.upsample = DepthwiseUpsample(self.dim, self.stride)
        block = BLOCK * self.stride
        self.decoder_transformer = CodecTransformer(config.transformer, self.dim, block)
        self.decoder = Seanet(config.seanet)
        self._block = compiled(self._decode_block)

    def prepare(self) -> None:
        """Lay loaded weights out for use, in float32, in which the decoder computes; once. The
        table stays as it is stored, since its entries are only looked up."""
        table = self.quantizer.weight
        self.set_dtype(mx.float32)
        self.quantizer.weight = table
        for layer in self.decoder_transformer.layers:
            layer.prepare()
        self.decoder.prepare()

    def decode(
        self, codes: mx.array, state: MimiState | None = None, checked: bool = False
    ) -> tuple[mx.array, MimiState]:
        """codes [B, codebooks, T] -> samples [B, T * frame_size], exactly, and the next state.

        Raises:
            RequestError: a code is not in the tables.
        """
        if not checked:
            check_codes(codes, self.codebook_size)
        B, _, T = codes.shape
        state = state or self._beginning(B)
        pieces: list[mx.array] = []
        start = 0
        for size in _blocks(T):
            samples, state = self._next(codes[:, :, start : start + size], state)
            pieces.append(samples)
            start += size
            if T > BLOCK:
                mx.async_eval(samples)  # or all blocks would stand in memory together
        if len(pieces) == 1:
            return pieces[0], state
        return mx.concatenate([mx.zeros((B, 0)), *pieces], axis=1), state

    def flush(self, state: MimiState) -> mx.array:
        """Nothing: every sample of a frame is given with it."""
        return mx.zeros((state.latents.shape[0], 0))

    def _beginning(self, B: int) -> MimiState:
        return MimiState(
            0,
            mx.zeros((B, self.codebooks, 1, self.dim), self.quantizer.weight.dtype),
            self.decoder_transformer.beginning(B),
            mx.zeros((B, self.decoder.past, self.dim)),
        )

    def _next(self, codes: mx.array, state: MimiState) -> tuple[mx.array, MimiState]:
        steps = codes.shape[2] * self.stride
        at = self.decoder_transformer.at(state.steps, steps)
        kept = (state.entries, state.memories, state.latents)
        known = min(state.steps, self.decoder.settled)
        samples, kept = self._block(codes, at, kept, known)
        return samples, MimiState(state.steps + steps, *kept)

    def _decode_block(
        self, codes: mx.array, at: Arrays, kept: tuple[mx.array, Arrays, mx.array], known: int
    ) -> tuple[mx.array, tuple[mx.array, Arrays, mx.array]]:
        """At most `BLOCK` frames; `known` of the latents are not of the time before it all."""
        previous, memories, latents = kept
        entries = self.quantizer(codes)
        x = self.upsample(entries, previous)
        x, memories = self.decoder_transformer(x, memories, at)
        latents = mx.concatenate([latents, x], axis=1)
        begins = known < self.decoder.settled
        seen = latents[:, self.decoder.past - known :] if begins else latents
        samples = self.decoder(seen, begins)[:, -codes.shape[2] * self.frame_size :]
        kept = (entries[:, :, -1:], memories, latents[:, -self.decoder.past :])
        return samples, kept


def _blocks(frames: int) -> Iterator[int]:
    """Halving sizes, so that few shapes there are: few graphs to compile, and flat memory."""
    size = BLOCK
    while frames:
        if size > frames:
            size //= 2
        else:
            yield size
            frames -= size
