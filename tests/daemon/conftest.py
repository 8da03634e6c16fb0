"""A daemon's parts for real: a home of their own, real processes, real sockets."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from agents import system  # noqa: F401 - a fixture for all
from live_sound import RATE, silence
from workbench import RECORDINGS, recording, workers

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.results import Span
from lfm_daemon.child import Model

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


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    """A sentence of 2.2 s, and a second of silence."""
    samples, rate = soundfile.read(RECORDINGS / "seen_00.wav", dtype="float32")
    return np.concatenate([soxr.resample(samples, rate, RATE), silence(1)])


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some recordings with pauses between them."""
    return recording(tmp_path_factory.mktemp("long") / "long.wav", count=5)


@pytest.fixture(scope="session")
def in_long(long: Path) -> list[tuple[float, float, str]]:
    """What is said there, and when."""
    spans = [item for item in Engine.load().spans(long) if isinstance(item, Span)]
    return [(span.start, span.end, span.text) for span in spans]


@pytest.fixture
def other(copy_of: Callable[[Path], Path]) -> Model:
    """A second model."""
    return Model(copy_of(EMBEDDED), "other")
