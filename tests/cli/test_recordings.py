"""Which recordings a command line means, in which order, and why others cannot be heard."""

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.audio.probe import SUFFIXES
from lfm2audio_mlx.errors import AudioError
from lfm_cli.recordings import gather, sounds_in

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH = RECORDINGS / "seen_04.wav"

Type = Callable[[bytes], None]


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Lets stdin hold some bytes."""

    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sound(path: Path) -> Path:
    """A short recording, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(1600, np.float32), 16_000, format="WAV")
    return path


def names(recursive: bool, *arguments: str) -> list[str]:
    good, failed = gather(arguments, recursive)
    assert failed == []
    return [recording.name for recording in good]


def test_a_file_is_called_as_it_was_named(here: Path):
    sound(here / "talk.v1.wav")
    ((recording,), failed) = gather(["talk.v1.wav"], recursive=False)
    assert failed == []
    assert (recording.name, recording.source) == ("talk.v1.wav", Path("talk.v1.wav"))
    assert recording.place == Path("talk.v1")


def test_a_dash_is_stdin_and_a_file_called_so_is_not(here: Path, piped: Type):
    piped(b"what was piped")
    sound(here / "-")
    (stdin, file), failed = gather(["-", "./-"], recursive=False)
    assert failed == []
    assert (stdin.name, stdin.source, stdin.place) == ("stdin", b"what was piped", Path("stdin"))
    assert (file.source, file.place) == (Path("-"), Path("-"))


def test_the_order_is_that_of_the_command_line(here: Path, piped: Type):
    piped(b"")
    for name in ("b.wav", "a.wav", "folder/d.wav", "folder/c.wav"):
        sound(here / name)
    asked = names(True, "b.wav", "-", "folder", "a.wav", "b.wav")
    assert asked == ["b.wav", "stdin", "folder/c.wav", "folder/d.wav", "a.wav", "b.wav"]


def test_a_folder_is_taken_only_when_asked_for(here: Path):
    sound(here / "folder" / "a.wav")
    good, (error,) = gather(["folder"], recursive=False)
    assert good == []
    assert isinstance(error, AudioError)
    assert str(error) == "folder: is a folder; --recursive takes the sound files in it"


def test_a_folder_gives_its_sounds_and_those_below_but_no_hidden_ones(here: Path):
    shown = ["a.wav", "b.FLAC", "c/a.mp3", "c/d/e.m4a"]
    hidden = [".a.wav", ".c/a.wav", "c/.d/a.wav", "c/.e.wav"]
    for name in [*shown, *hidden, "c/notes.txt", "wav"]:
        (here / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "folder" / name).touch()
    (here / "folder" / "f.wav").mkdir()
    assert sounds_in(here / "folder", recursive=True) == [here / "folder" / name for name in shown]
    assert sounds_in(here / "folder", recursive=False) == [
        here / "folder" / name for name in shown[:2]
    ]


def test_a_folder_in_a_hidden_folder_can_be_named(here: Path):
    """What somebody names is meant, whatever it is called."""
    sound(here / ".memos" / "a.wav")
    assert names(True, ".memos") == [".memos/a.wav"]


def test_transcripts_of_a_folder_keep_its_shape(here: Path):
    for name in ("a.wav", "b/a.wav", "b/c.d/e.f.wav"):
        sound(here / "folder" / name)
    good, _ = gather(["folder"], recursive=True)
    assert [recording.place for recording in good] == [Path("a"), Path("b/a"), Path("b/c.d/e.f")]


def test_a_folder_without_sounds_says_so(here: Path):
    (here / "folder").mkdir()
    (here / "folder" / "notes.txt").touch()
    good, (error,) = gather(["folder"], recursive=True)
    assert good == []
    assert str(error) == "folder: there is no sound file in this folder"


def test_each_that_cannot_be_heard_is_named_and_the_rest_is_there(here: Path):
    """Also those inside folders; none stops the others."""
    sound(here / "good.wav")
    sound(here / "folder" / "good.wav")
    (here / "folder" / "empty.wav").touch()
    (here / "folder" / "text.mp3").write_text("not a sound, and long enough to be looked into")
    (here / "cut.wav").write_bytes(SPEECH.read_bytes()[:5000])
    asked = ["missing.wav", "good.wav", "folder", "nothing/", "cut.wav", "\0.wav"]
    good, failed = gather(asked, recursive=True)
    assert [recording.name for recording in good] == ["good.wav", "folder/good.wav"]
    assert all(isinstance(error, AudioError) for error in failed)
    expected = [
        "missing.wav: no such file",
        "folder/empty.wav: is empty",
        "folder/text.mp3: not a sound file",
        "nothing: no such file",
        "cut.wav: truncated",
        "'\\x00.wav': cannot be opened",
    ]
    for error, beginning in zip(failed, expected, strict=True):
        assert str(error).startswith(beginning)
        assert "\n" not in str(error)


def test_a_name_that_no_disk_takes_stops_nobody(here: Path):
    sound(here / "good.wav")
    good, (error,) = gather(["x" * 300, "good.wav"], recursive=False)
    assert [recording.name for recording in good] == ["good.wav"]
    assert "cannot be opened" in str(error)


PARTS = st.text("ab.-_ é", min_size=1, max_size=4).filter(lambda part: part.strip(".") != "")
TREES = st.lists(
    st.tuples(st.lists(PARTS, max_size=2), PARTS, st.sampled_from([*sorted(SUFFIXES), ".txt", ""])),
    max_size=8,
)


@settings(max_examples=40)
@given(TREES, st.booleans())
def test_of_any_folder_the_sounds_come_sorted_and_none_is_hidden(
    tree: list[tuple[list[str], str, str]], recursive: bool
):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made: set[Path] = set()
        for parents, stem, suffix in tree:
            path = folder.joinpath(*parents, stem + suffix)
            if any(above.is_file() for above in path.parents) or path.is_dir():
                continue  # no file can be inside a file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            made.add(path)
        expected = [
            path
            for path in sorted(made)
            if path.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and (recursive or path.parent == folder)
        ]
        assert sounds_in(folder, recursive) == expected
