"""Layers that several architectures share. Attribute names are those of the checkpoints.

Norm and residual belong to the layer that they surround, since kernels do them in one with it.
"""

from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.kernels.projections import norm_swiglu, project_add

__all__ = ["DepthwiseConv", "SwiGLU", "head_weights", "join"]


class SwiGLU(nn.Module):
    """w2(silu(w1 x) * w3 x), without biases (Shazeer 2020, https://arxiv.org/abs/2002.05202), of a
    normed x and added to x itself."""

    def __init__(self, dim: int, ff_dim: int):
        super().__init__()
        self.w1 = nn.Linear(dim, ff_dim, bias=False)
        self.w3 = nn.Linear(dim, ff_dim, bias=False)
        self.w2 = nn.Linear(ff_dim, dim, bias=False)

    def join(self) -> None:
        """Make one layer of the two that read the same input."""
        join(self, "w13", ("w1", "w3"))

    def __call__(self, x: mx.array, norm: nn.RMSNorm) -> mx.array:
        """[..., D] -> [..., D]."""
        if "w13" in self:
            y = norm_swiglu(norm, self["w13"], x)
        else:
            normed = norm(x)
            y = nn.silu(self.w1(normed)) * self.w3(normed)
        return project_add(self.w2, y, x)


class DepthwiseConv(nn.Module):
    """The weights of one filter a channel over time, [K, D], and biases [D]; kernels apply them."""

    def __init__(self, dim: int, kernel_size: int, bias: bool):
        super().__init__()
        self.weight = mx.zeros((kernel_size, dim))
        if bias:
            self.bias = mx.zeros((dim,))


def head_weights(queries: nn.RMSNorm, keys: nn.RMSNorm, heads: int, kv_heads: int) -> mx.array:
    """Weights [heads + kv_heads, D] that norm queries and keys, head by head, in one go."""
    rows = ((queries.weight, heads), (keys.weight, kv_heads))
    return mx.concatenate([mx.broadcast_to(weight, (n, weight.size)) for weight, n in rows])


def join(owner: nn.Module, name: str, parts: Sequence[str]) -> None:
    """Put the rows of linear layers, which all read the same input, into a single one of that
    name; ones that are stored in different ways stay apart."""
    layers = [owner[part] for part in parts]
    if len({_stored(layer) for layer in layers}) > 1:
        return
    for part in parts:
        owner.pop(part)
    for key in ("weight", "scales", "biases", "bias"):
        if key in layers[0]:
            layers[0][key] = mx.concatenate([layer[key] for layer in layers])
    owner[name] = layers[0]


def _stored(layer: nn.Linear | nn.QuantizedLinear) -> tuple[int, int] | None:
    return (layer.bits, layer.group_size) if isinstance(layer, nn.QuantizedLinear) else None
