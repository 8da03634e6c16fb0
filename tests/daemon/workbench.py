"""What tests of the daemon's parts start and look for."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from lfm_daemon.instance import connected, running

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


def soon(condition: Callable[[], object]) -> None:
    """Wait for it, and not for ever."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def ending(seconds: float) -> Generator[int]:
    """The daemon that runs is told to end, and has a request to answer for so long; its
    number."""
    pid = running()
    assert pid
    with connected(10) as idle, connected(10) as busy:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: lfm\r\n\r\n")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        busy.sendall(
            b"POST /api/load HTTP/1.1\r\nHost: lfm\r\nContent-Length: 9\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert busy.recv(1000).startswith(b"HTTP/1.1 100")
        os.kill(pid, signal.SIGTERM)
        while idle.recv(1000):  # hung up on when it takes no more
            pass
        gone = threading.Timer(seconds, busy.close)
        gone.start()
        yield pid
        gone.join()


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
