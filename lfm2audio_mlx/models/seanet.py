"""SEANet decoder: latent steps to samples through causal convolutions, in any number of calls.

Tagliasacchi et al. 2020 (https://arxiv.org/abs/2009.02095) as used in Mimi (Défossez et al.
2024, https://arxiv.org/abs/2410.00037). Reference: `moshi/modules/{seanet,conv}.py`.
Each layer takes and hands back its own tail: the last inputs of a convolution, or the half of a
transposed convolution's output that the next step overlaps. `None` is the beginning: silence.
"""

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import SeanetConfig
from lfm2audio_mlx.models.cache import push_tail

__all__ = ["Seanet", "SeanetState", "overlap_add"]

Tail = mx.array | None
SeanetState = tuple[Tail, ...]


class CausalConv(nn.Module):
    """Convolution that sees only the past; weight [out, K, in]."""

    def __init__(self, in_dim: int, out_dim: int, kernel_size: int, dilation: int = 1):
        super().__init__()
        self.dilation = dilation
        self.weight = mx.zeros((out_dim, kernel_size, in_dim))
        self.bias = mx.zeros((out_dim,))

    def __call__(self, x: mx.array, tail: Tail) -> tuple[mx.array, Tail]:
        reach = (self.weight.shape[1] - 1) * self.dilation
        if reach == 0:
            return x @ self.weight[:, 0].T + self.bias, None
        x, tail = push_tail(tail, x, reach)
        return mx.conv1d(x, self.weight, dilation=self.dilation) + self.bias, tail


class CausalUpsample(nn.Module):
    """Transposed convolution with a kernel of twice the stride, as a matmul and overlap-add.

    weight [2 * stride, out, in]: what an input adds to each channel of the k-th sample after it.
    """

    def __init__(self, in_dim: int, out_dim: int, stride: int):
        super().__init__()
        self.stride = stride
        self.weight = mx.zeros((2 * stride, out_dim, in_dim))
        self.bias = mx.zeros((out_dim,))

    def __call__(self, x: mx.array, tail: Tail) -> tuple[mx.array, Tail]:
        B, T, D = x.shape
        y = x @ self.weight.reshape(-1, D).T
        y, tail = overlap_add(y.reshape(B, T, 2, self.stride, -1), tail)
        return y + self.bias, tail


def overlap_add(halves: mx.array, tail: Tail) -> tuple[mx.array, mx.array]:
    """Add each step's second half to the next step's first.

    halves [B, T, 2, stride, D], tail [B, 1, stride, D] (the last second half) ->
    [B, T * stride, D] and the next tail.
    """
    B, T, _, S, D = halves.shape
    now, later = halves[:, :, 0], halves[:, :, 1]
    if tail is None:
        tail = mx.zeros((B, 1, S, D), halves.dtype)
    y = now + mx.concatenate([tail, later[:, : T - 1]], axis=1)
    return y.reshape(B, T * S, D), later[:, T - 1 :]


class ResidualBlock(nn.Module):
    """x + conv(elu(conv(elu(x)))), the first dilated, the second of one tap."""

    def __init__(self, dim: int, kernel_size: int, dilation: int, compress: int):
        super().__init__()
        hidden = dim // compress
        # Numbered as in the reference, where activations are entries of the list too.
        self.block: list[nn.Module] = [
            nn.ELU(),
            CausalConv(dim, hidden, kernel_size, dilation),
            nn.ELU(),
            CausalConv(hidden, dim, 1),
        ]

    def __call__(self, x: mx.array, tail: Tail) -> tuple[mx.array, Tail]:
        _, dilated, _, pointwise = self.block
        y, tail = dilated(nn.elu(x), tail)
        y, _ = pointwise(nn.elu(y), None)
        return x + y, tail


class Seanet(nn.Module):
    """The decoder: [B, T, dimension] -> samples [B, T * product of ratios]."""

    def __init__(self, config: SeanetConfig):
        super().__init__()
        width = config.n_filters * 2 ** len(config.ratios)
        self.model: list[nn.Module] = [CausalConv(config.dimension, width, config.kernel_size)]
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

    def __call__(self, x: mx.array, state: SeanetState | None) -> tuple[mx.array, SeanetState]:
        tails: list[Tail] = []
        for layer, tail in zip(self.model, state or (None,) * len(self.model), strict=True):
            if isinstance(layer, nn.ELU):
                x, new_tail = layer(x), None
            else:
                x, new_tail = layer(x, tail)
            tails.append(new_tail)
        return x[..., 0], tuple(tails)
