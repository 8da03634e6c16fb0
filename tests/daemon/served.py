"""A daemon as programs meet it: a process of its own, asked by OpenAI's client and by curl."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import psutil
import pytest
from openai import OpenAI

from lfm2audio_mlx.engine import Engine

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
PATIENCE = 20.0
"""Seconds for what takes one or two."""


class Reply(NamedTuple):
    """What curl saw."""

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error, which has OpenAI's shape."""
        assert self.headers["content-type"] == ["application/json"]
        document = self.json()
        assert document.keys() == {"error", "kind"}
        assert document["error"].keys() == {"message", "type", "param", "code"}
        assert document["error"]["type"] == (
            "invalid_request_error" if self.status < 500 else "server_error"
        )
        return document["error"]


@dataclass
class Served:
    """One daemon."""

    home: Path
    process: subprocess.Popen[str]
    socket: str
    log: Path
    client: OpenAI

    def curl(self, path: str, *arguments: str, **more: Any) -> Reply:
        told = ["-w", "%{stderr}%{http_code}\n%{header_json}"]
        command = ["curl", "-sS", "--unix-socket", self.socket, *told, f"http://lfm{path}"]
        done = subprocess.run([*command, *arguments], capture_output=True, timeout=60, **more)
        assert done.returncode == 0, done.stderr
        status, _, headers = done.stderr.partition(b"\n")
        return Reply(int(status), json.loads(headers), done.stdout)

    def post(self, path: str, value: Any) -> Reply:
        """JSON, however long."""
        return self.curl(path, "--json", "@-", input=json.dumps(value).encode())

    def health(self) -> dict[str, Any]:
        return self.curl("/health").json()

    def until(self, state: str) -> None:
        """Wait for the model to be so."""
        end = time.monotonic() + PATIENCE
        while (found := self.health()["state"]) != state:
            assert time.monotonic() < end, f"is {found}, not {state}"
            time.sleep(0.01)

    def unload(self) -> None:
        self.curl("/api/unload", "-X", "POST")
        self.until("absent")

    def worker(self) -> psutil.Process | None:
        """The process with the model."""
        found = self.curl("/api/ps").json()["models"]
        return psutil.Process(found[0]["pid"]) if found else None

    @property
    def spooled(self) -> list[Path]:
        return list((self.home / "run" / "spool").iterdir())


@contextmanager
def serving(home: Path, *options: str) -> Iterator[Served]:
    """`lfm serve` with the embedded checkpoint; it ends in peace, and its worker with it."""
    env = {**os.environ, "LFM_HOME": str(home), "LFM_MODEL": "nano"}
    command = [sys.executable, "-P", "-m", "lfm_cli", "serve", "--json", *options]
    with (
        (home / "stderr").open("wb") as errors,
        subprocess.Popen(
            command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout
        about = json.loads(process.stdout.readline())
        transport = httpx2.HTTPTransport(uds=about["socket"])
        with OpenAI(
            base_url="http://lfm/v1",
            api_key="none",
            max_retries=0,
            http_client=httpx2.Client(transport=transport, timeout=60.0),
        ) as client:
            served = Served(home, process, about["socket"], Path(about["log"]), client)
            try:
                yield served
            finally:
                worker = served.worker()
                process.terminate()
                assert process.wait(PATIENCE) == 0
                assert worker is None or not worker.is_running()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A daemon for all tests of a file."""
    with serving(tmp_path_factory.mktemp("lfm")) as found:
        yield found


@pytest.fixture(scope="module")
def client(daemon: Served) -> OpenAI:
    return daemon.client


@pytest.fixture
def no_worker_stays() -> None:
    """It does, from test to test."""


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The embedded checkpoint as the daemon loads it; do not change it."""
    return Engine.load()


def part(sound: bytes | Path) -> dict[str, Any]:
    """A recording as a part of a message."""
    data = sound if isinstance(sound, bytes) else sound.read_bytes()
    encoded = base64.b64encode(data).decode()
    return {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}}
