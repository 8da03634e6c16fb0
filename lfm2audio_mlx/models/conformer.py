"""FastConformer: log-mel frames to encoder states, an eighth as many.

Rekesh et al. 2023 (https://arxiv.org/abs/2305.05084): depthwise-striding subsampling, then
Conformer blocks (Gulati et al. 2020, https://arxiv.org/abs/2005.08100) with the relative
attention of Transformer-XL (Dai et al. 2019, https://arxiv.org/abs/1901.02860, appendix B).
Reference files: `model/conformer/{encoder,modules,mha,subsampling}.py` of liquid-audio.
"""

import math

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import ConformerConfig
from lfm2audio_mlx.kernels.glu_conv import glu_conv
from lfm2audio_mlx.kernels.projections import project_add, project_silu
from lfm2audio_mlx.kernels.rel_pos_attention import rel_pos_attention
from lfm2audio_mlx.models.layers import DepthwiseConv, join

__all__ = ["Adapter", "Conformer", "relative_positions"]

# A long recording goes through in blocks, so that memory grows with its length and not with the
# square of it; what comes out is the same.
SUBSAMPLING_BLOCK = 1024
"""Outputs of the subsampling that are computed at once."""
MARGIN = 2
"""Outputs whose inputs a block overlaps with the next: three strided convolutions see one."""


def relative_positions(length: int, dim: int) -> mx.array:
    """Sinusoids of the distances length-1 ... -(length-1), interleaved sin and cos.

    Returns [2 * length - 1, dim] float32; base 10,000 as in the reference's `create_pe`.
    """
    distances = mx.arange(length - 1, -length, -1).astype(mx.float32)[:, None]
    rates = mx.exp(mx.arange(0, dim, 2).astype(mx.float32) * -(math.log(10_000.0) / dim))
    angles = distances * rates
    return mx.stack([mx.sin(angles), mx.cos(angles)], axis=-1).reshape(2 * length - 1, dim)


class Subsampling(nn.Module):
    """Strided 3 x 3 convolutions over time and frequency, halving both each time."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        channels, self.factor = config.subsampling_channels, config.subsampling_factor
        stages = int(math.log2(config.subsampling_factor))
        # Entries of the list keep the reference's numbering, activations included.
        self.conv: list[nn.Module] = [
            nn.Conv2d(1, channels, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
        ]
        for _ in range(stages - 1):
            self.conv += [
                nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1, groups=channels),
                nn.Conv2d(channels, channels, kernel_size=1),
                nn.ReLU(),
            ]
        frequencies = config.features
        for _ in range(stages):
            frequencies = (frequencies + 1) // 2
        self.out = nn.Linear(channels * frequencies, config.d_model)

    def __call__(self, x: mx.array) -> mx.array:
        """x [B, T, features] -> [B, ceil(T / factor), d_model], a block of time at once."""
        blocks: list[mx.array] = []
        for start in range(0, x.shape[1], SUBSAMPLING_BLOCK * self.factor):
            # With what the block's first and last outputs see beyond it.
            before = min(start, MARGIN * self.factor)
            end = start + (SUBSAMPLING_BLOCK + MARGIN) * self.factor
            y = self._convolve(x[:, start - before : end])
            first = before // self.factor
            blocks.append(y[:, first : first + SUBSAMPLING_BLOCK])
        return mx.concatenate(blocks, axis=1)

    def _convolve(self, x: mx.array) -> mx.array:
        x = x[..., None]
        for layer in self.conv:
            x = layer(x)
        B, T, F, C = x.shape
        return self.out(x.transpose(0, 1, 3, 2).reshape(B, T, C * F))


class RelativeAttention(nn.Module):
    """Self-attention whose scores add a term for the distance of query and key."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.linear_q = nn.Linear(dim, dim)
        self.linear_k = nn.Linear(dim, dim)
        self.linear_v = nn.Linear(dim, dim)
        self.linear_out = nn.Linear(dim, dim)
        self.linear_pos = nn.Linear(dim, dim, bias=False)
        self.pos_bias_u = mx.zeros((heads, dim // heads))
        self.pos_bias_v = mx.zeros((heads, dim // heads))

    def join(self) -> None:
        """Make one layer of the three that read the same input, without biases: that of queries
        goes into the ones that they get anyway, that of values through the sum, whose weights add
        up to one, into the output's, and that of keys adds the same to all scores of a query."""
        join(self, "linear_qkv", ("linear_q", "linear_k", "linear_v"))
        if "linear_qkv" in self and "bias" in self["linear_qkv"]:
            queries, _, values = mx.split(self["linear_qkv"].pop("bias"), 3)
            self.pos_bias_u = self.pos_bias_u + queries.reshape(self.heads, -1)
            self.pos_bias_v = self.pos_bias_v + queries.reshape(self.heads, -1)
            self.linear_out.bias = self.linear_out(values)

    def __call__(self, x: mx.array, norm: nn.LayerNorm, positions: mx.array) -> mx.array:
        """x [B, T, D], positions [2T - 1, D] -> [B, T, D], added to x."""
        B, T, D = x.shape
        h = norm(x)
        if "linear_qkv" in self:
            qkv = self["linear_qkv"](h)
        else:
            qkv = mx.concatenate([self.linear_q(h), self.linear_k(h), self.linear_v(h)], axis=-1)
        y = rel_pos_attention(
            qkv.reshape(B, T, 3, self.heads, -1),
            self.linear_pos(positions).reshape(2 * T - 1, self.heads, -1),
            self.pos_bias_u,
            self.pos_bias_v,
        )
        return project_add(self.linear_out, y.reshape(B, T, D), x)


class ConvolutionModule(nn.Module):
    """Pointwise GLU, depthwise convolution over time, batch norm, SiLU, pointwise."""

    def __init__(self, dim: int, kernel_size: int):
        super().__init__()
        self.pointwise_conv1 = nn.Linear(dim, 2 * dim)
        self.depthwise_conv = DepthwiseConv(dim, kernel_size, bias=True)
        self.batch_norm = nn.BatchNorm(dim)
        self.pointwise_conv2 = nn.Linear(dim, dim)

    def join(self) -> None:
        """Fold the batch norm, which only scales and shifts here, into the convolution."""
        if "batch_norm" in self:
            self.depthwise_conv.weight, self.depthwise_conv.bias = self._folded()
            self.pop("batch_norm")

    def _folded(self) -> tuple[mx.array, mx.array]:
        """Weight [K, D] and bias [D] of convolution and batch norm in one."""
        conv, norm = self.depthwise_conv, self.batch_norm
        dtype = conv.weight.dtype
        mean, variance, gain, shift = (
            array.astype(mx.float32)
            for array in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        rate = gain * mx.rsqrt(variance + norm.eps)
        return (conv.weight * rate).astype(dtype), ((conv.bias - mean) * rate + shift).astype(dtype)

    def __call__(self, x: mx.array, norm: nn.LayerNorm) -> mx.array:
        """[B, T, D] -> [B, T, D], added to x."""
        folded = "batch_norm" not in self
        conv = self.depthwise_conv
        weight, bias = (conv.weight, conv.bias) if folded else self._folded()
        h = glu_conv(self.pointwise_conv1(norm(x)), weight, bias)
        return project_add(self.pointwise_conv2, h, x)


class FeedForward(nn.Module):
    def __init__(self, dim: int, ff_dim: int):
        super().__init__()
        self.linear1 = nn.Linear(dim, ff_dim)
        self.linear2 = nn.Linear(ff_dim, dim)

    def __call__(self, x: mx.array, norm: nn.LayerNorm) -> mx.array:
        """[B, T, D] -> [B, T, D], half of it added to x."""
        return project_add(self.linear2, project_silu(self.linear1, norm(x)), x, share=0.5)


class ConformerLayer(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        dim = config.d_model
        self.norm_feed_forward1 = nn.LayerNorm(dim)
        self.feed_forward1 = FeedForward(dim, config.ff_dim)
        self.norm_self_att = nn.LayerNorm(dim)
        self.self_attn = RelativeAttention(dim, config.n_heads)
        self.norm_conv = nn.LayerNorm(dim)
        self.conv = ConvolutionModule(dim, config.conv_kernel_size)
        self.norm_feed_forward2 = nn.LayerNorm(dim)
        self.feed_forward2 = FeedForward(dim, config.ff_dim)
        self.norm_out = nn.LayerNorm(dim)

    def __call__(self, x: mx.array, positions: mx.array) -> mx.array:
        x = self.feed_forward1(x, self.norm_feed_forward1)
        x = self.self_attn(x, self.norm_self_att, positions)
        x = self.conv(x, self.norm_conv)
        x = self.feed_forward2(x, self.norm_feed_forward2)
        return self.norm_out(x)


class Conformer(nn.Module):
    """The whole encoder."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        self.scale = math.sqrt(config.d_model) if config.xscaling else 1.0
        self.pre_encode = Subsampling(config)
        self.layers = [ConformerLayer(config) for _ in range(config.n_layers)]

    def __call__(self, features: mx.array) -> mx.array:
        """Log-mel [B, T, features] -> [B, ceil(T / 8), d_model] (8: the subsampling factor)."""
        x = self.pre_encode(features) * self.scale
        _, T, D = x.shape
        positions = relative_positions(T, D).astype(x.dtype)
        for layer in self.layers:
            x = layer(x, positions)
        return x


class Adapter(nn.Module):
    """Encoder states to backbone embeddings: norm, linear, GELU, linear."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.model = [
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
        ]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in self.model:
            x = layer(x)
        return x
