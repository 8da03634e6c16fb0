"""Where transcripts go: one file a format, whole or not at all."""

import json
import resource
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import Span, Transcript
from lfm2audio_mlx.text.cues import Layout
from lfm_cli.transcripts import ALL, Outputs, write_text

TRANSCRIPT = Transcript(3.0, (Span(0.5, 1.5, "three apples"), Span(2.0, 2.75, "drei Äpfel")))
ABOUT = {"file": "a.wav", "model": "nano"}
FORMS = ("txt", "srt", "vtt", "tsv", "json")


def outputs(folder: Path, form: str = "txt") -> Outputs:
    return Outputs(folder, form, Layout())


@pytest.mark.parametrize("form", FORMS)
def test_a_transcript_goes_into_one_file_called_as_the_recording(tmp_path: Path, form: str):
    paths = outputs(tmp_path, form).write(Path("talk.v1"), TRANSCRIPT, ABOUT)
    assert paths == [tmp_path / f"talk.v1.{form}"]
    assert list(tmp_path.iterdir()) == paths
    assert "drei Äpfel" in paths[0].read_text("utf-8")


def test_all_is_one_of_each_and_folders_are_made(tmp_path: Path):
    paths = outputs(tmp_path / "new", ALL).write(Path("week/talk"), TRANSCRIPT, ABOUT)
    assert paths == [tmp_path / "new" / "week" / f"talk.{form}" for form in FORMS]
    assert sorted((tmp_path / "new" / "week").iterdir()) == sorted(paths)
    document = json.loads(paths[-1].read_text("utf-8"))
    assert (document["file"], document["model"]) == ("a.wav", "nano")


def test_all_exist_only_when_none_is_missing(tmp_path: Path):
    some = outputs(tmp_path, ALL)
    assert not some.exist(Path("talk"))
    paths = some.write(Path("talk"), TRANSCRIPT, ABOUT)
    assert some.exist(Path("talk"))
    assert not some.exist(Path("other"))
    paths[2].unlink()
    assert not some.exist(Path("talk"))
    assert outputs(tmp_path, "txt").exist(Path("talk"))


def test_two_recordings_that_would_go_into_one_file_are_refused():
    some = outputs(Path("out"))
    some.check([Path("a"), Path("b/a"), Path("c/a")])
    with pytest.raises(RequestError, match=r"'b/a'.*--output-dir"):
        some.check([Path("a"), Path("b/a"), Path("c"), Path("b/a")])


# write_text


@contextmanager
def files_of_at_most(size: int) -> Generator[None]:
    """The system refuses to make a file larger, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_has_the_text_and_nothing_of_the_one_before(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("a much longer text that was here before")
    write_text(path, "zwei\nZeilen 时间\n")
    assert path.read_bytes() == "zwei\nZeilen 时间\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_what_was_there_and_no_litter(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with (
        pytest.raises(RequestError, match=r"a\.txt: cannot be written: .") as caught,
        files_of_at_most(10_000),
    ):
        write_text(path, "too much " * 10_000)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_that_no_file_can_hold_leaves_what_was_there_and_no_litter(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half a character: \ud83d")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_a_part(tmp_path: Path):
    """The old file stays whole under its name: a new one takes its place."""
    path = tmp_path / "a.txt"
    path.write_text("before")
    with path.open() as reader:
        write_text(path, "after")
        assert reader.read() == "before"
    assert path.read_text() == "after"


def test_a_file_where_a_folder_should_be_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "file" / "b" / "a.txt"):
        with pytest.raises(RequestError, match=r"a\.txt: cannot be written: .") as caught:
            write_text(path, "text")
        assert "\n" not in str(caught.value)
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(RequestError, match=r"folder\.txt: cannot be written: ."):
        write_text(tmp_path / "folder.txt", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.txt"]


@pytest.mark.usefixtures("unprivileged")
def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(RequestError, match=r"a\.txt: cannot be written: .+denied"):
        write_text(tmp_path / "closed" / "a.txt", "text")


def test_a_long_name_is_written(tmp_path: Path):
    """The unfinished file's name is no longer than the finished one's may be."""
    name = "x" * 251 + ".txt"
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]
