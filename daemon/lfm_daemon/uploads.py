"""What clients send: read as it comes, counted, and laid aside for the worker in files."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lfm_daemon.faults import Fault
from lfm_daemon.paths import private, spool_folder, temporary_folder

__all__ = ["BATCH_BYTES", "LARGEST_JSON", "LARGEST_SOUND", "Body", "Spool", "cleared", "spooled"]

BATCH_BYTES = 1 << 20
"""A recording as large as this, half a minute of wav, lets interactive requests go first."""
LARGEST_JSON = 64 << 20
"""Bytes of a body that is taken into memory: half an hour of mp3 in base64."""
LARGEST_SOUND = 4 << 30
"""Bytes of an upload; a wav file cannot be larger."""


class Body:
    """A request's body, read in pieces of any length."""

    def __init__(self, stream: AsyncIterator[bytes]):
        self._stream = stream
        self._rest = b""

    async def _piece(self, most: int) -> bytes:
        while not self._rest:
            try:
                self._rest = await anext(self._stream)
            except StopAsyncIteration:
                return b""
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece

    async def exactly(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            IncompleteReadError: there are fewer.
        """
        found = bytearray()
        while len(found) < count:
            piece = await self._piece(count - len(found))
            if not piece:
                raise asyncio.IncompleteReadError(bytes(found), count)
            found += piece
        return bytes(found)

    async def copy(self, count: int, file: BinaryIO) -> None:
        """So many bytes into a file.

        Raises:
            IncompleteReadError: there are fewer.
        """
        left = count
        while left:
            piece = await self._piece(min(left, 1 << 20))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            file.write(piece)
            left -= len(piece)


class Spool:
    """The files of one request."""

    def __init__(self) -> None:
        self.paths: list[Path] = []

    @contextmanager
    def new(self) -> Generator[tuple[BinaryIO, str]]:
        """A new file, and its path.

        Raises:
            Fault: it cannot be written; the disk is full, mostly.
        """
        try:
            path = spool_folder() / secrets.token_hex(16)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            self.paths.append(path)
            with os.fdopen(descriptor, "wb") as file:
                yield file, str(path)
        except OSError as error:
            what = f"the recording cannot be laid aside in {spool_folder()}: {error.strerror}"
            raise Fault(507, "no_space", what) from error

    def keep(self, data: bytes) -> str:
        """Bytes in a file; its path."""
        with self.new() as (file, path):
            file.write(data)
        return path

    async def take(self, source: BinaryIO) -> str:
        """A copy of an open file; its path."""
        with self.new() as (file, path):
            await asyncio.to_thread(shutil.copyfileobj, source, file)
        return path


@contextmanager
def spooled() -> Generator[Spool]:
    """Files for one request; they are gone afterwards."""
    spool = Spool()
    try:
        yield spool
    finally:
        for path in spool.paths:
            path.unlink(missing_ok=True)


def cleared() -> None:
    """Empty folders for them and for what is temporary, whatever an earlier daemon left.

    Raises:
        DaemonError: they cannot be made.
    """
    for folder in (spool_folder(), temporary_folder()):
        shutil.rmtree(folder, ignore_errors=True)
        private(folder)
    tempfile.tempdir = str(temporary_folder())  # of forms, as they come
