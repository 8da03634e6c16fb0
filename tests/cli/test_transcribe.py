"""`lfm transcribe`: recordings of any length and from anywhere, to text, subtitles and tables."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pexpect
import pysubs2
import pytest
import soundfile
from transcribing import (
    FORMS,
    LFM,
    OTHER,
    OTHER_SAID,
    PATIENCE,
    SAID,
    SPEECH,
    TALK,
    Document,
    Run,
    transcribed,
)

from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.audio.vad import USUAL
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import ContextError
from lfm2audio_mlx.text.cues import Layout
from lfm_cli.recordings import Recording
from lfm_cli.transcription import Job, transcribe_all
from lfm_cli.transcripts import Outputs


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
        # `lead` is kept before and `padding` after, to the 32 ms that a probability is for.
        assert begins - USUAL.lead - 0.05 <= cue.start / 1000 < cue.end / 1000
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
