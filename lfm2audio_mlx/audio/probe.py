"""A first look at a sound file, so that a hopeless one is refused before any work.

It costs next to nothing: neither numpy nor libsndfile is loaded for the usual formats. What is
wrong deeper inside is found when the file is read.
"""

import contextlib
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from lfm2audio_mlx.audio import foreign
from lfm2audio_mlx.audio.containers import is_familiar, shortage
from lfm2audio_mlx.errors import AudioError

__all__ = ["READABLE", "SUFFIXES", "open_sound", "probe", "source_name"]

HEAD = 12

READABLE = "wav, flac, mp3, ogg, opus, aiff, m4a"
SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".caf", *foreign.SUFFIXES}
"""Endings by which a file is taken for a sound without looking into it."""


def source_name(source: object) -> str:
    """How messages call a source, always in one line."""
    if isinstance(source, str | Path):
        name = str(source)
        return name if name.isprintable() else repr(name)
    return "audio" if isinstance(source, bytes) else "samples"


def probe(path: str | Path) -> None:
    """Refuse what is no sound file before a model is loaded. Of one that needs a converter, this
    looks only whether there is one.

    Raises:
        AudioError: not there, not readable, no sound file, empty or truncated.
    """
    name = source_name(path)
    with contextlib.suppress(OSError, ValueError):
        if not stat.S_ISREG(os.stat(path).st_mode) and not Path(path).is_dir():
            return  # a pipe can be read only once
    with open_sound(path, name) as data:
        if foreign.needs_converter(data):  # which takes too long for a look
            foreign.check_converter(name)
            return
        if missing := shortage(data):
            raise AudioError(f"{name}: truncated: {missing}")
        if is_familiar(data.read(HEAD)):
            return
    from lfm2audio_mlx.audio.files import check_header  # loads libsndfile, which knows the others

    check_header(path)


def open_sound(source: str | Path | bytes, name: str) -> BinaryIO:
    """A file or its bytes, seekable and at its beginning.

    Raises:
        AudioError: not there, a folder, not readable, or empty.
    """
    if isinstance(source, bytes):
        data: BinaryIO = _Bytes(source)
    else:
        try:
            data = Path(source).open("rb")  # noqa: SIM115 - the caller closes it
        except IsADirectoryError:
            raise AudioError(f"{name}: is a folder, not a sound file") from None
        except FileNotFoundError:
            raise AudioError(f"{name}: no such file") from None
        except OSError as error:
            raise AudioError(f"{name}: cannot be opened: {error.strerror}") from error
        except ValueError as error:  # a NUL in the name
            raise AudioError(f"{name}: cannot be opened: {error}") from error
        if not data.seekable():  # a pipe
            with data:
                data = _Bytes(data.read())
    if not data.read(1):
        data.close()
        raise AudioError(f"{name}: is empty")
    data.seek(0)
    return data


class _Bytes(io.BytesIO):
    """Bytes in which libsndfile may seek before the beginning, as damaged files make it do: a
    callback cannot raise, so the position just stays and libsndfile sees that it did."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with contextlib.suppress(ValueError):
            super().seek(offset, whence)
        return self.tell()
