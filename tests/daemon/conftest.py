"""A daemon's parts for real: a home of their own, real processes, real sockets."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents import system  # noqa: F401 - a fixture for all
from workbench import workers

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore interrupts, and so would every process that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for each test, in which a socket's path is short enough."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LFM_HOME", str(folder))
    monkeypatch.setenv("LFM_MODEL", "nano")
    return folder


@pytest.fixture
def no_worker_stays() -> Iterator[None]:
    """Whatever a test did, the workers that it started are gone when it ends."""
    before = workers()
    yield
    left = [process for process in workers() if process not in before]
    for process in left:
        process.kill()
    assert not left
