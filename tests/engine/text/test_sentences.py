"""Text falls into pieces fit to be spoken: whole sentences, none too long, and no word lost."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.text.sentences import sentences, to_say

EXAMPLES = {
    "": [],
    " \n\n \n": [],
    "Hello there my friend. How are you today?": ["Hello there my friend.", "How are you today?"],
    "I am Dr. Smith of the U.S. army. You are not.": [
        "I am Dr. Smith of the U.S. army.",
        "You are not.",
    ],
    "It costs 3.14 of them. He said \u201cno, no, no!\u201d Then he left.": [
        "It costs 3.14 of them.",
        "He said \u201cno, no, no!\u201d",
        "Then he left.",
    ],
    # blanks and lines
    "  two\nlines \t of   one sentence ": ["two lines of one sentence"],
    "one paragraph here\n \nanother paragraph here": [
        "one paragraph here",
        "another paragraph here",
    ],
    # lone words
    "Yes. I will be there.": ["Yes. I will be there."],
    "I will be there. Yes. You will be too.": ["I will be there. Yes.", "You will be too."],
    "No. No. No.": ["No. No. No."],
    "apples.\npears.\nbread and some butter.": ["apples. pears. bread and some butter."],
    "Title.\n\nThe text of it.": ["Title.", "The text of it."],
    # scripts without blanks
    "\u3053\u308c\u306f\u672c\u3067\u3059\u3002\u305d\u308c\u306f\u30da\u30f3\u3067\u3059\u3002": [
        "\u3053\u308c\u306f\u672c\u3067\u3059\u3002",
        "\u305d\u308c\u306f\u30da\u30f3\u3067\u3059\u3002",
    ],
    "\u306f\u3044\u3002\u305d\u308c\u306f\u30da\u30f3\u3067\u3059\u3002": [
        "\u306f\u3044\u3002\u305d\u308c\u306f\u30da\u30f3\u3067\u3059\u3002"
    ],
    "\u6211\u4eec\u8d70\u5427\u3002\u4ed6\u4e0d\u60f3\u53bb\u90a3\u91cc\u3002": [
        "\u6211\u4eec\u8d70\u5427\u3002\u4ed6\u4e0d\u60f3\u53bb\u90a3\u91cc\u3002"
    ],
    # what the library would not take
    "one \ud800 two three. four five six": ["one \ud800 two three.", "four five six"],
    "A.\u3000B.\u2028c": ["A. B. c"],
}
CUTS = {
    "one two three; four five, six seven": ["one two three;", "four five, six seven"],
    "one two three: four five, six seven": ["one two three:", "four five, six seven"],
    "one, two three \u2013 four five, six": ["one, two three \u2013", "four five, six"],
    "one, two three\u2014four five, six on": ["one, two three\u2014", "four five, six on"],
    "one two three, four five six seven": ["one two three,", "four five six seven"],
    "one two three four five six seven": ["one two three four", "five six seven"],
    "one two three four five, six": ["one two three", "four five, six"],  # the comma is too late
    "ab, abcdefghijklmnopqrstuvwxyz": ["ab, abcdefghijklm", "nopqrstuvwxyz"],
}
LETTERS = "abcAB \n.,;:!?-\"'\u2014\u201c\u3002\u3001\u672c\u3067\u30da\u0301\u200d\ud800\U0001f600"
TEXTS = st.one_of(
    st.text(st.characters(), max_size=300),
    st.text(st.sampled_from(LETTERS), max_size=300),
    st.lists(st.sampled_from(["a", "word ", "Dr. ", "no, ", "U.S. ", "\n\n", "x. "])).map("".join),
)


def letters(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(("text", "pieces"), EXAMPLES.items())
def test_text_falls_into_sentences(text: str, pieces: list[str]):
    assert sentences(text) == pieces


@pytest.mark.parametrize(("text", "pieces"), CUTS.items())
def test_a_long_sentence_is_cut_where_it_hurts_least(text: str, pieces: list[str]):
    assert sentences(text, longest=20) == pieces


def test_the_pieces_of_a_long_sentence_are_of_like_length():
    pieces = sentences("word " * 300)
    assert max(map(len, pieces)) <= 240
    assert min(map(len, pieces)) >= 120


def test_an_accent_stays_with_its_letter():
    pieces = sentences("e\u0301" * 41, longest=41)
    assert [piece[0] for piece in pieces] == ["e"] * len(pieces)


def test_a_short_sentence_stays_alone_where_two_would_be_too_long():
    assert sentences("Yes. " + "a" * 17 + " bb cc.", longest=24) == ["Yes.", "a" * 17 + " bb cc."]


@settings(max_examples=500)
@given(TEXTS, st.integers(1, 60))
def test_nothing_is_lost_and_nothing_is_too_long(text: str, longest: int):
    pieces = sentences(text, longest)
    assert letters("".join(pieces)) == letters(text)
    assert all(0 < len(piece) <= longest for piece in pieces)
    assert all(piece == " ".join(piece.split()) for piece in pieces)


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["\u201c", "a", "a. ", "Mr. ", " ", "\n", "\u0301", "\u3042", "a\n\n"]
)
def test_time_grows_with_the_length_whatever_the_text(piece: str):
    """The library alone would look five minutes at a million quotation marks."""
    text = piece * (1_000_000 // len(piece))
    start = time.monotonic()
    assert letters("".join(sentences(text))) == letters(text)
    assert time.monotonic() - start < 60, "seconds; a busy machine needs ten"


def test_what_is_to_be_said_is_read_as_people_say_it_unless_raw():
    text = "Turn on 7 lights. Set the volume to **39**."
    assert to_say(text) == ["Turn on seven lights.", "Set the volume to thirty nine."]
    assert to_say(text, raw=True) == ["Turn on 7 lights.", "Set the volume to **39**."]
