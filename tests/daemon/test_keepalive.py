"""Times as people write them."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2audio_mlx.errors import RequestError
from lfm_daemon.keepalive import USUAL, seconds_of, told

FOR_EVER = math.inf


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5m", 300),
        ("90s", 90),
        ("90", 90),
        (90, 90),
        (2.5, 2.5),
        (2.0, 2),
        ("1h30m", 5400),
        ("1h30m5s", 5405),
        ("1h5", 3605),
        ("1.5h", 5400),
        (" 5M ", 300),
        ("0", 0),
        (0, 0),
        (0.0, 0),
        ("0m", 0),
        ("-1", FOR_EVER),
        (-1, FOR_EVER),
        (-0.5, FOR_EVER),
        ("-1m", FOR_EVER),
        (USUAL, 300),
    ],
)
def test_a_time(value: str | float, seconds: float):
    assert seconds_of(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "abc", "5x", "nan", "-nan", "inf", math.inf, math.nan, "h", "m", ".", "1..5m"),
        *("-", "-x", "5m3h", "5 m 3 s", "1e3", "5m5m", "--1", "+5", "true"),
    ],
)
def test_what_is_no_time_is_refused(value: str | float):
    with pytest.raises(RequestError, match=r"is no time: 5m, 90s, 1h30m; 0, or -1 for ever$"):
        seconds_of(value)


@given(st.text())
def test_any_text_is_a_time_or_refused(text: str):
    with contextlib.suppress(RequestError):
        assert seconds_of(text) >= 0


@given(st.floats(0.001, 1e9) | st.floats(-1e9, -0.001) | st.integers(-(10**9), 10**9))
def test_a_number_is_so_many_seconds(number: float):
    assert seconds_of(number) == (number if number >= 0 else FOR_EVER)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_what_is_told_is_what_was_asked_for(hours: int, minutes: int, seconds: int):
    text = told(seconds_of(f"{hours}h{minutes}m{seconds}s"))
    assert seconds_of(text.replace("min", "m").replace(" ", "")) == (hours * 60 + minutes) * 60 + (
        seconds
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (300, "5 min"), (3605, "1 h 5 s")),
        *((None, "for ever"), (FOR_EVER, "for ever"), (86_400, "24 h")),
    ],
)
def test_times_are_told_to_people(seconds: float | None, text: str):
    assert told(seconds) == text
