"""What is finished of a transcript survives an interruption, half a line and nothing else."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import Span
from lfm_cli.journal import Journal, identity

KEY = {"journal": 1, "size": 1, "changed": 2, "model": "nano", "prompt": None}

seconds = st.floats(0, 1e6, allow_nan=False)
spans = st.builds(
    Span,
    start=seconds,
    end=seconds,
    text=st.text(max_size=12) | st.sampled_from(["drei Äpfel", "时间 🙂", "a\nb\u2028c\r\0"]),
    tokens=st.lists(st.integers(0, 70_000), max_size=5).map(tuple),
    complete=st.booleans(),
    loop=st.booleans(),
)


class Interruption(Exception):
    """Stands for whatever ends the work in its middle."""


def kept(path: Path, spans: Sequence[Span], key: dict[str, object] = KEY) -> Path:
    """A journal as an interrupted run leaves it."""
    with pytest.raises(Interruption), Journal(path, key) as journal:
        for span in spans:
            journal.add(span)
        raise Interruption
    return path


@given(st.lists(spans, max_size=4))
def test_what_was_kept_is_there_to_the_last_bit(some: list[Span]):
    with tempfile.TemporaryDirectory() as folder:
        path = kept(Path(folder, ".a.part"), some)
        assert Journal(path, KEY).finished() == some


def test_half_a_line_at_the_end_does_not_count_and_costs_nothing_else(tmp_path: Path):
    """Wherever the writing was cut off, even inside a character."""
    some = [Span(0.5, 1.0, "drei Äpfel", (1, 2)), Span(1.5, 3.25, "时间 🙂", loop=True)]
    path = kept(tmp_path / ".a.part", some)
    whole = path.read_bytes()
    assert Journal(path, KEY).finished() == some
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        lines = whole[:cut].count(b"\n")
        assert Journal(path, KEY).finished() == some[: max(0, lines - 1)], cut


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_a_file_of_anything_else_counts_for_nothing(data: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".a.part")
        path.write_bytes(data)
        assert Journal(path, KEY).finished() == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(values | st.fixed_dictionaries({name: values for name in Span.__dataclass_fields__}))
def test_a_line_of_anything_else_is_no_reason_to_fail(line: object):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".a.part")
        path.write_text(f"{json.dumps(KEY)}\n{json.dumps(line)}\n")
        assert len(Journal(path, KEY).finished()) <= 1


def test_no_file_counts_for_nothing(tmp_path: Path):
    assert Journal(tmp_path / ".a.part", KEY).finished() == []


SPAN = Span(0.5, 1.25, "three apples", (1, 2, 3))


@pytest.mark.parametrize("other", [{"model": "mine"}, {"prompt": "spell"}, {"size": 2}])
def test_what_something_else_heard_does_not_count(tmp_path: Path, other: dict[str, object]):
    path = kept(tmp_path / ".a.part", [SPAN])
    assert Journal(path, KEY).finished() == [SPAN]
    assert Journal(path, {**KEY, **other}).finished() == []


def test_a_recording_that_changed_is_another_one(tmp_path: Path):
    source = tmp_path / "a.wav"
    source.write_bytes(b"sound")
    os.utime(source, ns=(1, 1_700_000_000_123_456_789))
    key = identity(source, "nano", None)
    path = kept(tmp_path / ".a.part", [SPAN], key)
    assert Journal(path, identity(source, "nano", None)).finished() == [SPAN]
    assert Journal(path, identity(source, "nano", "spell")).finished() == []
    assert Journal(path, identity(source, "mine", None)).finished() == []
    os.utime(source, ns=(1, 1_700_000_000_123_456_790))
    assert Journal(path, identity(source, "nano", None)).finished() == []
    source.write_bytes(b"longer sound")
    os.utime(source, ns=(1, 1_700_000_000_123_456_789))
    assert Journal(path, identity(source, "nano", None)).finished() == []


def test_success_leaves_no_file(tmp_path: Path):
    with Journal(tmp_path / "deep" / "er" / ".a.part", KEY) as journal:
        journal.add(SPAN)
        assert journal.path.exists()
    assert list((tmp_path / "deep" / "er").iterdir()) == []


def test_an_error_before_the_first_span_leaves_no_file(tmp_path: Path):
    kept(tmp_path / ".a.part", [])
    assert list(tmp_path.iterdir()) == []


def test_a_span_is_on_the_disk_as_soon_as_it_is_kept(tmp_path: Path):
    """A process that is killed flushes nothing."""
    with Journal(tmp_path / ".a.part", KEY) as journal:
        for count in range(1, 4):
            journal.add(SPAN)
            assert Journal(journal.path, KEY).finished() == [SPAN] * count


def test_a_new_run_goes_on_from_the_last_and_one_of_something_else_anew(tmp_path: Path):
    """Nothing of the old one is left behind what it writes."""
    path = kept(tmp_path / ".a.part", [SPAN] * 10)
    other = Span(0.0, 1.0, "one", (7,))
    kept(path, [other])
    assert Journal(path, KEY).finished() == [*[SPAN] * 10, other]
    key: dict[str, object] = {**KEY, "model": "mine"}
    kept(path, [other], key)
    assert Journal(path, key).finished() == [other]


def test_what_is_half_done_is_never_out_of_reach(tmp_path: Path):
    """A run that dies at once leaves what it found."""
    path = kept(tmp_path / ".a.part", [SPAN] * 10)
    with Journal(path, KEY) as journal:
        assert journal.spans == [SPAN] * 10
        assert Journal(path, KEY).finished() == [SPAN] * 10


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(RequestError, match=r"cannot be written: .+") as caught,
        Journal(tmp_path / "file" / ".a.part", KEY),
    ):
        pass
    assert "\n" not in str(caught.value)
