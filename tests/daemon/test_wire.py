"""Messages between processes: what is sent comes back, and nothing else is taken for it."""

import asyncio
import io
import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm_daemon import wire
from lfm_daemon.wire import Frame, WireError, read, read_async

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
headers = st.dictionaries(st.text(), values, max_size=5)
frames = st.builds(Frame, headers, st.binary(max_size=50))


def all_of(data: bytes) -> list[Frame | str]:
    """Every frame of a blocking stream, and the complaint that ends it."""
    stream, found = io.BytesIO(data), list[Frame | str]()
    try:
        while frame := read(stream):
            found.append(frame)
    except WireError as error:
        found.append(str(error))
    return found


def all_of_async(data: bytes) -> list[Frame | str]:
    async def go() -> list[Frame | str]:
        stream, found = asyncio.StreamReader(), list[Frame | str]()
        stream.feed_data(data)
        stream.feed_eof()
        try:
            while frame := await read_async(stream.readexactly):
                found.append(frame)
        except WireError as error:
            found.append(str(error))
        return found

    return asyncio.run(go())


@given(st.lists(frames, max_size=3))
@settings(max_examples=60)
def test_frames_come_back_as_they_were_sent(sent: list[Frame]):
    data = b"".join(frame.encode() for frame in sent)
    assert all_of(data) == all_of_async(data) == sent


@given(frames, st.data())
@settings(max_examples=60)
def test_a_stream_that_is_cut_is_noticed_wherever_it_is_cut(frame: Frame, data: st.DataObject):
    whole = frame.encode()
    cut = data.draw(st.integers(1, len(whole) - 1))
    for end in (b"", whole):
        expected = [frame] if end else []
        found = all_of(end + whole[:cut])
        assert found == [*expected, "the stream ends within a frame"]
        assert found == all_of_async(end + whole[:cut])


def test_the_end_between_two_frames_is_no_fault():
    assert all_of(b"") == all_of_async(b"") == []


@given(st.binary(min_size=1, max_size=60))
def test_garbage_is_no_frame(data: bytes):
    found = all_of(data)
    assert isinstance(found[-1], str) and found == all_of_async(data)


@pytest.mark.parametrize(
    "header",
    [
        *(b"", b"{", b"[]", b"3", b"null", b'"a"', b"{}{}", b'{"a":\xff}', b"[" * 100_000),
        *(b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":' + b"9" * 5000 + b"}"),
    ],
)
def test_a_header_must_be_an_object_of_json(header: bytes):
    data = struct.pack(">II", len(header), 0) + header
    found = all_of(data)
    assert len(found) == 1 and isinstance(found[0], str) and found[0].startswith("a frame's header")
    assert found == all_of_async(data)


class Lengths(io.BytesIO):
    """Gives a frame's lengths; whoever asks for more is caught."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert self.tell() == 0, "something was read behind them"
        return super().read(size)


@pytest.mark.parametrize(
    "lengths",
    [(wire.LARGEST_HEADER + 1, 0), (2, wire.LARGEST_BLOB + 1), (2**32 - 1, 2**32 - 1)],
)
def test_a_frame_that_is_too_large_is_refused_before_it_is_read(lengths: tuple[int, int]):
    head = struct.pack(">II", *lengths)
    with pytest.raises(WireError, match="is too large, or is none"):
        read(Lengths(head))
    assert str(all_of_async(head)[0]).endswith("is too large, or is none")


def test_the_largest_frame_is_taken(monkeypatch: pytest.MonkeyPatch):
    frame = Frame({"a": "b"}, b"12345")
    monkeypatch.setattr(wire, "LARGEST_BLOB", 5)
    monkeypatch.setattr(wire, "LARGEST_HEADER", len('{"a":"b"}'))
    assert all_of(frame.encode()) == [frame]
    for larger in (Frame({"a": "bb"}, b"12345"), Frame({"a": "b"}, b"123456")):
        with pytest.raises(ValueError, match="too large"):
            larger.encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_not_sent(number: float):
    with pytest.raises(ValueError):
        Frame({"a": [number]}).encode()


def test_what_was_read_can_be_sent_again():
    """A number beyond all floats is not read as infinity, which could not be passed on."""
    header = b'{"a":1e999}'
    with pytest.raises(WireError):
        read(io.BytesIO(struct.pack(">II", len(header), 0) + header))


def test_a_header_is_utf_8():
    header = json.dumps({"a": 1}).encode("utf-16")
    with pytest.raises(WireError):
        read(io.BytesIO(struct.pack(">II", len(header), 0) + header))


def test_a_frame_does_not_show_its_sound():
    """In a log, or in a failing test."""
    assert "secret" not in repr(Frame({}, b"secret"))


@given(st.lists(st.integers(1, 7), min_size=1), frames)
def test_a_blocking_stream_may_give_less_than_it_was_asked_for(sizes: list[int], frame: Frame):
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            sizes.append(sizes.pop(0))
            return super().read(min(size or 0, sizes[-1]))

    stream: Any = Slow(frame.encode())
    assert read(stream) == frame and read(stream) is None
