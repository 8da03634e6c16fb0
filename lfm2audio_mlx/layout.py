"""A loaded network laid out for speed: it computes the same, in fewer or faster pieces.

Layers that read the same input become one. On a CPU quantised weights are unpacked where memory
allows: MLX multiplies packed ones there row by row, at a third of the speed for one position and
a sixtieth for a hundred.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (MLX's stubs are partial.)

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import psutil
from mlx.utils import tree_unflatten

__all__ = ["by_columns", "join_layers", "pays_to_unpack", "unpack_layers", "unpacked"]

Quantized = nn.QuantizedLinear | nn.QuantizedEmbedding

PACKS = {2: (1, 4), 3: (3, 8), 4: (1, 2), 5: (5, 8), 6: (3, 4), 8: (1, 1)}
"""Bytes that hold a whole number of weights of so many bits, and how many they hold: least
significant first, as `mx.quantize` has it."""
MEMORY_SHARE = 0.6
"""Of the memory that is free, what unpacked weights may take."""


def join_layers(module: nn.Module) -> None:
    """Make one layer of those that read the same input: fewer kernels to launch, larger ones."""
    for layer in cast(list[Any], module.modules()):
        if hasattr(layer, "join"):
            layer.join()
            mx.eval(layer.parameters())  # one by one, or the parts stand in memory beside them


def pays_to_unpack(size: int, dtype: str) -> bool:
    """Is this a CPU with memory for so many bytes of float32, if there are any?"""
    on_cpu = mx.default_device() != mx.Device(mx.gpu)
    free = psutil.virtual_memory().available
    return on_cpu and dtype == "float32" and 0 < size < MEMORY_SHARE * free


def unpack_layers(module: nn.Module) -> None:
    """Turn quantised layers of float32 scales into plain ones."""
    found = _quantized(module)
    mx.eval([layer.parameters() for _, layer in found])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        weights = pool.map(lambda entry: mx.array(by_columns(unpacked(entry[1]))), found)
        plain = [
            (name, _plain(layer, weight.T))
            for (name, layer), weight in zip(found, weights, strict=True)
        ]
    module.update_modules(tree_unflatten(plain))


def _plain(layer: Quantized, weight: mx.array) -> nn.Module:
    if isinstance(layer, nn.QuantizedEmbedding):
        plain = nn.Embedding(1, 1)
    else:
        plain = nn.Linear(1, 1, bias="bias" in layer)
        if "bias" in layer:
            plain.bias = layer.bias
    plain.weight = weight
    return plain


def unpacked(layer: Quantized) -> np.ndarray:
    """The weights [rows, columns] that a quantised layer stands for, as `mx.dequantize`, in a
    fraction of its time on a CPU."""
    size, count = PACKS[layer.bits]
    rows, groups = layer.scales.shape
    packed = np.array(layer.weight, copy=False).view(np.uint8).reshape(rows, -1, size)
    word = packed[..., 0].astype(np.uint64 if size > 4 else np.uint32 if size > 1 else np.uint8)
    for byte in range(1, size):
        word |= packed[..., byte].astype(word.dtype) << (8 * byte)
    weights = np.empty((*word.shape, count), np.float32)
    for place in range(count):
        weights[..., place] = word >> (layer.bits * place) & ((1 << layer.bits) - 1)
    weights = weights.reshape(rows, groups, layer.group_size)
    weights *= np.array(layer.scales, copy=False)[..., None]
    weights += np.array(layer.biases, copy=False)[..., None]
    return weights.reshape(rows, -1)


def by_columns(weights: np.ndarray) -> np.ndarray:
    """The transpose [columns, rows], in memory too: OpenBLAS multiplies a single position by it
    with up to twice the speed. Made from few rows at once, which the processor's cache holds."""
    turned = np.empty(weights.shape[::-1], weights.dtype)
    for row in range(0, len(weights), 16):
        turned[:, row : row + 16] = weights[row : row + 16].T
    return turned


def _quantized(module: nn.Module) -> list[tuple[str, Quantized]]:
    layers = cast(list[tuple[str, nn.Module]], module.named_modules())
    return [(name, layer) for name, layer in layers if isinstance(layer, Quantized)]
