"""A machine that runs Metal kernels on a CPU, thread for thread, and finds their faults.

MLX generates a kernel's source on every platform while a function is exported. `record` collects
those sources, `execute` compiles them as C++ and runs them: bounds, alignment, data races, barriers
and unwritten memory are checked on the way. What it cannot show: Metal's own compile errors that
C++ does not share, fast-math, and time.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

import kernel_build
import kernel_source

_KINDS = (
    *("", "race", "bounds", "barrier", "uninitialised", "unwritten", "alignment"),
    *("arithmetic", "endless"),
)
_INPUT, _SHAPE, _OUTPUT = range(3)
_lock = threading.Lock()


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel, as MLX would make it.

    grid: in threads; threadgroup: in threads.
    shape_infos: of each input, whether its shape, strides and number of axes are passed.
    outputs: shape and type of each.
    init_value: what the outputs hold before. MLX does not tell it: see `record`.
    """

    name: str
    source: str
    grid: tuple[int, int, int]
    threadgroup: tuple[int, int, int]
    shape_infos: tuple[tuple[bool, bool, bool], ...]
    outputs: tuple[tuple[tuple[int, ...], mx.Dtype], ...]
    ensure_row_contiguous: bool = True
    init_value: float | None = None


class KernelFault(AssertionError):
    """A kernel did what Metal does not allow.

    kind: race, bounds, barrier, uninitialised, unwritten, alignment, arithmetic, endless or
    compile.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


def record(
    call: Callable[..., Any], *inputs: mx.array, init_value: float | None = None
) -> list[Launch]:
    """All launches of kernels that `call(*inputs)` makes, in order.

    init_value: the one the kernels are called with. MLX leaves it out of what it tells.
    """
    launches: list[Launch] = []

    def note(item: dict[str, Any]) -> None:
        if item["type"] == "primitive" and item["name"] == "CustomKernel":
            name, source, gx, gy, gz, tx, ty, tz, infos, contiguous = item["arguments"][:10]
            outputs = tuple((tuple(shape), dtype) for _, shape, dtype in item["outputs"])
            launches.append(
                Launch(
                    name,
                    source,
                    (gx, gy, gz),
                    (tx, ty, tz),
                    tuple(tuple(info) for info in infos),
                    outputs,
                    contiguous,
                    init_value,
                )
            )

    mx.export_function(note, call, *inputs)
    return launches


def execute(launch: Launch, inputs: Sequence[mx.array], seed: int = 0) -> list[mx.array]:
    """Runs the kernel thread for thread, in an order that follows from the seed.

    Raises:
        KernelFault: the kernel has a fault; the run ends at the first.
    """
    try:
        kernel = kernel_source.translate(launch.source)
        library = kernel_build.build(kernel.text)
    except (kernel_source.SourceError, kernel_build.CompileError) as error:
        raise KernelFault("compile", f"kernel {launch.name}: {error}") from None
    buffers = _Buffers()
    for array, infos in zip(inputs, launch.shape_infos, strict=True):
        buffers.add_input(array, infos, launch.ensure_row_contiguous)
    outputs = [
        buffers.add_output(shape, dtype, launch.init_value) for shape, dtype in launch.outputs
    ]
    names = [p.name for p in kernel.parameters if p.is_buffer]
    fault = _run(library, buffers.entries(names), launch, seed)
    if fault.kind:
        raise KernelFault(_KINDS[fault.kind], _message(launch, library, fault))
    return [_to_mlx(data, dtype) for data, (_, dtype) in zip(outputs, launch.outputs, strict=True)]


def hidden_copies(inputs: Sequence[mx.array]) -> int:
    """How many of these MLX would copy before a launch, because they are not row-contiguous."""
    return sum(not _to_numpy(array).flags.c_contiguous for array in inputs)


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("item", ctypes.c_uint64),
        ("role", ctypes.c_int32),
        ("written", ctypes.c_int32),
    )


class _Fault(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("text", ctypes.c_char * 1000),
        ("places", ctypes.c_uint64 * 2),
    )


class _Buffers:
    """The buffers of one launch in the order of the kernel's parameters."""

    def __init__(self) -> None:
        self._arrays: list[tuple[np.ndarray, int, bool]] = []

    def add_input(
        self, array: mx.array, infos: tuple[bool, bool, bool], row_contiguous: bool
    ) -> None:
        data = _to_numpy(array)
        if row_contiguous:
            data = np.ascontiguousarray(data).reshape(data.shape)
        strides = np.array([s // data.itemsize for s in data.strides], np.int64)
        self._arrays.append((_extent(data), _INPUT, True))
        extras = (np.array(data.shape, np.int32), strides, np.array(data.ndim, np.int32))
        for wanted, extra in zip(infos, extras, strict=True):
            if wanted:
                self._arrays.append((extra, _SHAPE, True))

    def add_output(
        self, shape: tuple[int, ...], dtype: mx.Dtype, init_value: float | None
    ) -> np.ndarray:
        start = mx.full(shape, 0 if init_value is None else init_value, dtype)
        data = np.array(_to_numpy(start))
        self._arrays.append((data, _OUTPUT, init_value is not None))
        return data

    def entries(self, names: list[str]) -> list[_Buffer]:
        return [
            _Buffer(name.encode(), data.ctypes.data, data.nbytes, data.itemsize, role, int(written))
            for name, (data, role, written) in zip(names, self._arrays, strict=True)
        ]


def _run(library: Path, entries: list[_Buffer], launch: Launch, seed: int) -> _Fault:
    run = _load(library)
    fault = _Fault()
    three = ctypes.c_uint32 * 3
    with _lock:  # the machine is one
        run(
            (_Buffer * len(entries))(*entries),
            ctypes.c_uint32(len(entries)),
            three(*launch.grid),
            three(*launch.threadgroup),
            ctypes.c_uint64(seed),
            ctypes.byref(fault),
        )
    return fault


@cache
def _load(library: Path) -> Any:
    return ctypes.CDLL(str(library)).machine_run


def _message(launch: Launch, library: Path, fault: _Fault) -> str:
    lines = launch.source.splitlines()
    message = f"kernel {launch.name}: {fault.text.decode()}"
    for word, place in zip(("at", "other"), fault.places, strict=True):
        number = kernel_build.source_line(library, place)
        if number is not None and number <= len(lines):
            message += f"\n  {word} line {number}: {lines[number - 1].strip()}"
    return message


def _to_numpy(array: mx.array) -> np.ndarray:
    """The array's own memory, bfloat16 as its bits."""
    if array.dtype == mx.bfloat16:
        array = array.view(mx.uint16)
    return np.array(array, copy=False)


def _to_mlx(data: np.ndarray, dtype: mx.Dtype) -> mx.array:
    array = mx.array(data)
    return array.view(mx.bfloat16) if dtype == mx.bfloat16 else array


def _extent(data: np.ndarray) -> np.ndarray:
    """All elements between an array's first and its last, as they lie in memory."""
    if data.flags.c_contiguous or data.size == 0:
        return data
    last = sum(
        (n - 1) * (s // data.itemsize) for n, s in zip(data.shape, data.strides, strict=True)
    )
    return np.lib.stride_tricks.as_strided(data, (last + 1,), (data.itemsize,))
