"""What a step costs on any machine: kernels launched and bytes of weights read, from its graph.

Nothing is computed, so a step can be counted where its kernels do not exist. `mx.export_to_dot`
names the operations; views are none, and each `mx.fast` function, which MLX's CPU backend writes
out in many operations, is one kernel as on a GPU. Each part of what is joined is copied by a
kernel of its own. What a GPU copies to make something contiguous is not in a graph.
"""

# pyright: reportUnknownMemberType=false
# (MLX's stubs leave the types of outputs and callbacks open.)

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from itertools import accumulate
from typing import Any, cast

import mlx.core as mx

from lfm2audio_mlx.kernels.metal import (
    Grid,
    Kernel,
    Outputs,
    Template,
    launching,
    without_kernels,
)

__all__ = ["arrays_of", "launches", "weight_bytes"]

VIEWS = {
    *("AsStrided", "Broadcast", "BroadcastAxes", "Copy", "Depends", "ExpandDims", "Flatten"),
    *("Reshape", "Slice", "Split", "Squeeze", "StopGradient", "Transpose", "Unflatten", "View"),
}
"""Operations that only look at memory in another way."""
LOOKUPS = {"Gather", "GatherAxis"}
"""Operations that read some rows of a table, not all of it."""


def launches(step: Callable[[], Any], own: bool = False) -> Counter[str]:
    """How often each kind of kernel is launched for the arrays that `step` returns, with our own
    or without.

    What it takes from outside must have been evaluated, or it counts too; it must not evaluate
    anything itself.
    """
    with _one_kernel_each(), launching(_own_kernel) if own else without_kernels():
        graph = io.StringIO()
        mx.export_to_dot(graph, *arrays_of(step()))  # pyright: ignore[reportArgumentType]
    text = graph.getvalue()
    # A name may be followed by a type.
    nodes = re.findall(r'\{ (\d+) \[label ="([^" ]*)[^"]*", shape=rectangle', text)
    parts = Counter(re.findall(r"-> (\d+)$", text, re.M))
    kernels: Counter[str] = Counter()
    for node, name in nodes:
        if name not in VIEWS:
            kernels[name] += parts[node] if name == "Concatenate" else 1
    return kernels


def weight_bytes(step: Callable[..., Any], weights: Iterable[mx.array], *inputs: mx.array) -> int:
    """Bytes of `weights` that a step of `inputs` reads; one that is read again counts again.

    They are known by their shapes among all that the step takes from outside.
    """
    kinds = {(weight.shape, weight.dtype) for weight in weights}
    sizes: dict[str, int] = {}
    total = 0

    def see(record: dict[str, Any]) -> None:
        nonlocal total
        if record["type"] == "constants":
            for name, value in record["constants"]:
                if (value.shape, value.dtype) in kinds:
                    sizes[name] = value.nbytes
        elif record["type"] == "primitive" and record["name"] not in LOOKUPS:
            total += sum(sizes.get(name, 0) for name, _, _ in record["inputs"])

    def flat(*given: mx.array) -> list[mx.array]:
        return arrays_of(step(*given))

    with _one_kernel_each(), without_kernels():
        mx.export_function(see, flat, *inputs)
    return total


def arrays_of(tree: Any) -> list[mx.array]:
    """All arrays in tuples, lists and dataclasses."""
    if isinstance(tree, mx.array):
        return [tree]
    if is_dataclass(tree):
        tree = list(vars(tree).values())
    if not isinstance(tree, list | tuple):
        return []
    return [array for part in cast(list[Any], tree) for array in arrays_of(part)]


def _own_kernel(
    _kernel: Kernel, inputs: Sequence[mx.array], _template: Template, _grid: Grid, outputs: Outputs
) -> list[mx.array]:
    """A single operation of all inputs, whose result all outputs are views of."""
    first = cast(mx.array, mx.depends(inputs[0], list(inputs[1:]))).reshape(-1)[:1]
    sizes = [math.prod(shape) * dtype.size for shape, dtype in outputs]
    made = mx.cummax(mx.broadcast_to(first.view(mx.uint8)[:1], (sum(sizes),)))
    ends = list(accumulate(sizes))
    return [
        made[end - size : end].view(dtype).reshape(shape)
        for (shape, dtype), size, end in zip(outputs, sizes, ends, strict=True)
    ]


@contextmanager
def _one_kernel_each() -> Generator[None]:
    """Within it a fused function is a single operation, of the right inputs, shape and type."""

    def kernel(x: mx.array, *others: Any) -> mx.array:
        inputs = [other for other in others if isinstance(other, mx.array)]
        needed = cast(mx.array, mx.depends(x, inputs)) if inputs else x
        return mx.cummax(needed, axis=-1)

    def rope(x: mx.array, *_: Any, offset: Any = 0, freqs: Any = None, **__: Any) -> mx.array:
        return kernel(x, offset, freqs)

    def attention(q: mx.array, k: mx.array, v: mx.array, *, mask: Any = None, **_: Any) -> mx.array:
        return kernel(q, k, v, mask)

    def norm(x: mx.array, weight: Any, *rest: Any, **_: Any) -> mx.array:
        return kernel(x, weight, *rest)

    def dequantize(w: mx.array, scales: mx.array, *rest: Any, **options: Any) -> mx.array:
        columns = scales.shape[-1] * options.get("group_size", 64)
        bias = rest[0] if rest else options.get("biases")
        return kernel(mx.broadcast_to(scales[..., :1], (*w.shape[:-1], columns)), w, scales, bias)

    places = [
        (mx.fast, {"rms_norm": norm, "layer_norm": norm, "rope": rope}),
        (mx.fast, {"scaled_dot_product_attention": attention}),
        (mx, {"dequantize": dequantize, "contiguous": kernel}),  # which cannot be exported
    ]
    before = [(where, name, getattr(where, name)) for where, found in places for name in found]
    try:
        for where, found in places:
            for name, stand_in in found.items():
                setattr(where, name, stand_in)
        yield
    finally:
        for where, name, function in before:
            setattr(where, name, function)
