"""`lfm transcribe`: recordings of any length and from anywhere, to text, subtitles and tables."""

import csv
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pexpect
import pysubs2
import pytest
import soundfile

from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.audio.vad import USUAL
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import ContextError
from lfm2audio_mlx.results import Progress, Span
from lfm2audio_mlx.text.cues import Layout
from lfm_cli import watch
from lfm_cli.recordings import Recording, gather
from lfm_cli.transcription import Job, transcribe_all
from lfm_cli.transcripts import Outputs

Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH = RECORDINGS / "seen_04.wav"
SAID = "set a timer for twenty one minutes"
OTHER = RECORDINGS / "seen_00.wav"
OTHER_SAID = "alarm set for five thirty"
TALK = [RECORDINGS / f"{name}.flac" for name in ("seen_01", "unseen_09", "seen_13", "seen_02")]
FORMS = ("txt", "srt", "vtt", "tsv", "json")
LFM = [sys.executable, "-m", "lfm_cli"]
PATIENCE = 60.0
"""Seconds after which something that should have happened will not."""


def joined(path: Path, recordings: list[Path]) -> Path:
    """One recording of several, with pauses of a second that cut it into spans."""
    pause = np.zeros(16_000, np.float32)
    parts = [part for recording in recordings for part in (read_audio(recording, 16_000), pause)]
    soundfile.write(path, np.concatenate(parts), 16_000)
    return path


@pytest.fixture(scope="session")
def talk(
    transcripts: dict[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """A recording of four short sentences (11 s), and they."""
    some = {path: transcripts[path] for path in TALK}
    return joined(tmp_path_factory.mktemp("talk") / "talk.wav", TALK), list(some.values())


@pytest.fixture
def job(nano: Engine) -> Job:
    return Job(nano, "txt", Layout())


def transcribed(path: Path | str, job: Job) -> None:
    """What the command does with a file, in this process."""
    good, failed = gather([str(path)], recursive=False)
    assert failed == []
    for error in transcribe_all(good, job):
        raise error


def until(happened: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str]:
    """Sends a signal until the process has ended: MLX's CPU backend runs its compiler through
    system(), which ignores interrupts meanwhile."""
    for _ in range(20):
        process.send_signal(number)
        try:
            return process.communicate(timeout=3)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not end")


def test_a_recording_may_be_longer_than_the_context(
    talk: tuple[Path, list[str]], job: Job, capsys: pytest.CaptureFixture[str]
):
    """Which is cut short here so that a recording of 11 s is too long for it."""
    path, sentences = talk
    narrow = Engine.load(dtype="float32")
    narrow.context = 110
    with pytest.raises(ContextError):
        narrow.hear(path)
    transcribed(path, replace(job, backend=narrow))
    assert capsys.readouterr().out.splitlines() == sentences


# Formats


def test_each_pause_begins_a_line(
    talk: tuple[Path, list[str]], job: Job, capsys: pytest.CaptureFixture[str]
):
    path, sentences = talk
    transcribed(path, job)
    assert capsys.readouterr().out.splitlines() == sentences


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_are_read_by_others_and_stand_where_it_was_said(
    talk: tuple[Path, list[str]], job: Job, capsys: pytest.CaptureFixture[str], form: str
):
    path, sentences = talk
    transcribed(path, replace(job, form=form))
    cues = pysubs2.SSAFile.from_string(capsys.readouterr().out, format_=form)
    assert [cue.plaintext.replace("\n", " ") for cue in cues] == sentences
    begins = 0.0
    for cue, recording in zip(cues, TALK, strict=True):
        ends = begins + soundfile.info(recording).duration
        # Silence of `padding` is kept on either side, to the 32 ms that a probability is for.
        assert begins - USUAL.padding - 0.05 <= cue.start / 1000 < cue.end / 1000
        assert cue.end / 1000 <= ends + USUAL.padding + 0.05
        begins = ends + 1


def test_a_table_and_json_have_a_row_for_each_span(
    talk: tuple[Path, list[str]],
    job: Job,
    capsys: pytest.CaptureFixture[str],
    document: Document,
):
    path, sentences = talk
    transcribed(path, replace(job, form="tsv"))
    table = csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t")
    rows = [(int(row["start"]), int(row["end"]), row["text"]) for row in table]
    assert [text for *_, text in rows] == sentences
    transcribed(path, replace(job, form="json"))
    told = document(capsys.readouterr().out)
    assert (told["file"], told["text"]) == (str(path), " ".join(sentences))
    assert told["model"] == job.backend.name
    assert told["duration"] == pytest.approx(soundfile.info(path).duration, abs=0.001)
    segments = [
        (round(1000 * part["start"]), round(1000 * part["end"]), part["text"])
        for part in told["segments"]
    ]
    assert segments == rows


@pytest.mark.parametrize("form", FORMS)
def test_a_file_has_what_stdout_has(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
):
    transcribed(SPEECH, replace(job, form=form))
    shown = capsys.readouterr().out
    folder = tmp_path / "new"
    transcribed(SPEECH, replace(job, form=form, outputs=Outputs(folder, form, Layout())))
    (path,) = folder.iterdir()
    assert path.name == f"seen_04.{form}"
    assert path.read_text("utf-8") == shown
    assert capsys.readouterr().out == f"{path}\n"


def test_one_of_each_goes_into_the_current_folder(lfm: Run, tmp_path: Path):
    result = lfm("transcribe", SPEECH, "-f", "all")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [f"seen_04.{form}" for form in FORMS]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"seen_04.{form}" for form in FORMS
    )
    for form in ("srt", "vtt"):
        (cue,) = pysubs2.load(str(tmp_path / f"seen_04.{form}"))
        assert cue.plaintext == SAID


def test_subtitles_are_as_wide_and_high_as_asked_for(lfm: Run):
    options = ("--max-line-width", "20", "--max-line-count", "1")
    result = lfm("transcribe", SPEECH, "-f", "srt", *options)
    assert (result.returncode, result.stderr) == (0, "")
    cues = pysubs2.SSAFile.from_string(result.stdout)
    assert [cue.plaintext for cue in cues] == ["set a timer for", "twenty one minutes"]
    assert all(before.end == after.start for before, after in pairwise(cues))
    for wrong in (("--max-line-width", "5"), ("--max-line-count", "0")):
        assert lfm("transcribe", SPEECH, "-f", "srt", *wrong).returncode == 2


def test_a_terminal_gets_whole_lines_whatever_its_width(tmp_path: Path):
    """It breaks long lines itself; one that is copied from it is one again."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "lfm_cli", "transcribe", str(SPEECH)],
        dimensions=(24, 20),
        env={**os.environ, "TERM": "xterm"},
        encoding="utf-8",
        timeout=PATIENCE,
    )
    shown = child.read()
    child.close()
    assert child.exitstatus == 0
    assert SAID in shown


# Several, and those that cannot be heard


def test_several_are_told_apart_and_one_that_fails_stops_nobody(lfm: Run, tmp_path: Path):
    """The failure is named when the others are done; a half one is found out while it is read."""
    samples = read_audio(SPEECH, 16_000)
    soundfile.write(tmp_path / "half.flac", np.tile(samples, 4), 16_000)
    whole = (tmp_path / "half.flac").read_bytes()
    (tmp_path / "half.flac").write_bytes(whole[: len(whole) // 2])
    result = lfm("transcribe", SPEECH, "missing.wav", "half.flac", OTHER)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"{SPEECH}: {SAID}"
    assert lines[-1] == f"{OTHER}: {OTHER_SAID}"
    assert all(line.startswith("half.flac: ") for line in lines[1:-1])
    missing, half = result.stderr.splitlines()
    assert missing == "lfm: missing.wav: no such file"
    assert half.startswith("lfm: half.flac: ")


def test_a_folder_goes_into_files_beside_those_that_fail(lfm: Run, tmp_path: Path):
    (tmp_path / "week" / "monday").mkdir(parents=True)
    shutil.copy(SPEECH, tmp_path / "week" / "b.wav")
    shutil.copy(OTHER, tmp_path / "week" / "monday" / "b.wav")
    (tmp_path / "week" / "a.wav").write_bytes(b"")
    shutil.copy(OTHER, tmp_path / "week" / ".hidden.wav")
    result = lfm("transcribe", "-r", "week", "-f", "txt", "-o", "out")
    assert result.returncode == 1
    assert result.stdout.splitlines() == ["out/b.txt", "out/monday/b.txt"]
    assert result.stderr == "lfm: week/a.wav: is empty\n"
    made = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*")}
    assert made == {Path("b.txt"), Path("monday/b.txt")}
    assert (tmp_path / "out" / "b.txt").read_text() == f"{SAID}\n"
    assert (tmp_path / "out" / "monday" / "b.txt").read_text() == f"{OTHER_SAID}\n"


def test_a_file_that_is_gone_when_its_turn_comes_stops_nobody(filing: Job, tmp_path: Path):
    """An hour may lie between the look at the headers and the last recording."""
    gone = Recording("gone.wav", tmp_path / "gone.wav", Path("gone"))
    there = Recording(str(SPEECH), SPEECH, Path("there"))
    (error,) = transcribe_all([gone, there], filing)
    assert "gone.wav" in str(error)
    assert filing.outputs
    assert (filing.outputs.folder / "there.tsv").exists()


def test_two_that_would_go_into_one_file_are_refused_before_any_work(lfm: Run, tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(SPEECH, tmp_path / folder / "talk.wav")
    result = lfm("transcribe", "a/talk.wav", "b/talk.wav", "-o", "out")
    assert (result.returncode, result.stdout) == (1, "")
    assert "'talk'" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (["transcribe", "-f", "srt", SPEECH, OTHER], "--output-dir"),
        (["transcribe", "--resume", SPEECH], "--output-dir"),
        (["transcribe", "--watch", ".", SPEECH], "one of the three"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(lfm: Run, command: list[object], part: str):
    result = lfm(*command)
    assert (result.returncode, result.stdout) == (2, "")
    assert part in result.stderr


def test_a_folder_that_cannot_be_written_is_named(lfm: Run, tmp_path: Path):
    (tmp_path / "file").touch()
    result = lfm("transcribe", SPEECH, "-o", "file")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "lfm: file: is no folder that can be written\n"


# Where sound comes from


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_stdin_is_heard(lfm: Run, name: str):
    """By its contents: nothing tells its format."""
    with SPEECH.open("rb") as stdin:
        result = lfm("transcribe", name, stdin=stdin)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{SAID}\n", "")


def test_stdin_has_a_name_in_files_and_documents(lfm: Run, tmp_path: Path, document: Document):
    command = ("transcribe", "-", "-o", ".", "-f", "json", "--json")
    with SPEECH.open("rb") as stdin:
        result = lfm(*command, stdin=stdin)
    assert (result.returncode, result.stderr) == (0, "")
    told = document(result.stdout)
    assert (told["file"], told["text"]) == ("stdin", SAID)
    assert json.loads((tmp_path / "stdin.json").read_text()) == told


def test_empty_stdin_is_one_line(lfm: Run):
    result = lfm("transcribe", "-")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith("is empty\n")
    assert len(result.stderr.splitlines()) == 1


def test_closed_stdin_is_one_line(tmp_path: Path):
    shell = f"{' '.join(LFM)} -q transcribe - <&-"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith("is empty\n")


def test_where_nobody_speaks_there_is_no_text_and_a_message(tmp_path: Path):
    noise = np.random.default_rng(0).normal(0, 0.01, 32_000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    command = [*LFM, "transcribe", "noise.wav"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert "lfm: noise.wav: nobody speaks in it" in result.stderr.splitlines()
    quiet = subprocess.run([*command, "-q"], capture_output=True, text=True, cwd=tmp_path)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("form", "empty"), [("srt", ""), ("vtt", "WEBVTT\n"), ("tsv", "start\tend\ttext\n")]
)
def test_silence_is_a_file_without_cues(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, empty: str
):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000, np.float32), 16_000)
    transcribed(tmp_path / "silence.wav", replace(job, form=form))
    assert capsys.readouterr().out == empty


def test_a_prompt_goes_to_the_model(lfm: Run):
    """This one asks the toy to take the recording for something said to it."""
    result = lfm("transcribe", SPEECH, "--prompt", "Respond with interleaved text and audio.")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() not in ("", SAID)


# --resume


class Counted:
    """An engine that counts the spans it computes, and interrupts the process, as ctrl-C does,
    once `most` of them have been kept."""

    def __init__(self, engine: Engine, most: int = 1000):
        self._engine, self._most = engine, most
        self.computed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def spans(self, *arguments: Any, **more: Any) -> Iterator[Span | Progress]:
        for item in self._engine.spans(*arguments, **more):
            self.computed += isinstance(item, Span)
            yield item
            if self.computed == self._most:
                signal.raise_signal(signal.SIGINT)


def interrupted(path: Path, job: Job, after: int) -> Path:
    """A run that is interrupted when `after` spans are done; the file that it leaves."""
    assert job.outputs
    with pytest.raises(KeyboardInterrupt):
        transcribed(path, replace(job, backend=Counted(job.backend, after)))  # type: ignore[arg-type]
    (left,) = job.outputs.folder.iterdir()
    return left


def resumed(path: Path, job: Job) -> tuple[int, str]:
    """How many spans were computed to finish the work, and the transcript."""
    assert job.outputs
    counted = Counted(job.backend)  # type: ignore[arg-type]
    transcribed(path, replace(job, backend=counted, resume=True))  # type: ignore[arg-type]
    (made,) = job.outputs.folder.iterdir()
    return counted.computed, made.read_text("utf-8")


@pytest.fixture
def filing(job: Job, tmp_path: Path) -> Job:
    """A job that writes tables, which tell times and texts, into a folder of its own."""
    return replace(job, form="tsv", outputs=Outputs(tmp_path / "out", "tsv", Layout()))


@pytest.mark.parametrize("after", [1, 4])
def test_only_what_is_missing_is_computed(talk: tuple[Path, list[str]], filing: Job, after: int):
    path, sentences = talk
    left = interrupted(path, filing, after)
    assert left.name == ".talk.part"
    computed, text = resumed(path, filing)
    assert computed == len(sentences) - after
    assert filing.outputs
    transcribed(path, filing)
    assert (filing.outputs.folder / "talk.tsv").read_text() == text
    assert [line.split("\t")[-1] for line in text.splitlines()[1:]] == sentences


def test_an_interrupted_resumption_is_resumed(talk: tuple[Path, list[str]], filing: Job):
    path, sentences = talk
    interrupted(path, filing, 2)
    interrupted(path, replace(filing, resume=True), 1)
    computed, _ = resumed(path, filing)
    assert computed == len(sentences) - 3


def test_what_is_half_done_is_gone_on_with_in_any_case(talk: tuple[Path, list[str]], filing: Job):
    """It is the same to the byte, and hours of work should not hang on an option."""
    path, sentences = talk
    interrupted(path, filing, 3)
    counted = Counted(filing.backend)  # type: ignore[arg-type]
    transcribed(path, replace(filing, backend=counted))  # type: ignore[arg-type]
    assert counted.computed == len(sentences) - 3


def test_recordings_that_are_done_are_passed_over_when_resuming(
    talk: tuple[Path, list[str]], filing: Job, tmp_path: Path
):
    path, sentences = talk
    mine = Path(shutil.copy(path, tmp_path))
    transcribed(mine, filing)
    for resume, expected in ((False, len(sentences)), (True, 0)):
        counted = Counted(filing.backend)  # type: ignore[arg-type]
        transcribed(mine, replace(filing, backend=counted, resume=resume))  # type: ignore[arg-type]
        assert counted.computed == expected
    later = mine.stat().st_mtime + 10
    os.utime(mine, (later, later))  # it has changed since
    counted = Counted(filing.backend)  # type: ignore[arg-type]
    transcribed(mine, replace(filing, backend=counted, resume=True))  # type: ignore[arg-type]
    assert counted.computed == len(sentences)


def test_another_recording_of_the_name_is_heard_from_the_beginning(
    talk: tuple[Path, list[str]], filing: Job, tmp_path: Path
):
    path, sentences = talk
    mine = Path(shutil.copy(path, tmp_path))
    interrupted(mine, filing, 3)
    mine.touch()
    computed, _ = resumed(mine, filing)
    assert computed == len(sentences)


def test_nothing_is_kept_of_what_goes_to_stdout(
    talk: tuple[Path, list[str]], job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        transcribed(talk[0], replace(job, backend=Counted(job.backend, 2)))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_was_interrupted_is_gone_on_from(
    lfm: Run, tmp_path: Path, transcripts: dict[Path, str]
):
    """By a true ctrl-C, and to the byte what an uninterrupted run writes."""
    joined(tmp_path / "long.wav", list(transcripts)[:12])
    command = ["transcribe", "long.wav", "-f", "all", "-o"]
    process = subprocess.Popen(
        [*LFM, *command, "out"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    part = tmp_path / "out" / ".long.part"
    until(lambda: part.exists() and part.read_bytes().count(b"\n") > 3, process)
    out, errors = ended(process, signal.SIGINT)
    assert (process.returncode, out) == (130, "")
    assert "--resume" in errors.splitlines()[-1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".long.part"]
    done = part.read_bytes().count(b"\n") - 1
    assert 3 <= done < 12
    assert lfm(*command, "out", "--resume").returncode == 0
    assert lfm(*command, "whole").returncode == 0
    for form in FORMS:
        name = f"long.{form}"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(list((tmp_path / "out").iterdir())) == len(FORMS)


# --watch


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


# --copy


@pytest.fixture
def clipboard() -> Generator[dict[str, str]]:
    """What a process needs to reach a true clipboard: the Mac's, which is put right afterwards,
    or one of an X server of our own."""
    if platform.system() == "Darwin":
        before = subprocess.run(["pbpaste"], capture_output=True).stdout
        yield {}
        subprocess.run(["pbcopy"], input=before)
        return
    if not (shutil.which("Xvfb") and shutil.which("xclip")):
        pytest.skip("neither macOS nor Xvfb with xclip")
    command = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "64x64x8"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        display = server.stdout.readline().strip()
        assert display, "Xvfb did not start"
        yield {"DISPLAY": f":{display}", "WAYLAND_DISPLAY": ""}
        server.terminate()


def test_what_was_said_can_be_pasted(clipboard: dict[str, str], tmp_path: Path):
    """Its output goes into a file: xclip stays to serve the text, and would keep a pipe open."""
    environment = {**os.environ, **clipboard}
    command = [*LFM, "-q", "transcribe", str(SPEECH), str(OTHER), "--copy"]
    with (tmp_path / "out").open("w+") as out:
        result = subprocess.run(command, stdout=out, stderr=out, env=environment, timeout=PATIENCE)
        assert result.returncode == 0
    assert (tmp_path / "out").read_text() == f"{SPEECH}: {SAID}\n{OTHER}: {OTHER_SAID}\n"
    code = "import pyperclip; print(pyperclip.paste(), end='')"
    pasted = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE,
    )
    assert pasted.stdout == f"{SAID}\n{OTHER_SAID}\n"


@pytest.mark.skipif(platform.system() == "Darwin", reason="a Mac always has a clipboard")
def test_without_a_clipboard_it_says_so_before_any_work(lfm: Run, tmp_path: Path):
    nowhere = {"PATH": str(tmp_path), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    result = lfm("transcribe", SPEECH, "--copy", env=nowhere)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "no clipboard" in line
