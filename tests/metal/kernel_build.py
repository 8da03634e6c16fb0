"""Compiles translated kernels into libraries, which are kept under `build/metal`."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
SHIM = _HERE / "shim"
FOLDER = _HERE.parents[1] / "build" / "metal"
_SOURCE = "kernel.metal"  # as the compiler's messages and the debugger's lines name it

_COMMON = ["-std=gnu++17", "-fPIC", "-U_FORTIFY_SOURCE", "-g1"]
# Metal has neither double literals, exceptions nor contraction across our roundings. The sanitizer
# puts the machine's checks before each access; what would move, merge or duplicate accesses and
# calls is off, and a variable that is read before it is written holds garbage.
_KERNEL = [
    "-O1",
    "-fsanitize=thread,bounds-strict,integer-divide-by-zero",
    *("--param", "tsan-instrument-func-entry-exit=0"),
    "-fsingle-precision-constant",
    "-ffp-contract=off",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-thread-jumps",
    "-fno-tree-dominator-opts",
    "-fno-tree-loop-im",
    "-fno-tree-vectorize",
    "-fno-tree-loop-distribute-patterns",
    "-fno-optimize-sibling-calls",
    "-fno-strict-aliasing",
    "-ftrivial-auto-var-init=pattern",
    "-Wno-attributes",
    "-Wno-unknown-pragmas",
    "-Werror=return-type",
    "-Werror=frame-larger-than=100000",
]


class CompileError(RuntimeError):
    """The compiler refused the source; its words are the message."""


@cache
def compiler() -> str | None:
    """The GCC to use, 12 or newer: $CXX if it is one, else g++. None if there is none.

    Clang would do worse: it joins calls of different branches, narrows loads, and its sanitizer
    leaves out accesses that make no difference to it.
    """
    for name in (os.environ.get("CXX"), "g++"):
        command = shutil.which(name) if name else None
        if command is not None and int(_macros(command).get("__GNUC__", "0")) >= 12:
            return command
    return None


def _macros(command: str) -> dict[str, str]:
    """What the compiler says about itself. Clang says it is GCC 4."""
    done = subprocess.run(
        [command, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, check=False
    )
    lines = (line.split(maxsplit=2) for line in done.stdout.splitlines())
    return {parts[1]: parts[2] for parts in lines if len(parts) == 3}


def build(text: str) -> Path:
    """The library with this kernel and the machine.

    Raises:
        CompileError: the text does not compile.
    """
    target = FOLDER / f"{_digest(text)}.so"
    if target.exists():
        return target
    with _scratch() as folder:
        (folder / _SOURCE).write_text(text)
        language = ["-x", "c++", "-include", str(SHIM / "metal.h")]
        _run([*_COMMON, *_KERNEL, *language, "-c", _SOURCE, "-o", "kernel.o"], folder)
        objects = ["kernel.o", *map(str, _machine())]
        _run(["-shared", "-Wl,-Bsymbolic", *objects, "-o", "kernel.so"], folder)
        (folder / "kernel.so").replace(target)
    return target


def source_line(library: Path, offset: int) -> int | None:
    """The line of the kernel's source at this offset in the library, if it can be told."""
    tool = shutil.which("addr2line")
    if tool is None or offset == 0:
        return None
    # The offset is that of a return: the call is the instruction before.
    command = [tool, "-i", "-e", str(library), hex(offset - 1)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    match = re.search(rf"(?:^|/){re.escape(_SOURCE)}:(\d+)", said, re.MULTILINE)
    return int(match[1]) if match else None


@cache
def _shim_digest() -> bytes:
    command = [_compiler(), "--version"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    state = hashlib.sha256(repr((version, _COMMON, _KERNEL)).encode())
    for path in sorted(SHIM.iterdir()):
        state.update(path.name.encode() + b"\0" + path.read_bytes())
    return state.digest()


def _digest(text: str) -> str:
    return hashlib.sha256(_shim_digest() + text.encode()).hexdigest()[:32]


@cache
def _machine() -> list[Path]:
    """The objects of the machine itself, compiled once and without the sanitizer."""
    objects = []
    for name in ("machine", "memory", "faults", "watch"):
        target = FOLDER / f"{_digest(name)}.o"
        objects.append(target)
        if target.exists():
            continue
        with _scratch() as folder:
            _run([*_COMMON, "-O2", "-c", str(SHIM / f"{name}.cpp"), "-o", "machine.o"], folder)
            (folder / "machine.o").replace(target)
    return objects


@contextmanager
def _scratch() -> Generator[Path]:
    """A folder on the target's file system, so that the last step is a rename."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        yield Path(folder)


def _compiler() -> str:
    command = compiler()
    if command is None:
        raise CompileError("there is no GCC 12 or newer: install g++, or name one in CXX")
    return command


def _run(arguments: list[str], folder: Path) -> None:
    command = [_compiler(), *arguments]
    plain = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=folder, env=plain, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CompileError(done.stderr)
