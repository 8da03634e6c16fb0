"""Linear layers with what stands before and after them: norm, activation, residual.

For a few positions and packed weights each is one Metal kernel instead of two or three; the norm
costs no pass of its own, since its rate is a factor of the products. For many positions MLX's
matrix kernels are faster; there what follows the product, bias included, is fused by
`mx.compile`. Without kernels all is written out in MLX's own operations.
"""

from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.kernels.metal import SIMD, Grid, Kernel, usable
from lfm2audio_mlx.kernels.packed import Packed, packed

__all__ = ["norm_project", "norm_swiglu", "project_add", "project_silu"]

MOST_POSITIONS = 4
"""Of a batch, that go through a kernel: each reads the weights again, as in MLX's own kernel for
few rows. MLX takes its matrix kernels from 6 to 33 on, by shape and chip; 4 is a cautious guess."""
ROWS = 8
"""Rows of a matrix to a threadgroup: two simdgroups of four."""

_PACKED = ("words", "scales", "biases")
_norm_project = Kernel("norm_project", ("x", "weight", *_PACKED, "eps"), ("y",), ("packed",))
_norm_swiglu = Kernel("norm_swiglu", ("x", "weight", *_PACKED, "eps"), ("y",), ("packed",))
_project_add = Kernel("project_add", ("x", "residual", *_PACKED), ("y",), ("packed",))


@partial(mx.compile, shapeless=True)
def _swiglu(gate: mx.array, up: mx.array) -> mx.array:
    return gate * mx.sigmoid(gate) * up


@partial(mx.compile, shapeless=True)
def _silu(y: mx.array, bias: mx.array) -> mx.array:
    return (y + bias) * mx.sigmoid(y + bias)


@partial(mx.compile, shapeless=True)
def _add(residual: mx.array, y: mx.array, share: float) -> mx.array:
    return residual + share * y


@partial(mx.compile, shapeless=True)
def _add_biased(residual: mx.array, y: mx.array, share: float, bias: mx.array) -> mx.array:
    return residual + share * (y + bias)


def norm_project(norm: nn.RMSNorm, layer: nn.Module, x: mx.array) -> mx.array:
    """W norm(x): x [..., K] -> [..., N]. `layer` is a linear one, or a table used as a head."""
    matrix = _fitting(layer, x, norm.weight)
    if matrix is None:
        return _product(layer, norm(x))
    inputs = (x, norm.weight, *matrix.arrays, mx.array([norm.eps]))
    return _run(_norm_project, matrix, inputs, matrix.rows)


def norm_swiglu(norm: nn.RMSNorm, layer: nn.Module, x: mx.array) -> mx.array:
    """silu(G norm(x)) * U norm(x), where `layer` is G above U: x [..., K] -> [..., N]
    (Shazeer 2020, https://arxiv.org/abs/2002.05202)."""
    matrix = _fitting(layer, x, norm.weight)
    if matrix is None:
        gate, up = mx.split(_product(layer, norm(x)), 2, axis=-1)
        return _swiglu(gate, up) if usable(x) else nn.silu(gate) * up
    inputs = (x, norm.weight, *matrix.arrays, mx.array([norm.eps]))
    return _run(_norm_swiglu, matrix, inputs, matrix.rows // 2)


def project_add(layer: nn.Module, x: mx.array, residual: mx.array, share: float = 1.0) -> mx.array:
    """residual + share (W x + bias): x [..., K], residual [..., N] -> [..., N]."""
    matrix = _fitting(layer, x, residual)
    if matrix and share == 1.0:
        return _run(_project_add, matrix, (x, residual, *matrix.arrays), matrix.rows)
    if not usable(x):
        y = _product(layer, x)
        return residual + (y if share == 1.0 else share * y)
    y, bias = _without_bias(layer, x)
    return _add(residual, y, share) if bias is None else _add_biased(residual, y, share, bias)


def project_silu(layer: nn.Module, x: mx.array) -> mx.array:
    """silu(W x + bias): x [..., K] -> [..., N]."""
    if not usable(x):
        return nn.silu(_product(layer, x))
    y, bias = _without_bias(layer, x)
    return nn.silu(y) if bias is None else _silu(y, bias)


def _fitting(layer: nn.Module, x: mx.array, other: mx.array) -> Packed | None:
    """A layer's weights, if a kernel is to multiply x by them; `other` is what else it takes."""
    if x.size > MOST_POSITIONS * x.shape[-1] or "bias" in layer:
        return None
    matrix = packed(layer)
    return matrix if matrix and usable(x, matrix.scales, other) else None


def _product(layer: Any, x: mx.array) -> mx.array:
    return layer.as_linear(x) if hasattr(layer, "as_linear") else layer(x)


def _without_bias(layer: nn.Module, x: mx.array) -> tuple[mx.array, mx.array | None]:
    """A product, and the bias that is still to be added; MLX adds it to packed ones by a kernel of
    its own, to others in the product."""
    if not isinstance(layer, nn.QuantizedLinear) or "bias" not in layer:
        return _product(layer, x), None
    y = mx.quantized_matmul(
        x,
        layer.weight,
        scales=layer.scales,
        biases=layer.biases,
        transpose=True,
        group_size=layer.group_size,
        bits=layer.bits,
        mode=layer.mode,
    )
    return y, layer.bias


def _run(kernel: Kernel, matrix: Packed, inputs: tuple[mx.array, ...], rows: int) -> mx.array:
    x = inputs[0]
    groups, positions = -(-rows // ROWS), x.size // x.shape[-1]
    (y,) = kernel(
        inputs,
        matrix.template,
        Grid((2 * SIMD * groups, positions, 1), (2 * SIMD, 1, 1)),
        [((*x.shape[:-1], rows), x.dtype)],
    )
    return y
