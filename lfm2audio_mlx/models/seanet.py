"""SEANet decoder: latent steps to samples through causal convolutions.

Tagliasacchi et al. 2020 (https://arxiv.org/abs/2009.02095) as used in Mimi (Défossez et al.
2024, https://arxiv.org/abs/2410.00037). Reference: `moshi/modules/{seanet,conv}.py`.

Nothing here keeps a state. An output depends on a few latents back and no further, so a call
takes those again (`Seanet.past`) and each layer computes the few steps that the next one looks
back on: one tail for the whole network instead of one a layer, for little more arithmetic. Only
at the very beginning, where the reference puts silence before each layer, is that padded.
"""

import math

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import SeanetConfig

__all__ = ["CausalConv", "CausalUpsample", "Seanet"]


def elu(x: mx.array) -> mx.array:
    """x, or e^x - 1 below 0 (Clevert et al. 2016, https://arxiv.org/abs/1511.07289)."""
    # MLX's CPU backend takes a power in a third of the time of an exponential.
    return mx.maximum(x, mx.power(math.e, mx.minimum(x, 0)) - 1)


def windows(x: mx.array, size: int, dilation: int = 1) -> mx.array:
    """[B, N, D] -> [B, N - (size - 1) * dilation, size * D]: each step with those before it."""
    B, N, D = x.shape
    if size == 1:
        return x
    T = N - (size - 1) * dilation
    taps = mx.as_strided(x, (B, T, size, D), (N * D, D, dilation * D, 1))
    return taps.reshape(B, T, size * D)


class CausalConv(nn.Module):
    """Convolution over the past, as one matmul: weight [out, K, in]."""

    stride = 1

    def __init__(self, in_dim: int, out_dim: int, kernel_size: int, dilation: int = 1):
        super().__init__()
        self.dilation = dilation
        self.reach = (kernel_size - 1) * dilation
        self.weight = mx.zeros((out_dim, kernel_size, in_dim))
        self.bias = mx.zeros((out_dim,))

    def __call__(self, x: mx.array) -> mx.array:
        """[B, reach + T, in] -> [B, T, out]."""
        out, K, _ = self.weight.shape
        taps = windows(x, K, self.dilation)
        return mx.addmm(self.bias, taps, self.weight.reshape(out, -1).T)


class CausalUpsample(nn.Module):
    """Transposed convolution with a kernel of twice the stride.

    weight [2 * stride, out, in]: what an input adds to each channel of the k-th sample after it.
    Each step's samples come from it and the step before, so it is a convolution of two taps once
    `prepare` has laid the weights out as [stride * out, 2 * in].
    """

    reach = 1

    def __init__(self, in_dim: int, out_dim: int, stride: int):
        super().__init__()
        self.stride = stride
        self.weight = mx.zeros((2 * stride, out_dim, in_dim))
        self.bias = mx.zeros((out_dim,))

    def prepare(self) -> None:
        """Lay loaded weights out for use; once."""
        now, later = self.weight[: self.stride], self.weight[self.stride :]
        self.weight = mx.concatenate([later, now], axis=-1).reshape(-1, 2 * now.shape[-1])
        self.bias = mx.tile(self.bias, self.stride)

    def __call__(self, x: mx.array) -> mx.array:
        """[B, 1 + T, in] -> [B, T * stride, out]."""
        B, N, _ = x.shape
        y = mx.addmm(self.bias, windows(x, 2), self.weight.T)
        return y.reshape(B, (N - 1) * self.stride, -1)


class ResidualBlock(nn.Module):
    """x + conv(elu(conv(elu(x)))), the first dilated, the second of one tap."""

    stride = 1

    def __init__(self, dim: int, kernel_size: int, dilation: int, compress: int):
        super().__init__()
        hidden = dim // compress
        self.reach = (kernel_size - 1) * dilation
        # Numbered as in the reference, where activations are entries of the list too.
        self.block: list[nn.Module] = [
            nn.ELU(),
            CausalConv(dim, hidden, kernel_size, dilation),
            nn.ELU(),
            CausalConv(hidden, dim, 1),
        ]

    def __call__(self, x: mx.array) -> mx.array:
        """[B, reach + T, dim] -> [B, T, dim]."""
        _, dilated, _, pointwise = self.block
        assert isinstance(dilated, CausalConv) and isinstance(pointwise, CausalConv)
        y = elu(dilated(elu(x)))
        return mx.addmm(x[:, self.reach :], y, pointwise.weight[:, 0].T) + pointwise.bias


Layer = CausalConv | CausalUpsample | ResidualBlock


class Seanet(nn.Module):
    """The decoder: latents to samples, as many a step as the product of the ratios.

    `past` is how many latents a call takes again, and `settled` how many there must have been
    since the beginning for that: before, it takes them all again.
    """

    def __init__(self, config: SeanetConfig):
        super().__init__()
        width = config.n_filters * 2 ** len(config.ratios)
        self.model: list[Layer | nn.ELU] = [CausalConv(config.dimension, width, config.kernel_size)]
        for ratio in config.ratios:
            self.model += [nn.ELU(), CausalUpsample(width, width // 2, ratio)]
            width //= 2
            self.model += [
                ResidualBlock(
                    width, config.residual_kernel_size, config.dilation_base**j, config.compress
                )
                for j in range(config.n_residual_layers)
            ]
        self.model += [nn.ELU(), CausalConv(width, 1, config.last_kernel_size)]
        # Steps before the new ones that are wanted of each layer, from the last to the first.
        wanted = [0]
        for layer in reversed(self.model):
            if not isinstance(layer, nn.ELU):
                wanted.insert(0, -(-wanted[0] // layer.stride) + layer.reach)
        self.past, *self._wanted = wanted
        self.settled = self._wanted[0]

    def prepare(self) -> None:
        """Lay loaded weights out for use; once."""
        for layer in self.model:
            if isinstance(layer, CausalUpsample):
                layer.prepare()

    def __call__(self, x: mx.array, begins: bool) -> mx.array:
        """[B, past + T, dimension] -> samples [B, T * ratios]; [B, T, dimension] if it begins."""
        T = x.shape[1] - (0 if begins else self.past)
        wanted = iter(self._wanted)
        for layer in self.model:
            if isinstance(layer, nn.ELU):
                x = elu(x)
                continue
            if begins:
                x = mx.pad(x, [(0, 0), (layer.reach, 0), (0, 0)])
            x = layer(x)
            T *= layer.stride
            steps = T if begins else T + next(wanted)
            x = x[:, x.shape[1] - steps :]
        return x[..., 0]
