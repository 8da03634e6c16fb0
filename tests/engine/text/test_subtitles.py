"""Files that others can read: each format by example, and read back by an independent parser."""

import csv
import html
import io
import itertools
import json
import subprocess
import sys
import unicodedata
from typing import Any

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import Span, Transcript
from lfm2audio_mlx.text.cues import Layout, cues, milliseconds, plain
from lfm2audio_mlx.text.subtitles import FORMATS, document, render

TALK = Transcript(
    3725.5,
    (
        Span(0.25, 2.5, ' Ben & "Jerry" said hello. ', tokens=(1, 2)),
        Span(2.5, 3, ""),
        Span(3661.001, 3725.4996, "So\n<b>it</b>\tis --> done", complete=False, loop=True),
    ),
)
SILENCE = Transcript(1.5, (Span(0, 1.5, " "),))

EXPECTED = {
    "txt": 'Ben & "Jerry" said hello.\nSo <b>it</b> is --> done\n',
    "srt": """\
1
00:00:00,250 --> 00:00:02,500
Ben & "Jerry" said hello.

2
01:01:01,001 --> 01:02:05,500
So ‹b>it‹/b> is -> done
""",  # noqa: RUF001
    "vtt": """\
WEBVTT

00:00:00.250 --> 00:00:02.500
Ben &amp; "Jerry" said hello.

01:01:01.001 --> 01:02:05.500
So &lt;b&gt;it&lt;/b&gt; is --&gt; done
""",
    "tsv": """\
start\tend\ttext
250\t2500\tBen & "Jerry" said hello.
2500\t3000\t
3661001\t3725500\tSo <b>it</b> is --> done
""",
    "json": """\
{
  "schema": "lfm/1",
  "kind": "transcript",
  "file": "übung.wav",
  "duration": 3725.5,
  "text": " Ben & \\"Jerry\\" said hello.  So\\n<b>it</b>\\tis --> done",
  "complete": false,
  "segments": [
    {
      "id": 0,
      "start": 0.25,
      "end": 2.5,
      "text": " Ben & \\"Jerry\\" said hello. ",
      "complete": true,
      "loop": false
    },
    {
      "id": 1,
      "start": 2.5,
      "end": 3.0,
      "text": "",
      "complete": true,
      "loop": false
    },
    {
      "id": 2,
      "start": 3661.001,
      "end": 3725.5,
      "text": "So\\n<b>it</b>\\tis --> done",
      "complete": false,
      "loop": true
    }
  ]
}
""",
}


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_by_example(form: str):
    assert render(TALK, form, about={"file": "übung.wav"}) == EXPECTED[form]


def test_all_formats_have_an_example():
    assert set(EXPECTED) == set(FORMATS)


def test_silence_is_a_valid_file():
    said = {form: render(SILENCE, form) for form in FORMATS}
    assert (said["txt"], said["srt"], said["vtt"]) == ("", "", "WEBVTT\n")
    assert said["tsv"] == "start\tend\ttext\n0\t1500\t\n"
    assert json.loads(said["json"])["segments"][0]["text"] == " "


def test_nothing_is_before_the_beginning():
    early = Transcript(1, (Span(-0.002, 1, "hello"),))
    assert render(early, "tsv").endswith("\n0\t1000\thello\n")
    assert '"start": 0.0,' in render(early, "json")
    assert "00:00:00,000 --> 00:00:01,000" in render(early, "srt")


def test_an_unknown_format_is_refused():
    with pytest.raises(RequestError, match="no format 'ass', only txt, srt, vtt, tsv, json"):
        render(TALK, "ass")


def test_the_layout_is_followed():
    talk = Transcript(9, (Span(0, 9, "one two three four five six"),))
    assert "\none two\nthree\nfour\n" in render(talk, "srt", Layout(8, 3))
    assert "\none two\nthree\nfour\n" in render(talk, "vtt", Layout(8, 3))
    assert render(talk, "tsv", Layout(8, 3)) == render(talk, "tsv")


@pytest.mark.parametrize(
    ("seconds", "clock"),
    [
        (0, "00:00:00,000"),
        (0.0006, "00:00:00,001"),
        (59.9996, "00:01:00,000"),
        (3599.9996, "01:00:00,000"),
        (86399.999, "23:59:59,999"),
        (359_999.999, "99:59:59,999"),
        (360_000, "100:00:00,000"),
        (3_600_001.5, "1000:00:01,500"),
    ],
)
def test_clocks(seconds: float, clock: str):
    talk = Transcript(seconds + 1, (Span(seconds, seconds + 1, "hello"),))
    assert render(talk, "srt").startswith(f"1\n{clock} --> ")
    assert f"\n{clock.replace(',', '.')} --> " in render(talk, "vtt")
    if seconds:
        talk = Transcript(seconds, (Span(-1, seconds, "hello"),))
        assert f" --> {clock}\n" in render(talk, "srt")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a --> b", "a -> b"),
        ("a ----> b", "a -> b"),
        ("a->b", "a->b"),
        ("00:00:01,000 --> 00:00:02,000", "00:00:01,000 -> 00:00:02,000"),
        ("one\n\n2\n\nthree", "one 2 three"),
        ("a<b and c>d", "a‹b and c>d"),  # noqa: RUF001
        (r"{\an8}high", r"(\an8)high"),
        ("a & b &amp; c", "a & b &amp; c"),
    ],
)
def test_nothing_said_is_markup_in_srt(text: str, shown: str):
    talk = Transcript(9, (Span(0, 9, text),))
    assert render(talk, "srt") == f"1\n00:00:00,000 --> 00:00:09,000\n{shown}\n"


STEERING = "".join(map(chr, (*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066)))


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_steers_a_terminal(form: str):
    talk = Transcript(9, (Span(0, 9, f"a{STEERING}\ud800b"),))
    written = render(talk, form, about={"file": f"x{STEERING}\udcff"})
    assert written.encode()
    assert not set(written) & (set(STEERING) - {"\n", "\t"})
    assert len(written.splitlines()) == written.count("\n"), "no other line ends"


def test_json_keeps_what_was_said():
    hard = f"a{STEERING}\ud800b 漢字 ü"
    talk = Transcript(9, (Span(0, 9, hard),))
    written = render(talk, "json", about={"file": "a\udcff.wav"})
    assert "漢字 ü" in written
    value = json.loads(written)
    assert value["segments"][0]["text"] == value["text"] == hard
    assert value["file"] == "a\udcff.wav"
    assert value == document(talk, {"file": "a\udcff.wav"})


def test_a_document_says_first_what_it_is_and_about_what():
    about = {"file": "a.wav", "schema": "other/2", "kind": "other", "duration": -1, "text": "x"}
    value = document(TALK, about)
    assert list(value)[:3] == ["schema", "kind", "file"]
    assert {key: value[key] for key in ("schema", "kind", "duration", "text")} == {
        "schema": "lfm/1",
        "kind": "transcript",
        "duration": 3725.5,
        "text": TALK.text,
    }
    assert about["schema"] == "other/2"
    assert "tokens" not in value["segments"][0]
    assert document(TALK).keys() == value.keys() - {"file"}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_has_no_numbers_that_json_has_not(number: float):
    with pytest.raises(ValueError, match="JSON compliant"):
        render(TALK, "json", about={"gain": number})
    for talk in (Transcript(number, ()), Transcript(1, (Span(0, number, "x"),))):
        with pytest.raises((ValueError, OverflowError)):
            render(talk, "json")


ANY = st.text(max_size=200)
# What pysubs2 itself reads otherwise: braces and backslashes are its own markup, a number on the
# last line it takes for the next cue's.
READABLE = st.text(
    st.one_of(
        st.sampled_from(" .,\n&>-"),
        st.characters(exclude_categories=["Nd"], exclude_characters="<{}\\"),
    ),
    max_size=200,
)
HOURS_99 = st.integers(0, 99 * 3_600_000 - 60_000)


def transcripts(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Transcript]:
    def joined(parts: list[tuple[int, int, str]]) -> Transcript:
        spans = tuple(Span(at / 1000, (at + length) / 1000, text) for at, length, text in parts)
        return Transcript(max((span.end for span in spans), default=0.0), spans)

    parts = st.tuples(HOURS_99, st.integers(0, 30_000), texts)
    return st.lists(parts, max_size=6).map(sorted).map(joined)


LAYOUTS = st.builds(Layout, line_width=st.integers(8, 60), line_count=st.integers(1, 4))


def read_back(written: str, form: str) -> list[tuple[int, int, str]]:
    """Start and end in milliseconds and the text, as pysubs2 has them."""
    file = pysubs2.SSAFile.from_string(written, format_=form, keep_html_tags=True)
    return [(event.start, event.end, event.text.replace(r"\N", "\n")) for event in file]


def cues_of(talk: Transcript, layout: Layout) -> list[tuple[int, int, str]]:
    return [
        (milliseconds(cue.start), milliseconds(cue.end), "\n".join(cue.lines))
        for cue in cues(talk.spans, layout)
    ]


@settings(max_examples=200)
@given(transcripts(READABLE), LAYOUTS)
def test_pysubs2_reads_back_the_same_cues(talk: Transcript, layout: Layout):
    expected = cues_of(talk, layout)
    vtt = read_back(render(talk, "vtt", layout), "vtt")
    assert [(start, end, html.unescape(text)) for start, end, text in vtt] == expected
    without_arrows = [(a, b, arrows(text)) for a, b, text in expected]
    assert read_back(render(talk, "srt", layout), "srt") == without_arrows


def arrows(text: str) -> str:
    while "-->" in text:
        text = text.replace("-->", "->")
    return text


def test_pysubs2_reads_back_a_talk():
    for form in ("srt", "vtt"):
        written = render(TALK, form)
        assert pysubs2.formats.autodetect_format(written) == form
        assert [(start, end) for start, end, _ in read_back(written, form)] == [
            (250, 2500),
            (3661001, 3725500),
        ]


@settings(max_examples=200)
@given(transcripts(ANY), LAYOUTS)
def test_any_text_leaves_the_structure_whole(talk: Transcript, layout: Layout):
    expected = cues_of(talk, layout)
    srt = render(talk, "srt", layout)
    blocks = srt.removesuffix("\n").split("\n\n") if srt else []
    assert [block.split("\n")[0] for block in blocks] == [
        str(number) for number, _ in enumerate(expected, 1)
    ]
    assert srt.count("-->") == len(expected)
    vtt = render(talk, "vtt", layout)
    assert vtt.count("-->") == len(expected)
    assert vtt.removesuffix("\n").count("\n\n") == len(expected)
    assert "<" not in srt + vtt


@settings(max_examples=200)
@given(transcripts(ANY))
def test_tables_and_lines_hold_every_span(talk: Transcript):
    assert render(talk, "txt").split("\n")[:-1] == [
        plain(span.text) for span in talk.spans if plain(span.text)
    ]
    table = io.StringIO(render(talk, "tsv"), newline="\n")
    rows = list(csv.reader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows[0] == ["start", "end", "text"]
    assert rows[1:] == [
        [str(milliseconds(span.start)), str(milliseconds(span.end)), plain(span.text)]
        for span in talk.spans
    ]


@settings(max_examples=200)
@given(transcripts(ANY))
def test_json_reads_back_as_the_document(talk: Transcript):
    written = render(talk, "json", about={"model": "m"})
    value: dict[str, Any] = json.loads(written)
    assert value == document(talk, {"model": "m"})
    assert value["text"] == talk.text
    assert [segment["text"] for segment in value["segments"]] == [s.text for s in talk.spans]
    assert [segment["id"] for segment in value["segments"]] == list(range(len(talk.spans)))
    times = itertools.chain(*((s["start"], s["end"]) for s in value["segments"]))
    assert all(round(moment, 3) == moment for moment in times)
    assert all(unicodedata.category(char) not in ("Cc", "Cs") or char == "\n" for char in written)


def test_subtitles_need_neither_mlx_nor_numpy():
    code = """
import sys, lfm2audio_mlx.text.subtitles
assert not {"mlx", "numpy", "tokenizers"} & set(sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
