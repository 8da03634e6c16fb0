"""Cues are readable, in time and complete, whatever a model says and however spans are cut."""

import itertools
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import Span
from lfm2audio_mlx.text.cues import Cue, Layout, cues, display_width, milliseconds, plain

NARROW = Layout(line_width=20)
LAYOUTS = st.builds(Layout, line_width=st.integers(8, 60), line_count=st.integers(1, 4))
LATIN = st.lists(st.text("abcdefgh.,?", min_size=1, max_size=8), min_size=1, max_size=80)
TIMES = st.floats(0, 400_000)


def laid_out(text: str, layout: Layout = NARROW) -> list[tuple[str, ...]]:
    return [cue.lines for cue in cues([Span(0, 30, text)], layout)]


def letters(text: str) -> str:
    """The text without blanks: hard cuts and scripts without blanks put none between lines."""
    return "".join(text.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t", []),
        ("Yes.", [("Yes.",)]),
        ("just fits in a line.", [("just fits in a line.",)]),
        ("One line, another one", [("One line,", "another one")]),
        ("this is too long for a line", [("this is too", "long for a line")]),
        # Greedy lines would leave "more" alone.
        ("twenty of characters more", [("twenty of", "characters more")]),
        # The most even lines would, too, leave "invitation".
        ("It was on his invitation", [("It was on", "his invitation")]),
        # And here a cue that flashes by: "I am".
        (
            "so all the boys knew they were coming, I am",
            [("so all the boys", "knew they were"), ("coming, I am",)],
        ),
        # Equally balanced: the lower line is the longer.
        ("aaaa aaaa bbb aaaa aaaa", [("aaaa aaaa", "bbb aaaa aaaa")]),
        # A cue ends with a sentence although three lines would do.
        (
            "They left the house. It had been raining all day long.",
            [("They left the house.",), ("It had been raining", "all day long.")],
        ),
        (
            "I went to the shop today. She never came back again.",
            [("I went to the", "shop today."), ("She never came", "back again.")],
        ),
        # And with a clause, if there is no sentence.
        (
            "when I went to the shop, she never came back again",
            [("when I went", "to the shop,"), ("she never came", "back again")],
        ),
        # A sentence comes before a clause, though here the clause would give more even lines.
        (
            "It rained. In the evening, he was gone again",
            [("It rained.",), ("In the evening,", "he was gone again")],
        ),
        # Closing quotes belong to the sentence.
        (
            'They "left the house." It had been raining a day.',
            [('They "left', 'the house."'), ("It had been", "raining a day.")],
        ),
        # A title ends no sentence.
        (
            "They went to see Dr. Jones there when he came home.",
            [("They went to see", "Dr. Jones there"), ("when he came home.",)],
        ),
        # Two short sentences share a cue; a very short one does not flash by.
        ("It is. It is not so. Why is it?", [("It is. It is not", "so. Why is it?")]),
        (
            "No. I do not think that we are there today",
            [("No. I do not", "think that we"), ("are there today",)],
        ),
    ],
)
def test_text_is_broken_where_a_reader_would(text: str, expected: list[tuple[str, ...]]):
    assert laid_out(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x" * 50, [("x" * 20, "x" * 20), ("x" * 10,)]),
        ("a " + "x" * 25 + " b", [("a", "x" * 20), ("xxxxx b",)]),
        ("e\u0301" * 25, [("e\u0301" * 20, "e\u0301" * 5)]),
        ("가나다라마바사아자차카", [("가나다라마바사아자차", "카")]),
        ("한국어는 단어 사이를 띄어 쓴다", [("한국어는 단어", "사이를 띄어 쓴다")]),
    ],
)
def test_a_word_is_cut_only_if_it_is_longer_than_a_line(text: str, expected: object):
    assert laid_out(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "吾輩は猫である。名前はまだ無い。",
            [("吾輩は猫である。", "名前はまだ無い。")],
        ),
        (
            "今日はとてもいい天気ですね、散歩に行きましょう。",
            [("今日はとてもい", "い天気ですね、"), ("散歩に行きましょう。",)],
        ),
        # Eleven characters: no line begins with the last, nor ends with the tenth.
        ("あいうえおかきくけこ。", [("あいうえお", "かきくけこ。")]),
        ("あいうえおかきくけ「こさ」", [("あいうえおか", "きくけ「こさ」")]),
        # Even lines would begin with a small kana.
        ("きゃ" * 7, [("きゃ" * 3, "きゃ" * 4)]),
        # A mark stays with its character: katakana ga, written as ka and a mark.
        ("カ\u3099" * 15, [("カ\u3099" * 7, "カ\u3099" * 8)]),
        # Latin words inside stay whole.
        ("これがMacintoshですね", [("これが", "Macintoshですね")]),
    ],
)
def test_japanese_is_broken_between_characters(text: str, expected: list[tuple[str, ...]]):
    assert laid_out(text) == expected


KINSOKU = ["あ", "漢", "か。", "し、", "「い", "う」", "きゃ", "ラー", "Macの", "(え)の", "佐々"]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(KINSOKU), max_size=120), LAYOUTS)
def test_no_line_begins_with_a_closing_mark_or_ends_with_an_opening_one(
    units: list[str], layout: Layout
):
    for lines in laid_out("".join(units), layout):
        for line in lines:
            assert line[0] not in "。、」ゃー)々"
            assert line[-1] not in "「("


@settings(max_examples=300)
@given(st.text(max_size=300), LAYOUTS)
def test_any_text_is_shown_whole_in_lines_that_fit(text: str, layout: Layout):
    blocks = laid_out(text, layout)
    for lines in blocks:
        assert 1 <= len(lines) <= layout.line_count
        for line in lines:
            assert line and line == line.strip()
            assert width_by_the_book(line) <= layout.line_width
            assert all(unicodedata.category(char) not in ("Cc", "Cs") for char in line)
    assert letters("".join(itertools.chain(*blocks))) == letters(plain(text))


def width_by_the_book(line: str) -> int:
    """Columns, composed of what Unicode says of each character."""
    visible = [char for char in line if unicodedata.category(char) not in ("Mn", "Me", "Cf")]
    return len(visible) + sum(unicodedata.east_asian_width(char) in "FW" for char in visible)


@settings(max_examples=300)
@given(LATIN, LAYOUTS)
def test_words_come_whole_and_in_order(words: list[str], layout: Layout):
    lines = itertools.chain(*laid_out(" ".join(words), layout))
    assert " ".join(lines).split(" ") == words


@settings(max_examples=300)
@given(LATIN, st.integers(10, 60))
def test_no_word_is_alone_on_the_last_line_if_one_could_join_it(words: list[str], width: int):
    lines = list(itertools.chain(*laid_out(" ".join(words), Layout(width, 2))))
    if len(lines) > 1 and " " not in lines[-1]:
        before, last = lines[-2].split(" "), lines[-1]
        # The word before does not fit beside it, or would leave as little behind.
        left = " ".join(before[:-1])
        too_little = " " not in left or 4 * len(left) < width
        assert too_little or len(before[-1]) + 1 + len(last) > width


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        # In proportion to the characters: 15 and, in two lines, 9 + 20.
        (
            [Span(1, 10, "aaaa bbbb cccc. aaaa bbbb cccc dddd eeee ffff.")],
            [(1, 4.068), (4.068, 10)],
        ),
        ([Span(0.0004, 1.9996, "one"), Span(1.9996, 2.5, "two")], [(0, 2), (2, 2.5)]),
        # An overlap: the earlier keeps its time.
        ([Span(0, 5, "one"), Span(4.9, 9, "two")], [(0, 5), (5, 9)]),
        ([Span(0, 5, "one"), Span(7, 9, "two")], [(0, 5), (7, 9)]),
        ([Span(0, 5, "one"), Span(5, 7, " "), Span(7, 9, "two")], [(0, 5), (7, 9)]),
        ([Span(-0.001, 5, "one")], [(0, 5)]),
        # No time is left: inside another, empty, backwards.
        ([Span(0, 5, "one"), Span(1, 4, "two"), Span(6, 7, "three")], [(0, 5), (6, 7)]),
        ([Span(5, 5, "one"), Span(9, 6, "two"), Span(7, 8, "three")], [(7, 8)]),
    ],
)
def test_times(spans: list[Span], expected: list[tuple[float, float]]):
    assert [(cue.start, cue.end) for cue in cues(spans, NARROW)] == expected


@pytest.mark.parametrize("room", range(1, 6))
def test_a_span_with_fewer_milliseconds_than_cues_still_says_everything(room: int):
    made = list(cues([Span(1, 1 + room / 1000, "x" * 70)], Layout(10, 2)))
    assert_in_order(made)
    assert (made[0].start, made[-1].end, len(made)) == (1, 1 + room / 1000, min(room, 4))
    expected = {1: [7], 2: [2, 5], 3: [2, 2, 3]}.get(room, [2, 2, 2, 1])
    assert [len(cue.lines) for cue in made] == expected
    assert all(line == "x" * 10 for cue in made for line in cue.lines)


@settings(max_examples=300)
@given(
    st.lists(st.builds(Span, TIMES, TIMES, st.text(max_size=60)), max_size=8),
    LAYOUTS,
)
def test_times_rise_and_every_cue_lasts(spans: list[Span], layout: Layout):
    assert_in_order(list(cues(spans, layout)))


@settings(max_examples=300)
@given(TIMES, st.floats(0, 0.03), st.text(max_size=300), LAYOUTS)
def test_times_are_those_of_the_span(start: float, length: float, text: str, layout: Layout):
    span = Span(start, start + length, text)
    made = list(cues([span], layout))
    assert_in_order(made)
    first, last = milliseconds(span.start), milliseconds(span.end)
    if made:
        assert (made[0].start, made[-1].end) == (first / 1000, last / 1000)
        assert all(one.end == other.start for one, other in itertools.pairwise(made))
        said = letters("".join(itertools.chain(*(cue.lines for cue in made))))
        assert said == letters(plain(text))
    else:
        assert first == last or not plain(text)


def assert_in_order(made: list[Cue]):
    edges = [edge for cue in made for edge in (cue.start, cue.end)]
    assert edges == [round(edge * 1000) / 1000 for edge in edges], "whole milliseconds"
    assert all(edge >= 0 for edge in edges)
    assert all(milliseconds(cue.end) - milliseconds(cue.start) >= 1 for cue in made)
    assert all(one.end <= other.start for one, other in itertools.pairwise(made))


def test_cues_come_before_all_spans_have_been_heard():
    def spans():
        yield Span(0, 1, "one")
        raise AssertionError("asked for too early")

    assert next(cues(spans())).lines == ("one",)


@pytest.mark.parametrize(
    "text", ["thirty thousand words " * 10_000, "か" * 30_000, "x" * 300_000], ids=lambda t: t[:8]
)
def test_work_grows_with_the_text_only(text: str):
    """Takes a second; what takes the square of the text takes minutes."""
    start = time.process_time()
    assert laid_out(text, Layout())
    assert time.process_time() - start < 20


@pytest.mark.parametrize("numbers", [(7, 2), (0, 2), (-1, 2), (1001, 2), (42, 0), (42, 11)])
def test_a_layout_that_cannot_be_read_is_refused(numbers: tuple[int, int]):
    with pytest.raises(RequestError, match=r"line_(width|count) must be from \d+ to \d+, not"):
        Layout(*numbers)


def test_layouts_reach_from_a_watch_to_a_wall():
    assert (Layout().line_width, Layout().line_count) == (42, 2)
    assert laid_out("hello watch", Layout(8, 1)) == [("hello",), ("watch",)]
    (wall,) = laid_out("hello wall " * 800, Layout(1000, 10))
    assert [len(line) // 100 for line in wall] == [9] * 9


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("abc", 3), ("é", 1), ("e\u0301", 1), ("漢字", 4), ("ｱ", 1), ("Ａ", 2), ("👋", 2)],  # noqa: RUF001
)
def test_display_width(text: str, columns: int):
    assert display_width(text) == columns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" a \n\n b\tc\u3000d\x85e\u2028f ", "a b c d e f"),
        ("a\x00b\x1b[31mc\x9bd\x7fe", "ab[31mcde"),
        ("a\u202eb\u2066c\ud800d", "abcd"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
    ],
)
def test_plain_text_steers_nothing(text: str, expected: str):
    assert plain(text) == expected
