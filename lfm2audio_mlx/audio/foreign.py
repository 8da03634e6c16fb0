"""Sound that libsndfile cannot read (m4a, mp4, aac, webm, wma, flac that was streamed): by the
system's own converter.

macOS has afconvert; ffmpeg does it elsewhere, and there what afconvert cannot. Neither is needed
for anything else.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lfm2audio_mlx.errors import AudioError

__all__ = ["SUFFIXES", "check_converter", "encode", "needs_converter", "readable"]

SUFFIXES = {".m4a", ".mp4", ".m4b", ".aac", ".mov", ".webm", ".mkv", ".wma"}
"""Endings of files that are converted before they are read."""

AFCONVERT = "/usr/bin/afconvert"
HEAD = 26


def is_foreign(head: bytes) -> bool:
    """Do the first bytes of a file tell that it is one of these formats?"""
    return (
        head[4:8] == b"ftyp"  # ISO 14496-12: m4a, mp4, mov
        or head[:4] == b"\x1a\x45\xdf\xa3"  # EBML: webm, mkv
        or head[:4] == b"\x30\x26\xb2\x75"  # ASF: wma
        or (head[:1] == b"\xff" and head[1:2] in (b"\xf1", b"\xf9"))  # ADTS: aac
        or _is_streamed_flac(head)
    )


def _is_streamed_flac(head: bytes) -> bool:
    """Is its length left open? libsndfile then fails at the end (RFC 9639, section 8.2: the last 36
    of these bits are the number of samples)."""
    if head[:4] != b"fLaC" or len(head) < HEAD:
        return False
    return int.from_bytes(head[18:26], "big") & ((1 << 36) - 1) == 0


@contextlib.contextmanager
def readable(original: BinaryIO, name: str, path: Path | None) -> Iterator[BinaryIO]:
    """`original` itself, or what a converter makes of it; either at its beginning. `path` is
    where it lies, if it is a file.

    Raises:
        AudioError: it needs a converter, and there is none or it fails.
    """
    if not needs_converter(original):
        yield original
        return
    with tempfile.TemporaryDirectory(prefix="lfm-") as folder:
        source, target = path or Path(folder, "original"), Path(folder, "sound")
        if path is None:
            with source.open("wb") as copy:
                shutil.copyfileobj(original, copy)
        # Formats that hold more than the 4 GiB of a plain wav, which others cut off silently.
        file = f"file:{source.absolute()}"
        failure = _run(
            [
                [AFCONVERT, "-f", "caff", "-d", "LEI16", str(source.absolute()), str(target)],
                ["ffmpeg", *_QUIET, "-i", file, "-vn", "-rf64", "auto", "-f", "wav", str(target)],
            ]
        )
        if failure:
            raise AudioError(f"{name}: cannot be read: {failure}")
        with target.open("rb") as data:
            yield data


def needs_converter(original: BinaryIO) -> bool:
    """Is it of a format that must be converted? Leaves it at its beginning."""
    head = original.read(HEAD)
    original.seek(0)
    return is_foreign(head)


def check_converter(name: str) -> None:
    """Refuse what needs a converter before any work, if none is here.

    Raises:
        AudioError: there is no converter.
    """
    if not _present(AFCONVERT) and not _present("ffmpeg"):
        raise AudioError(f"{name}: {_NEITHER}")


def encode(wav: Path, target: Path) -> None:
    """Make an m4a file (AAC) of a wav file.

    Raises:
        AudioError: there is no converter, or it fails.
    """
    failure = _run(
        [
            [AFCONVERT, "-f", "m4af", "-d", "aac", str(wav), str(target)],
            ["ffmpeg", *_QUIET, "-i", str(wav), "-c:a", "aac", "-f", "ipod", str(target)],
        ]
    )
    if failure:
        raise AudioError(f"{target}: cannot be written: {failure}")


_QUIET = ("-nostdin", "-loglevel", "error", "-y")

_NEITHER = "this format needs afconvert (part of macOS) or ffmpeg, and neither is here"


def _present(program: str) -> bool:
    return shutil.which(program) is not None


def _run(commands: list[list[str]]) -> str:
    """Try each command whose program is here until one succeeds; why not, if none does."""
    failure = _NEITHER
    for command in commands:
        if not _present(command[0]):
            continue
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        if result.returncode == 0:
            return ""
        said = (result.stderr or result.stdout).strip().splitlines()
        failure = f"{Path(command[0]).name}: {said[-1] if said else 'it failed'}"
    return failure
