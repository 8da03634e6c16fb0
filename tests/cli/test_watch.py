"""`lfm transcribe --watch`: a folder whose new files are put into words."""

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pysubs2
import pytest
from transcribing import (
    LFM,
    OTHER,
    SAID,
    SPEECH,
    Run,
    ended,
    until,
)

from lfm_cli import watch
from lfm_cli.transcription import Job


class Seconds:
    """Stands in for the passing of the seconds between two looks: in each, something happens."""

    def __init__(self, *events: Callable[[], object]):
        self._events = iter(events)

    def sleep(self, seconds: float) -> None:
        assert seconds == watch.SECONDS
        event = next(self._events, None)
        if event is None:
            raise KeyboardInterrupt
        event()


@pytest.fixture
def watched(
    filing: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Watches a folder while things happen, a second for each; the files that are written."""

    def look(*events: Callable[[], object], recursive: bool = False) -> list[str]:
        assert filing.outputs
        monkeypatch.setattr(watch, "time", Seconds(*events))
        with pytest.raises(KeyboardInterrupt):
            watch.watch_folder(tmp_path, recursive, filing)
        folder = filing.outputs.folder
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))

    return look


def nothing() -> None:
    """A second in which nothing happens."""


def test_a_file_is_heard_when_it_has_not_changed_for_a_second(
    watched: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    """Half of it would be refused as truncated, so an early look would be told of."""
    whole = SPEECH.read_bytes()
    path = tmp_path / "talk.wav"
    parts = [whole[:30_000], whole[30_000:50_000], whole[50_000:]]

    def append(part: bytes) -> None:
        with path.open("ab") as file:
            file.write(part)

    growing = [lambda part=part: append(part) for part in parts]
    assert watched(*growing) == []
    assert capsys.readouterr().out == ""
    path.unlink()
    growing = [lambda part=part: append(part) for part in parts]
    assert watched(*growing, nothing, nothing) == ["talk.tsv"]
    assert SAID in (tmp_path / "out" / "talk.tsv").read_text()
    assert caplog.messages == []


def test_what_is_there_and_what_comes_is_heard_once(
    watched: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copy(SPEECH, tmp_path / "old.wav")
    shutil.copy(SPEECH, tmp_path / "done.wav")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "done.tsv").write_text("mine")
    (tmp_path / "below").mkdir()
    shutil.copy(SPEECH, tmp_path / "below" / "a.wav")
    come = lambda: shutil.copy(OTHER, tmp_path / "new.wav")  # noqa: E731
    assert watched(nothing, come, nothing, nothing, nothing) == ["done.tsv", "new.tsv", "old.tsv"]
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "out" / name) for name in ("old.tsv", "new.tsv")
    ]
    assert (tmp_path / "out" / "done.tsv").read_text() == "mine"
    assert watched(nothing, nothing, recursive=True)[0] == "below/a.tsv"


def test_two_recordings_of_one_name_are_told_apart(
    watched: Callable[..., list[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    shutil.copy(SPEECH, tmp_path / "talk.flac")
    shutil.copy(OTHER, tmp_path / "talk.wav")
    assert watched(nothing, nothing, nothing) == ["talk.tsv"]
    (message,) = caplog.messages
    assert "talk.wav" in message
    assert "talk.flac" in message
    assert SAID in (tmp_path / "out" / "talk.tsv").read_text()


def test_a_file_that_fails_is_named_once_and_tried_again_when_it_changes(
    watched: Callable[..., list[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "talk.wav"
    path.write_bytes(b"")
    assert watched(nothing, nothing, nothing) == []
    assert caplog.messages == [f"{path}: is empty"]
    mend = lambda: shutil.copy(SPEECH, path)  # noqa: E731
    assert watched(nothing, nothing, mend, nothing, nothing) == ["talk.tsv"]
    assert caplog.messages == [f"{path}: is empty"] * 2


def test_a_file_that_goes_away_again_is_no_reason_to_end(
    watched: Callable[..., list[str]], tmp_path: Path
):
    path = tmp_path / "talk.wav"
    shutil.copy(SPEECH, path)
    shutil.copy(OTHER, tmp_path / "other.wav")
    assert watched(path.unlink, nothing, nothing) == ["other.tsv"]


def test_watching_ends_with_an_interrupt_and_says_what_it_wrote(tmp_path: Path):
    process = subprocess.Popen(
        [*LFM, "-q", "transcribe", "--watch", ".", "-f", "srt"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    shutil.copy(SPEECH, tmp_path / "unfinished")
    (tmp_path / "unfinished").rename(tmp_path / "talk.wav")
    until((tmp_path / "talk.srt").exists, process)
    out, errors = ended(process, signal.SIGINT)
    assert (process.returncode, out, errors) == (130, "talk.srt\n", "")
    (cue,) = pysubs2.load(str(tmp_path / "talk.srt"))
    assert cue.plaintext == SAID
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk.srt", "talk.wav"]


def test_only_a_folder_can_be_watched(lfm: Run, tmp_path: Path):
    for name in ("nothing", str(SPEECH)):
        result = lfm("transcribe", "--watch", name)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == f"lfm: {name}: is not a folder to watch\n"
