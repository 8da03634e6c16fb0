"""Repetition is seen when it is one, and only then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2audio_mlx.generation.loops import LEAST, LONGEST, TIMES, repeated


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [1],
        [1] * (LEAST - 1),
        [1, 2] * 11,
        [1, 2, 3, 4, 5, 6] * 3,
        list(range(200)),
        [*([1, 2, 3] * 10), 4],
    ],
)
def test_what_people_say_is_no_loop(tokens: list[int]):
    assert repeated(tokens) == 0


@pytest.mark.parametrize(
    ("phrase", "times"), [([7], LEAST), ([1, 2], 12), ([1, 2, 3], 8), (list(range(20)), TIMES)]
)
def test_a_loop_is_cut_to_its_phrase(phrase: list[int], times: int):
    said = [100, 101, *phrase * times]
    extra = repeated(said)
    assert said[: len(said) - extra] == [100, 101, *phrase]


def _has_period(tokens: list[int], period: int) -> bool:
    return tokens[period:] == tokens[:-period]


@given(
    st.lists(st.integers(0, 3), max_size=30),
    st.lists(st.integers(0, 3), min_size=1, max_size=LONGEST),
)
def test_a_phrase_over_and_over_is_always_noticed_in_time(before: list[int], phrase: list[int]):
    """Token by token, at the latest when it has been said often enough."""
    said = list(before)
    for token in phrase * (LEAST + TIMES):
        said.append(token)
        if extra := repeated(said):
            assert 0 < extra < len(said)
            left = said[: len(said) - extra]
            # What is cut only repeats the end of what is left.
            period = next(p for p in range(1, LONGEST + 1) if _has_period(said[-extra - p :], p))
            assert len(left) >= period
            break
    else:
        pytest.fail("not noticed")
    assert len(said) <= len(before) + max(LEAST, TIMES * len(phrase)) + len(phrase)
