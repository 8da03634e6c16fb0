"""The engine's values cross a socket to the bit."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2audio_mlx.results import EndOfTurn, Exchange, Part, Progress, Sound, Span, Words
from lfm_daemon.values import (
    Item,
    answer_from_json,
    decode,
    encode,
    exchange_as_json,
    parts_as_json,
    parts_from_json,
    sample_bytes,
    samples_in,
    samples_of,
)
from lfm_daemon.wire import Frame, read

numbers = st.floats(allow_nan=False, allow_infinity=False)
tokens = st.integers(0, 70_000)
samples = st.binary(max_size=40).map(lambda data: np.frombuffer(data[: len(data) // 4 * 4], "<f4"))
spans = st.builds(
    Span, numbers, numbers, st.text(), st.lists(tokens).map(tuple), st.booleans(), st.booleans()
)
items = st.one_of(
    spans,
    st.builds(Progress, numbers, numbers),
    st.builds(Words, st.text(), tokens),
    st.builds(Sound, samples, st.integers(1), st.integers(0), st.integers(0), st.text()),
    st.builds(EndOfTurn, st.sampled_from(["end", "length", "context"])),
)


def sent(frame: Frame) -> Frame:
    """A frame as it arrives."""
    found = read(io.BytesIO(frame.encode()))
    assert found
    return found


def exactly(item: Item) -> tuple[Any, ...]:
    """All of a value, its samples as bytes, so that even what is no number equals itself."""
    values = [getattr(item, field.name) for field in dataclasses.fields(item)]
    return type(item), *(v.tobytes() if isinstance(v, np.ndarray) else v for v in values)


@given(items)
def test_every_result_comes_back_to_the_bit(item: Item):
    found = decode(sent(encode(item)))
    assert found and exactly(found) == exactly(item)
    if isinstance(found, Sound):
        assert found.samples.dtype == np.float32 and found.samples.flags.writeable


@pytest.mark.parametrize("event", ["done", "turn", "note", "cancelled", "unknown"])
def test_other_events_are_no_results(event: str):
    assert decode(Frame({"event": event, "text": "a"})) is None


@given(spans)
def test_what_else_a_frame_says_is_passed_over(span: Span):
    frame = encode(span)
    assert decode(Frame({"id": 3, "answer": [1], **frame.header})) == span


def test_samples_travel_little_endian():
    sound = np.array([1.0, -2.0], ">f4")[::-1]
    data = sample_bytes(sound)
    assert data == bytes.fromhex("000000c0 0000803f")
    np.testing.assert_array_equal(samples_of(data), sound)
    assert samples_in(Frame({}, data)) == 2


sound = st.one_of(
    st.binary(max_size=9), st.text(max_size=9).map(Path), st.tuples(samples, st.integers(1))
)
parts = st.lists(st.text() | sound, max_size=4)
answers = st.lists(tokens | st.tuples(*[st.integers(0, 2048)] * 8), max_size=4).map(tuple)


@given(parts, parts)
def test_parts_come_back_in_order(first: list[Part], second: list[Part]):
    """The sounds stay behind, and are found by their numbers, which count over all parts."""
    sounds: list[Any] = []
    frame = Frame({"parts": [parts_as_json(first, sounds), parts_as_json(second, sounds)]})
    assert sounds == [part for part in (*first, *second) if not isinstance(part, str)]
    for told, expected in zip(sent(frame).header["parts"], (first, second), strict=True):
        found = parts_from_json(told, sounds)
        assert all(a is b or a == b for a, b in zip(found, expected, strict=True))


@given(parts, answers)
def test_exchanges_come_back(said: list[Part], answer: tuple[int | tuple[int, ...], ...]):
    sounds: list[Any] = []
    exchange = Exchange(tuple(said), answer)
    frame = sent(Frame({"exchange": exchange_as_json(exchange, sounds)}))
    told = frame.header["exchange"]
    found = parts_from_json(told["said"], sounds), answer_from_json(told["answer"])
    assert all(a is b or a == b for a, b in zip(found[0], said, strict=True))
    assert found[1] == answer and hash(found[1]) == hash(answer)
