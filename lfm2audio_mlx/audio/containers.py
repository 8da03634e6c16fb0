"""Does a sound file hold all that its header promises?

libsndfile reads what is there of a truncated file and says nothing. wav, aiff, ogg and most mp3
files tell their own length, so half a recording need not pass for a whole one. (flac tells how
many samples it holds, which the reader checks.)
"""

import io
from typing import BinaryIO

__all__ = ["is_familiar", "shortage"]

UNKNOWN_SIZES = {0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF}
"""Sizes that programs write into a header when they do not know the length yet."""

LAST_PAGE = 0x04
"""Flag of the page that ends an ogg stream (RFC 3533, section 6)."""


def is_familiar(head: bytes) -> bool:
    """Do the first 12 bytes of a file tell that it is wav, aiff, flac, ogg, or mp3 with a tag?"""
    kind = head[:4], head[8:12]
    return kind in KINDS or head[:4] in (b"fLaC", b"OggS") or head[:3] == b"ID3"


KINDS = ((b"RIFF", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC"))


def shortage(data: BinaryIO) -> str | None:
    """What a file says of itself that is not so, or None. Leaves it at its beginning."""
    head = data.read(4096)
    present = data.seek(0, io.SEEK_END)
    data.seek(0)
    if head[:4] in (b"RIFF", b"FORM"):
        order = "little" if head[:4] == b"RIFF" else "big"
        return _compare(int.from_bytes(head[4:8], order) + 8, present)
    if head[:4] == b"OggS":
        return _ogg(data, present)
    return _mp3(head, present)


def _compare(promised: int, present: int) -> str | None:
    if promised - 8 in UNKNOWN_SIZES or promised <= present:
        return None
    return f"its header promises {promised:,} bytes, {present:,} are there"


def _ogg(data: BinaryIO, present: int) -> str | None:
    """The last page must be whole and say that it is the last; a page is at most 65,307 bytes.

    A page is a header of 27 bytes, its last the number of segments, their sizes, and they.
    """
    data.seek(max(0, present - 65_307))
    end = data.read()
    data.seek(0)
    page = end[max(0, end.rfind(b"OggS")) :]
    whole = len(page) > 27 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    return None if whole and page[5] & LAST_PAGE else "its last page is missing"


def _mp3(head: bytes, present: int) -> str | None:
    """The Xing or Info frame that encoders write first tells the bytes of the stream."""
    start = 0
    if head[:3] == b"ID3" and len(head) > 10:
        # A tag's size is four groups of seven bits (id3.org, ID3v2.3, section 3.1).
        sizes = head[6:10]
        start = 10 + (sizes[0] << 21 | sizes[1] << 14 | sizes[2] << 7 | sizes[3])
    frame = head[start : start + 200]
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return None
    mark = max(frame.find(b"Xing"), frame.find(b"Info"))
    if mark < 0:
        return None
    flags = int.from_bytes(frame[mark + 4 : mark + 8], "big")
    if not flags & 2:
        return None
    at = mark + 8 + (4 if flags & 1 else 0)
    return _compare(start + int.from_bytes(frame[at : at + 4], "big"), present)
