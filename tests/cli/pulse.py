"""A sound server of the tests' own: a loudspeaker that can be listened to, and a microphone that
hears what is written into it. conftest.py gives the fixture to all tests here."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pytest

__all__ = ["Pulse", "pulse"]

SPEAKER_RATE = 24_000
MICROPHONE_RATE = 16_000
STARTING_SECONDS = 15.0
CHUNK_SECONDS = 0.1
"""How much is written into the microphone at a time."""


@dataclass
class Pulse:
    """A running server. `environment`: what a process needs to use it."""

    environment: dict[str, str]
    pipe: Path

    def speak(self, samples: np.ndarray) -> None:
        """Say mono samples [n] at 16 kHz into the microphone, no faster than people speak."""
        pcm = (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
        size = 2 * round(CHUNK_SECONDS * MICROPHONE_RATE)
        begun = time.monotonic()
        pipe = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
        try:
            for number, at in enumerate(range(0, len(pcm), size), start=1):
                _write(pipe, pcm[at : at + size])
                time.sleep(max(0.0, begun + number * CHUNK_SECONDS - time.monotonic()))
        finally:
            os.close(pipe)

    @contextmanager
    def heard(self) -> Iterator[Callable[[], np.ndarray]]:
        """Listens to the loudspeaker while the context lasts; the function gives what has been
        heard so far as mono samples [n] at 24 kHz."""
        command = ["parec", "--device=speaker.monitor", "--format=float32le", "--latency-msec=20"]
        command += ["--raw", f"--rate={SPEAKER_RATE}", "--channels=1"]
        with TemporaryFile() as file:

            def so_far() -> np.ndarray:
                data = os.pread(file.fileno(), os.fstat(file.fileno()).st_size // 4 * 4, 0)
                return np.frombuffer(data, "<f4")

            recorder = subprocess.Popen(
                command, env={**os.environ, **self.environment}, stdout=file
            )
            try:
                deadline = time.monotonic() + STARTING_SECONDS
                while not len(so_far()):
                    assert recorder.poll() is None and time.monotonic() < deadline
                    time.sleep(0.01)
                yield so_far
            finally:
                recorder.terminate()
                recorder.wait(20)


def _write(pipe: int, pcm: bytes) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while pcm:
        assert time.monotonic() < deadline, "nobody listens any more"
        try:
            pcm = pcm[os.write(pipe, pcm) :]
        except BlockingIOError:
            time.sleep(0.01)


@pytest.fixture(scope="session")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulse]:
    """A PulseAudio server with a null sink and a pipe for a microphone; skipped where there is
    none, or PortAudio does not find its way to it."""
    for program in ("pulseaudio", "pactl", "parec"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("pulse")
    folder.chmod(0o700)
    socket, fifo = folder / "socket", folder / "microphone"
    environment = {
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PULSE_SERVER": f"unix:{socket}",
        "PULSE_SINK": "speaker",
        "PULSE_SOURCE": "microphone",
    }
    modules = [
        f"module-native-protocol-unix socket={socket} auth-anonymous=1",
        # With rewinds a recorder would lose the first milliseconds of what begins to play.
        f"module-null-sink sink_name=speaker rate={SPEAKER_RATE} channels=1 norewinds=1",
        f"module-pipe-source source_name=microphone file={fifo} rate={MICROPHONE_RATE} "
        "channels=1 format=s16le",
    ]
    command = ["pulseaudio", "-n", "-F", "/dev/null", "--daemonize=no", "--use-pid-file=no"]
    command += ["--exit-idle-time=-1", *(f"--load={module}" for module in modules)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        _wait_for(environment, server, folder / "log")
        found = _run([sys.executable, "-m", "sounddevice"], environment)
        if "pulse" not in found.stdout:
            pytest.skip("PortAudio, or ALSA's plugin for PulseAudio, is not installed")
        yield Pulse(environment, fifo)
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(environment: dict[str, str], server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        found = _run(["pactl", "list", "short", "sources"], environment)
        if "microphone" in found.stdout:
            return
        time.sleep(0.1)
    raise AssertionError(f"PulseAudio did not start: {log.read_text(errors='replace')}")


def _run(command: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
