"""Mimi's two halves for training: causal convolutions and transformers over whole clips.

Défossez et al. 2024 (https://arxiv.org/abs/2410.00037). Parameters are named and laid out as in
`lfm2audio_mlx.models.mimi`, which only decodes, and keeps states where here there are none;
reference: `moshi/modules/{seanet,conv,resample}.py`, `moshi/models/compression.py`.
"""

from collections.abc import Callable
from typing import cast

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import CodecTransformerConfig, MimiConfig, SeanetConfig
from lfm2audio_mlx.models import seanet

__all__ = ["Decoder", "Encoder"]

LAYER_SCALE = 0.01
"""What layer scales begin with (`layer_scale` in the reference's `loaders.py`)."""


AFTER_ELU = 1.25
"""What makes up for the variance that an ELU takes."""
SPEECH = 0.1
"""Root mean square of what comes in and goes out."""


def _uniform(fan_in: int, shape: tuple[int, ...], gain: float = 1.0) -> mx.array:
    """Weights that give what they are given its variance, times the gain's square (Glorot & Bengio
    2010). With the reference's smaller ones signals fade from layer to layer until no ELU bends,
    and an encoder that is linear hears no formants, nor learns to."""
    bound = gain * (3 / fan_in) ** 0.5
    return mx.random.uniform(-bound, bound, shape)


class Convolution(nn.Module):
    """Over the past and the present; weight [out, K, in]. Written as products of matrices, which
    MLX's CPU backend does faster than convolutions, and much faster their gradients."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        kernel_size: int,
        dilation: int = 1,
        bias: bool = True,
        gain: float = AFTER_ELU,
    ):
        super().__init__()
        self.dilation = dilation
        self.weight = _uniform(kernel_size * in_dim, (out_dim, kernel_size, in_dim), gain)
        if bias:
            self.bias = mx.zeros((out_dim,))

    def __call__(self, x: mx.array) -> mx.array:
        """[B, T, in] -> [B, T, out]."""
        out, K, _ = self.weight.shape
        T, reach = x.shape[1], (K - 1) * self.dilation
        padded = mx.pad(x, [(0, 0), (reach, 0), (0, 0)])
        taps = [padded[:, k * self.dilation : k * self.dilation + T] for k in range(K)]
        return _product(self, mx.concatenate(taps, axis=-1), out)


class Downsampling(Convolution):
    """A stride of half the kernel's size. `repeated`: before the beginning stands the first value,
    not silence."""

    def __init__(self, in_dim: int, out_dim: int, stride: int, repeated: bool = False):
        gain = 1.0 if repeated else AFTER_ELU
        super().__init__(in_dim, out_dim, 2 * stride, bias=not repeated, gain=gain)
        self.stride, self.repeated = stride, repeated

    def __call__(self, x: mx.array) -> mx.array:
        """[B, T * stride, in] -> [B, T, out]."""
        B, N, D = x.shape
        now = x.reshape(B, N // self.stride, self.stride * D)
        if self.repeated:
            first = mx.tile(x[:, :1], (1, 1, self.stride))
        else:
            first = mx.zeros_like(now[:, :1])
        before = mx.concatenate([first, now[:, :-1]], axis=1)
        return _product(self, mx.concatenate([before, now], axis=-1), self.weight.shape[0])


def _product(layer: Convolution, taps: mx.array, out: int) -> mx.array:
    weight = layer.weight.reshape(out, -1).T
    return mx.addmm(layer.bias, taps, weight) if "bias" in layer else taps @ weight


class Upsampling(nn.Module):
    """Transposed convolution with a kernel of twice the stride; weight [2 * stride, out, in]."""

    def __init__(self, in_dim: int, out_dim: int, stride: int):
        super().__init__()
        self.stride = stride
        self.weight = _uniform(2 * in_dim, (2 * stride, out_dim, in_dim), AFTER_ELU)
        self.bias = mx.zeros((out_dim,))

    def __call__(self, x: mx.array) -> mx.array:
        """[B, T, in] -> [B, T * stride, out]."""
        B, T, _ = x.shape
        y = (x @ self.weight.reshape(-1, x.shape[-1]).T).reshape(B, T, 2, self.stride, -1)
        now, later = y[:, :, 0], mx.pad(y[:, :-1, 1], [(0, 0), (1, 0), (0, 0), (0, 0)])
        return (now + later).reshape(B, T * self.stride, -1) + self.bias


class DepthwiseUpsampling(nn.Module):
    """The same, channel by channel; weight [2, stride, D]: now, and the step after."""

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.weight = _uniform(2, (2, stride, dim))

    def __call__(self, x: mx.array) -> mx.array:
        """[B, T, D] -> [B, T * stride, D]."""
        B, T, D = x.shape
        before = mx.pad(x[:, :-1], [(0, 0), (1, 0), (0, 0)])
        y = x[:, :, None] * self.weight[0] + before[:, :, None] * self.weight[1]
        return y.reshape(B, T * self.weight.shape[1], D)


def _elu_vjp(_: mx.array, cotangent: mx.array, y: mx.array) -> mx.array:
    return cotangent * (mx.minimum(y, 0) + 1)


# As the product's, with a gradient that asks for no second exponential.
elu = cast(Callable[[mx.array], mx.array], mx.custom_function(seanet.elu))
elu.vjp(_elu_vjp)  # pyright: ignore[reportFunctionMemberAccess]


class Elu(nn.Module):
    def __call__(self, x: mx.array) -> mx.array:
        return elu(x)


class ResidualBlock(nn.Module):
    def __init__(self, dim: int, config: SeanetConfig, dilation: int):
        super().__init__()
        hidden = dim // config.compress
        self.block = [
            Elu(),
            Convolution(dim, hidden, config.residual_kernel_size, dilation),
            Elu(),
            Convolution(hidden, dim, 1),
        ]

    def __call__(self, x: mx.array) -> mx.array:
        return x + _through(self.block, x)


def _through(layers: list[nn.Module], x: mx.array) -> mx.array:
    for layer in layers:
        x = layer(x)
    return x


class Seanet(nn.Module):
    """Layers in a row, numbered as in the reference, activations included."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.model = layers

    def __call__(self, x: mx.array) -> mx.array:
        return _through(self.model, x)


def _blocks(width: int, config: SeanetConfig) -> list[nn.Module]:
    return [
        ResidualBlock(width, config, config.dilation_base**j)
        for j in range(config.n_residual_layers)
    ]


def _analysis(config: SeanetConfig) -> Seanet:
    """Samples [B, N, 1] -> steps [B, N / ratios, dimension]."""
    width = config.n_filters
    layers: list[nn.Module] = [Convolution(1, width, config.kernel_size, gain=1 / SPEECH)]
    for ratio in reversed(config.ratios):
        layers += [*_blocks(width, config), Elu(), Downsampling(width, 2 * width, ratio)]
        width *= 2
    return Seanet([*layers, Elu(), Convolution(width, config.dimension, config.last_kernel_size)])


def _synthesis(config: SeanetConfig) -> Seanet:
    """Steps [B, N / ratios, dimension] -> samples [B, N, 1]."""
    width = config.n_filters * 2 ** len(config.ratios)
    layers: list[nn.Module] = [Convolution(config.dimension, width, config.kernel_size, gain=1.0)]
    for ratio in config.ratios:
        layers += [Elu(), Upsampling(width, width // 2, ratio)]
        width //= 2
        layers += _blocks(width, config)
    return Seanet([*layers, Elu(), Convolution(width, 1, config.last_kernel_size, gain=SPEECH)])


class LayerScale(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.scale = mx.full((dim,), LAYER_SCALE)


class Attention(nn.Module):
    def __init__(self, config: CodecTransformerConfig):
        super().__init__()
        self.heads, self.base = config.num_heads, config.max_period
        self.in_proj = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out_proj = nn.Linear(config.d_model, config.d_model, bias=False)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        B, T, D = x.shape
        qkv = self.in_proj(x).reshape(B, T, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        queries, keys = (
            mx.fast.rope(
                part, D // self.heads, traditional=True, base=self.base, scale=1.0, offset=0
            )
            for part in (qkv[0], qkv[1])
        )
        scale = (D // self.heads) ** -0.5
        y = mx.fast.scaled_dot_product_attention(queries, keys, qkv[2], scale=scale, mask=mask)
        return self.out_proj(y.transpose(0, 2, 1, 3).reshape(B, T, D))


class TransformerLayer(nn.Module):
    def __init__(self, config: CodecTransformerConfig):
        super().__init__()
        dim = config.d_model
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.self_attn = Attention(config)
        self.linear1 = nn.Linear(dim, config.ff_dim, bias=False)
        self.linear2 = nn.Linear(config.ff_dim, dim, bias=False)
        self.layer_scale_1, self.layer_scale_2 = LayerScale(dim), LayerScale(dim)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        x = x + self.layer_scale_1.scale * self.self_attn(self.norm1(x), mask)
        h = self.linear2(nn.gelu(self.linear1(self.norm2(x))))
        return x + self.layer_scale_2.scale * h


class Transformer(nn.Module):
    """Causal, each step over the last `context`."""

    def __init__(self, config: CodecTransformerConfig):
        super().__init__()
        self.context = config.context
        self.layers = [TransformerLayer(config) for _ in range(config.num_layers)]

    def __call__(self, x: mx.array) -> mx.array:
        places = mx.arange(x.shape[1])
        distance = places[:, None] - places
        mask = (distance >= 0) & (distance < self.context)
        for layer in self.layers:
            x = layer(x, mask)
        return x


class Encoder(nn.Module):
    """Samples [B, frames * frame_size] -> latents [B, frames, dimension]."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        dim = config.seanet.dimension
        self.encoder = _analysis(config.seanet)
        self.encoder_transformer = Transformer(config.transformer)
        self.downsample = Downsampling(dim, dim, config.upsample_stride, repeated=True)

    def __call__(self, samples: mx.array) -> mx.array:
        return self.downsample(self.encoder_transformer(self.encoder(samples[..., None])))


class Decoder(nn.Module):
    """Latents [B, frames, dimension] -> samples [B, frames * frame_size]."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.upsample = DepthwiseUpsampling(config.seanet.dimension, config.upsample_stride)
        self.decoder_transformer = Transformer(config.transformer)
        self.decoder = _synthesis(config.seanet)

    def __call__(self, latents: mx.array) -> mx.array:
        return self.decoder(self.decoder_transformer(self.upsample(latents)))[..., 0]
