"""What tests of `lfm transcribe` share: recordings and what they say, waiting, interrupting."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from lfm2audio_mlx.audio.files import read_audio
from lfm_cli.recordings import gather
from lfm_cli.transcription import Job, transcribe_all

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
