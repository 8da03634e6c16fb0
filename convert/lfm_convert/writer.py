"""Write a safetensors file one tensor at a time, so that a model never stands in memory whole.

The `safetensors` library wants all tensors at once. The format is a length (8 bytes,
little-endian), a JSON header of types, shapes and offsets, and the bytes
(https://github.com/huggingface/safetensors#format); shapes are known before any value is, so the
header comes first and the values follow as they are computed.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# (MLX's stubs are partial.)

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.manifest import FileRecord

__all__ = ["Layout", "total_size", "write_safetensors"]

Layout = dict[str, tuple[tuple[int, ...], mx.Dtype]]
"""Shape and type of each tensor, in the order of the file."""

TYPE_NAMES = {mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16", mx.uint32: "U32"}


def total_size(layout: Layout) -> int:
    """Bytes of the whole file."""
    return len(_header(layout)) + sum(_bytes(*entry) for entry in layout.values())


def write_safetensors(
    path: Path, layout: Layout, tensors: Iterable[tuple[str, mx.array]]
) -> FileRecord:
    """Write `tensors`, which come in the layout's order; each is let go before the next.

    Raises:
        OSError: the disk is full or the folder is gone.
    """
    header, expected = _header(layout), iter(layout.items())
    digest, size = hashlib.sha256(header), len(header)
    with path.open("wb") as file:
        file.write(header)
        for name, tensor in tensors:
            assert (name, (tensor.shape, tensor.dtype)) == next(expected), name
            data = np.array(tensor.reshape(-1).view(mx.uint8)).data
            digest.update(data)
            size += file.write(data)
    assert next(expected, None) is None, "tensors are missing"
    return FileRecord(size, digest.hexdigest())


def _header(layout: Layout) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "mlx"}}
    start = 0
    for name, (shape, dtype) in layout.items():
        end = start + _bytes(shape, dtype)
        entries[name] = {
            "dtype": TYPE_NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    # Padded, so that the values are aligned to 8 bytes.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(shape: tuple[int, ...], dtype: mx.Dtype) -> int:
    return math.prod(shape) * dtype.size
