"""Linear layers with what stands before and after them: norm, SwiGLU, residual.

For a few positions and packed weights each is one Metal kernel instead of two or three; the norm
costs no pass of its own, since its rate is a factor of the products. For many positions MLX's
matrix kernels are faster, and every other backend has only those: the `_ops` twins.
"""

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.kernels.metal import SIMD, Grid, Kernel, usable

__all__ = ["norm_project", "norm_swiglu", "packed", "project_add", "template_of"]

MOST_POSITIONS = 4
"""Of a batch, that go through a kernel: each reads the weights again, as in MLX's own kernel for
few rows. From 6 on MLX takes its matrix kernels."""
ROWS = 8
"""Rows of a matrix to a threadgroup: two simdgroups of four."""

_PACKED = ("words", "scales", "biases")
_norm_project = Kernel("norm_project", ("x", "weight", *_PACKED, "eps"), ("y",), ("packed",))
_norm_swiglu = Kernel("norm_swiglu", ("x", "weight", *_PACKED, "eps"), ("y",), ("packed",))
_project_add = Kernel("project_add", ("x", "residual", *_PACKED), ("y",), ("packed",))


def norm_project(norm: nn.RMSNorm, layer: nn.Module, x: mx.array) -> mx.array:
    """W norm(x): x [..., K] -> [..., N]. `layer` is a linear one, or a table used as a head."""
    if not _fits(layer, x):
        return _product(layer, norm(x))
    rows = layer.scales.shape[0]
    inputs = (x, norm.weight, *_weights(layer), mx.array([norm.eps]))
    return _run(_norm_project, layer, x, inputs, rows)


def norm_swiglu(norm: nn.RMSNorm, layer: nn.Module, x: mx.array) -> mx.array:
    """silu(G norm(x)) * U norm(x), where `layer` is G above U: x [..., K] -> [..., N]
    (Shazeer 2020, https://arxiv.org/abs/2002.05202)."""
    if not _fits(layer, x):
        gate, up = mx.split(_product(layer, norm(x)), 2, axis=-1)
        return nn.silu(gate) * up
    rows = layer.scales.shape[0] // 2
    inputs = (x, norm.weight, *_weights(layer), mx.array([norm.eps]))
    return _run(_norm_swiglu, layer, x, inputs, rows)


def project_add(layer: nn.Module, x: mx.array, residual: mx.array) -> mx.array:
    """residual + W x: x [..., K], residual [..., N] -> [..., N]."""
    if not _fits(layer, x):
        return residual + _product(layer, x)
    return _run(_project_add, layer, x, (x, residual, *_weights(layer)), layer.scales.shape[0])


def packed(layer: nn.Module) -> bool:
    """Does a layer hold weights in a form that our kernels read?"""
    if not isinstance(layer, nn.QuantizedLinear | nn.QuantizedEmbedding):
        return False
    return layer.mode == "affine" and layer.bits in (2, 4, 6, 8) and "bias" not in layer


def template_of(layer: nn.Module) -> dict[str, int | bool | mx.Dtype]:
    """How the weights of a packed layer are to be read."""
    return {
        "T": layer.scales.dtype,
        "BITS": layer.bits,
        "GROUP": layer.group_size,
        "K": layer.scales.shape[1] * layer.group_size,
    }


def _fits(layer: nn.Module, x: mx.array) -> bool:
    few = x.size <= MOST_POSITIONS * x.shape[-1]
    return few and packed(layer) and usable(x, layer.scales)


def _product(layer: nn.Module, x: mx.array) -> mx.array:
    return layer.as_linear(x) if hasattr(layer, "as_linear") else layer(x)


def _weights(layer: nn.Module) -> tuple[mx.array, mx.array, mx.array]:
    return layer.weight, layer.scales, layer.biases


def _run(
    kernel: Kernel, layer: nn.Module, x: mx.array, inputs: tuple[mx.array, ...], rows: int
) -> mx.array:
    groups, positions = -(-rows // ROWS), x.size // x.shape[-1]
    (y,) = kernel(
        inputs,
        {**template_of(layer), "N": rows},
        Grid((2 * SIMD * groups, positions, 1), (2 * SIMD, 1, 1)),
        [((*x.shape[:-1], rows), x.dtype)],
    )
    return y
