"""An environment for each peer, under `build/compare`, made once."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.compare.peers import Entry

__all__ = ["Unavailable", "environment"]


class Unavailable(Exception):
    """A peer cannot be installed; the message says why, in a line."""


def environment(entry: Entry, folder: Path) -> Path:
    """The Python of a peer's environment in `folder`, installed now if it is not yet.

    Raises:
        Unavailable: there is no fitting Python, or no way to the packages.
    """
    python = folder / "bin" / "python"
    stamp, wanted = folder / "installed.txt", "\n".join(entry.requires)
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    base, uv = interpreter(entry), shutil.which("uv")
    if uv:
        _do([uv, "venv", "--quiet", "--python", base or entry.python, str(folder)])
        _do([uv, "pip", "install", "--quiet", "--python", str(python), *entry.requires])
    elif base:
        _do([base, "-m", "venv", str(folder)])
        _do([str(python), "-m", "pip", "install", "--quiet", *entry.requires])
    else:
        raise Unavailable(f"needs Python {entry.python}, which was not found")
    stamp.write_text(wanted, "utf-8")
    return python


def interpreter(entry: Entry) -> str | None:
    """A Python for a peer's environment: of its version, or this one if that does."""
    for path in _candidates(entry.python):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        found = subprocess.run([path, "-c", code], capture_output=True, text=True)
        # A name on PATH may be an empty promise (pyenv).
        if found.returncode == 0 and found.stdout.strip() == entry.python:
            return path
    return None if entry.strict else sys.executable


def _candidates(version: str) -> Iterator[str]:
    yield sys.executable
    found = shutil.which(f"python{version}")
    if found:
        yield found
    versions = Path.home() / ".pyenv" / "versions"
    yield from (str(path) for path in sorted(versions.glob(f"{version}*/bin/python")))


def _do(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines
        raise Unavailable((errors or ["the installation failed"])[-1].strip()[:200])
