"""Layers that several architectures share. Attribute names are those of the checkpoints."""

import mlx.core as mx
import mlx.nn as nn

__all__ = ["DepthwiseConv", "SwiGLU"]


class SwiGLU(nn.Module):
    """w2(silu(w1 x) * w3 x), without biases (Shazeer 2020, https://arxiv.org/abs/2002.05202)."""

    def __init__(self, dim: int, ff_dim: int):
        super().__init__()
        self.w1 = nn.Linear(dim, ff_dim, bias=False)
        self.w3 = nn.Linear(dim, ff_dim, bias=False)
        self.w2 = nn.Linear(ff_dim, dim, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.w2(nn.silu(self.w1(x)) * self.w3(x))


class DepthwiseConv(nn.Module):
    """One filter a channel over time, without padding: weight [K, D], bias [D].

    Written as K shifted products: for a handful of taps this is elementwise work that fuses,
    and a grouped convolution is slow on MLX's CPU backend.
    """

    def __init__(self, dim: int, kernel_size: int, bias: bool):
        super().__init__()
        self.weight = mx.zeros((kernel_size, dim))
        if bias:
            self.bias = mx.zeros((dim,))

    def __call__(self, x: mx.array) -> mx.array:
        """[B, T, D] -> [B, T - K + 1, D]."""
        K = self.weight.shape[0]
        T = x.shape[1] - K + 1
        y = x[:, :T] * self.weight[0]
        for k in range(1, K):
            y = y + x[:, k : k + T] * self.weight[k]
        return y + self.bias if "bias" in self else y
