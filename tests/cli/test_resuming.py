"""`lfm transcribe --resume`: only what is missing is computed."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transcribing import FORMS, LFM, Run, ended, joined, transcribed, until

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.results import Progress, Span
from lfm_cli.transcription import Job


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
