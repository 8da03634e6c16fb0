"""Which recordings a command line means: files, folders and stdin."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lfm2audio_mlx.errors import AudioError, LfmError

__all__ = ["STDIN", "Recording", "gather", "sounds_in"]

STDIN = "-"


@dataclass(frozen=True)
class Recording:
    """A sound to be heard. `name` is how messages call it; `place` is where its transcript goes,
    without an ending and relative to the folder of the output."""

    name: str
    source: Path | bytes
    place: Path


def gather(arguments: Sequence[str], recursive: bool) -> tuple[list[Recording], list[LfmError]]:
    """What can be heard of what was named, in order, and why the rest cannot.

    A folder gives the sound files in it and below, in the order of their names.
    """
    from lfm2audio_mlx.audio.probe import probe

    good: list[Recording] = []
    failed: list[LfmError] = []
    for argument in arguments:
        try:
            for recording in _expanded(argument, recursive):
                try:
                    if isinstance(recording.source, Path):
                        probe(recording.source)
                    good.append(recording)
                except LfmError as error:
                    failed.append(error)
        except LfmError as error:
            failed.append(error)
    return good, failed


def _expanded(argument: str, recursive: bool) -> Iterator[Recording]:
    path = Path(argument)
    if argument == STDIN:
        yield Recording("stdin", sys.stdin.buffer.read(), Path("stdin"))
    elif os.path.isdir(path):  # a name that no disk takes is none
        if not recursive:
            raise AudioError(f"{path}: is a folder; --recursive takes the sound files in it")
        found = False
        for file in sounds_in(path, recursive=True):
            found = True
            yield Recording(str(file), file, file.relative_to(path).with_suffix(""))
        if not found:
            raise AudioError(f"{path}: there is no sound file in this folder")
    else:
        yield Recording(argument, path, Path(path.stem))


def sounds_in(folder: Path, recursive: bool) -> list[Path]:
    """The sound files of a folder by their endings, hidden ones left out.

    Raises:
        AudioError: the folder cannot be read.
    """
    from lfm2audio_mlx.audio.probe import SUFFIXES

    try:
        paths = sorted(folder.rglob("*") if recursive else folder.iterdir())
    except OSError as error:
        raise AudioError(f"{folder}: cannot be read: {error.strerror}") from error
    return [
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
