"""What tests of the daemon's parts start and look for."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

NOBODY = 65534
RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"

RATE = 16_000
"""Of the recordings."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def workers() -> list[psutil.Process]:
    """The workers that this process has started."""
    found: list[psutil.Process] = []
    for process in psutil.Process().children():
        try:
            if "lfm_daemon.worker" in process.cmdline() and process.status() != "zombie":
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def python(code: str, *arguments: object, **more: Any) -> subprocess.Popen[str]:
    """A Python process that runs `code`; what it prints can be read."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)


def recording(path: Path, count: int, pause: float = 1.0) -> Path:
    """So many recordings, one after the other with pauses between them, in one file."""
    pieces: list[np.ndarray] = []
    for source in sorted(RECORDINGS.glob("*.flac"))[:count]:
        samples, rate = soundfile.read(source, dtype="float32")
        assert rate == RATE
        pieces += [samples, np.zeros(int(pause * rate), np.float32)]
    soundfile.write(path, np.concatenate(pieces), RATE)
    return path
