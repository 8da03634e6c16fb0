"""A daemon at a port and a socket, and OpenAI's own client of live voice."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from live_sound import RATE, pcm, silence
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from websockets.sync.client import ClientConnection, unix_connect
from workbench import RECORDINGS

TOKEN = "a-token-of-the-tests"
SERVER = """
import sys
from lfm_daemon.server import Settings, serve
serve(Settings(keep_alive=300, model="nano", port=int(sys.argv[1]), token=sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def no_worker_stays() -> None:
    """The daemon of a file keeps its worker from test to test (see conftest.py)."""


@dataclass
class Daemon:
    home: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, method: str = "GET") -> bytes:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.read()

    @property
    def state(self) -> str:
        return json.loads(self.get("/health"))["state"]

    def ended(self, outcome: str) -> float:
        """How many chats have ended so."""
        name = f'lfm_jobs_total{{job="chat",outcome="{outcome}"}} '
        lines = self.get("/metrics").decode().splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    def raw(self) -> ClientConnection:
        path = str(self.home / "run" / "lfm.sock")
        return unix_connect(path, uri="ws://localhost/v1/realtime", max_size=None)


def eventually(happens: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    home = tmp_path_factory.mktemp("live")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Daemon(home, port)
    output = home / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port), TOKEN],
            env={**os.environ, "LFM_HOME": str(home)},
            stdout=file,
            stderr=file,
        )
    try:

        def answers() -> bool:
            assert process.poll() is None, output.read_text()
            with contextlib.suppress(OSError):
                return found.state == "absent"
            return False

        eventually(answers)
        yield found
        eventually(lambda: not list((home / "run" / "spool").iterdir()))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    log = output.read_text()
    assert "Traceback" not in log and "never retrieved" not in log and "pending" not in log
    errors = [line for line in log.splitlines() if " ERROR " in line]
    assert all("was ended by SIGKILL" in line for line in errors), errors
    assert "alarm" not in log and "thirty" not in log


def recording(name: str) -> np.ndarray:
    samples, rate = soundfile.read(RECORDINGS / name, dtype="float32")
    return soxr.resample(samples, rate, RATE)


ALARM = recording("seen_00.wav")
TIMER = recording("seen_04.wav")
THERMOSTAT = recording("seen_16.flac")
"""Its answer is the longest: 3 s."""


class Live:
    """OpenAI's client, and what it has heard."""

    def __init__(self, connection: RealtimeConnection):
        self.connection = connection
        self.heard: list[Any] = []

    def until(self, kind: str) -> Any:
        """All events up to one of this kind."""
        while True:
            data = self.connection._connection.recv(timeout=20)
            event: Any = self.connection.parse_event(data)
            self.heard.append(event)
            if event.type == kind:
                return event
            assert event.type != "error", event

    def speak(self, samples: np.ndarray, pause: float = 1.0) -> None:
        """Say something, in blocks of 100 ms as a microphone has them, and be silent."""
        talk = np.concatenate([samples, silence(pause)])
        for at in range(0, len(talk), RATE // 10):
            self.connection.input_audio_buffer.append(audio=pcm(talk[at : at + RATE // 10]))

    def of(self, kind: str) -> list[Any]:
        found = [event for event in self.heard if event.type == kind]
        return found

    @property
    def sound(self) -> np.ndarray:
        deltas = [base64.b64decode(event.delta) for event in self.of("response.output_audio.delta")]
        return np.frombuffer(b"".join(deltas), "<i2") / 32768

    @property
    def words(self) -> str:
        return "".join(event.delta for event in self.of("response.output_audio_transcript.delta"))

    def answer(self) -> Any:
        """The next answer; only what is of it has been heard then."""
        self.until("response.created")
        self.heard.clear()
        return self.until("response.done").response


@pytest.fixture
def client(daemon: Daemon) -> OpenAI:
    return OpenAI(base_url=f"{daemon.url}/v1", api_key=TOKEN)


@pytest.fixture
def live(client: OpenAI) -> Iterator[Live]:
    with client.realtime.connect(model="gpt-realtime") as connection:
        found = Live(connection)
        assert found.until("session.created").session.model == "nano"
        yield found
