"""Messages of the daemon: a JSON header and bytes, between its processes and to `lfm`.

A frame is the length of the header and of the bytes (two unsigned 32-bit numbers, big-endian), the
header as UTF-8 JSON, and the bytes: the samples of a sound.
"""

import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from lfm_daemon.strict_json import loads

__all__ = ["CONTENT_TYPE", "Frame", "WireError", "read", "read_async"]

CONTENT_TYPE = "application/vnd.lfm.frames"

_LENGTHS = struct.Struct(">II")
LARGEST_HEADER = 32 << 20
"""Bytes; a conversation that fills the context has 2 MB of codes."""
LARGEST_BLOB = 64 << 20
"""Bytes; a piece of sound is 80 ms, what a codec held back at the end a little more."""


class WireError(Exception):
    """What came is no frame, or only a part of one."""


@dataclass(frozen=True)
class Frame:
    """One message. The header's values are plain JSON, without NaN."""

    header: dict[str, Any]
    blob: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """The frame as it is sent.

        Raises:
            ValueError: it is too large, or its header is no JSON.
        """
        header = json.dumps(self.header, allow_nan=False, separators=(",", ":")).encode()
        if len(header) > LARGEST_HEADER or len(self.blob) > LARGEST_BLOB:
            raise ValueError("a message is too large to be sent")
        return _LENGTHS.pack(len(header), len(self.blob)) + header + self.blob


class Readable(Protocol):
    """A file that is read in blocks."""

    def read(self, size: int, /) -> bytes: ...


def read(stream: Readable) -> Frame | None:
    """The next frame of a blocking stream; None at its end.

    Raises:
        WireError: the stream ends within a frame, or it is none.
    """

    def exactly(count: int) -> bytes:
        pieces: list[bytes] = []
        while count and (piece := stream.read(count)):
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    head = exactly(_LENGTHS.size)
    if not head:
        return None
    lengths = _lengths(head)
    return _frame(exactly(lengths[0]), exactly(lengths[1]), lengths)


async def read_async(exactly: Callable[[int], Awaitable[bytes]]) -> Frame | None:
    """The same of an asynchronous one: `exactly` gives so many bytes, as an
    `asyncio.StreamReader.readexactly` does.

    Raises:
        WireError: see `read`.
    """
    head = b""
    try:
        head = await exactly(_LENGTHS.size)
        lengths = _lengths(head)
        header = await exactly(lengths[0])
        return _frame(header, await exactly(lengths[1]), lengths)
    except EOFError as error:  # asyncio's, with what came before the end
        if head or getattr(error, "partial", b""):
            raise WireError("the stream ends within a frame") from error
        return None


def _lengths(head: bytes) -> tuple[int, int]:
    if len(head) < _LENGTHS.size:
        raise WireError("the stream ends within a frame")
    header, blob = _LENGTHS.unpack(head)
    if header > LARGEST_HEADER or blob > LARGEST_BLOB:
        raise WireError(f"a frame of {header:,} and {blob:,} bytes is too large, or is none")
    return header, blob


def _frame(header: bytes, blob: bytes, lengths: tuple[int, int]) -> Frame:
    if (len(header), len(blob)) != lengths:
        raise WireError("the stream ends within a frame")
    try:
        value = loads(header)
    except ValueError as error:
        raise WireError("a frame's header is no JSON") from error
    if not isinstance(value, dict):
        raise WireError("a frame's header must be an object")
    return Frame(cast(dict[str, Any], value), blob)
