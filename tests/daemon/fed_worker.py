"""A worker process, fed with frames as the supervisor feeds it."""

import contextlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.installed import EMBEDDED
from lfm_daemon.values import Item, decode
from lfm_daemon.wire import Frame, read

COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", "lfm_daemon.worker")
LAST = ("done", "cancelled", "error", "fault")
SOON = 2.0
"""Seconds that it may take to end."""
TEXT = "Good morning, how are you today? " * 2
"""About 3 s of speech, which take about a second."""
LONG_QUESTION = {"parts": [{"text": "word " * 700}], "history": [], "becomes": "long"}
"""Takes some 3 s to be understood."""


class Told(NamedTuple):
    """What has come out, and when."""

    at: float
    frame: Frame

    @property
    def event(self) -> str:
        return self.frame.header["event"]

    @property
    def id(self) -> int | None:
        return self.frame.header.get("id")


class Fed:
    """A worker process, what is sent to it, and what it has said so far."""

    def __init__(self, folder: Path = EMBEDDED):
        self.process = subprocess.Popen(
            (*COMMAND, folder, "nano", tempfile.gettempdir()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.said: list[Told] = []
        self._new: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._number = 0

    def _listen(self) -> None:
        assert self.process.stdout
        while frame := read(self.process.stdout):
            self._new.put(Told(time.monotonic(), frame))
        self._new.put(None)

    def send(self, **header: Any) -> None:
        self.write(Frame(header).encode())

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def job(self, kind: str, *sounds: Path, batch: bool = False, **options: Any) -> int:
        self._number += 1
        named = [{"path": str(path), "name": "the recording"} for path in sounds]
        self.send(id=self._number, job=kind, batch=batch, options=options, sounds=named)
        return self._number

    def next(self) -> Told | None:
        """What it says next; None at its end."""
        told = self._new.get(timeout=30)
        if told:
            self.said.append(told)
        return told

    def until(self, id: int | None, *events: str) -> list[Told]:
        """All that it says, up to one of these events of a job."""
        found: list[Told] = []
        while told := self.next():
            found.append(told)
            if told.id == id and told.event in (events or LAST):
                return found
        raise AssertionError(f"it ended: {self.end()}")

    def has_said(self) -> list[Told]:
        """What has come meanwhile."""
        found: list[Told] = []
        while not self._new.empty() and (told := self.next()):
            found.append(told)
        return found

    def end(self) -> tuple[int, str]:
        """How it has ended, and what it has written to stderr."""
        assert self.process.stdin and self.process.stderr
        self.process.stdin.close()
        errors = self.process.stderr.read().decode()
        return self.process.wait(SOON), errors


def events(told: list[Told], id: int) -> list[str]:
    return [each.event for each in told if each.id == id]


def items(told: list[Told], id: int) -> list[Item]:
    return [item for each in told if each.id == id and (item := decode(each.frame))]


BUSY: dict[str, Callable[[Fed, Path], int | None]] = {
    "idle": lambda worker, long: None,
    "in speech": lambda worker, long: worker.job("say", text=TEXT * 9),
    "in a transcription": lambda worker, long: worker.job("spans", long),
    "in a prefill": lambda worker, long: worker.job("chat", **LONG_QUESTION),
}


@contextlib.contextmanager
def started(folder: Path = EMBEDDED) -> Iterator[Fed]:
    """A worker, for a while."""
    fed = Fed(folder)
    yield fed
    fed.process.kill()
    fed.process.wait()
    for pipe in (fed.process.stdin, fed.process.stdout, fed.process.stderr):
        assert pipe
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


@pytest.fixture
def mortal() -> Iterator[Fed]:
    """A worker of a test's own, which it may bring to its end."""
    with started() as worker:
        worker.until(None, "ready")
        yield worker


@pytest.fixture(scope="module")
def shared() -> Iterator[Fed]:
    with started() as worker:
        worker.until(None, "ready")
        yield worker
        assert worker.end() == (0, "")


@pytest.fixture
def worker(shared: Fed) -> Iterator[Fed]:
    """A worker that lives on, and has nothing left to do when a test is over."""
    yield shared
    last = shared.job("say", text="")
    assert shared.until(last)[-1].event == "error"


@pytest.fixture(scope="module")
def engine() -> Engine:
    """What it should do is done here too."""
    return Engine.load()
