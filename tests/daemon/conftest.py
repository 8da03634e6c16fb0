"""A daemon's parts for real: a home of their own, real processes, real sockets."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore interrupts, and so would every process that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

NOBODY = 65534
RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"

RATE = 16_000
"""Of the recordings."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for each test, in which a socket's path is short enough."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LFM_HOME", str(folder))
    monkeypatch.setenv("LFM_MODEL", "nano")
    return folder


@pytest.fixture(autouse=True)
def no_worker_stays() -> Iterator[None]:
    """Whatever a test did, the workers that it started are gone when it ends."""
    before = workers()
    yield
    left = [process for process in workers() if process not in before]
    for process in left:
        process.kill()
    assert not left


def workers() -> list[psutil.Process]:
    """The workers that this process has started."""
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "lfm_daemon.worker" in process.cmdline() and process.status() != "zombie":
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def python(code: str, *arguments: object, **more: object) -> subprocess.Popen[str]:
    """A Python process that runs `code`; what it prints can be read."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)  # type: ignore


def recording(path: Path, count: int, pause: float = 1.0) -> Path:
    """So many recordings, one after the other with pauses between them, in one file."""
    pieces: list[np.ndarray] = []
    for source in sorted(RECORDINGS.glob("*.flac"))[:count]:
        samples, rate = soundfile.read(source, dtype="float32")
        assert rate == RATE
        pieces += [samples, np.zeros(int(pause * rate), np.float32)]
    soundfile.write(path, np.concatenate(pieces), RATE)
    return path
