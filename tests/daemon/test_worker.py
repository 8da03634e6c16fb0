"""The process that owns MLX: how it begins, and what is its end."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fed_worker
import psutil
import pytest
from fed_worker import BUSY, COMMAND, SOON, TEXT, Fed, started

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.installed import EMBEDDED

engine, mortal, worker = fed_worker.engine, fed_worker.mortal, fed_worker.worker
shared = fed_worker.shared

pytestmark = pytest.mark.usefixtures("no_worker_stays")


def test_it_tells_of_its_model(worker: Fed, engine: Engine):
    ready = worker.said[0].frame.header
    assert ready["sample_rate"] == engine.sample_rate
    assert ready["voices"] == list(engine.voices)
    assert ready["device"] in ("cpu", "gpu") and ready["seconds"] > 0


def test_a_damaged_model_is_told_and_is_its_end(copy_of: Callable[[Path], Path]):
    folder = copy_of(EMBEDDED)
    (folder / "model.safetensors").write_bytes(b"rubbish")
    with started(folder) as worker:
        (told,) = worker.until(None, "error")
        assert told.frame.header["kind"] == "CheckpointError"
        assert "model.safetensors" in told.frame.header["message"]
        assert worker.next() is None  # or the end of its stdin may be its end
        assert worker.end() == (1, "")


@pytest.mark.parametrize("data", [b"garbage" * 10, b"\xff" * 8, b"\0\0\0\2\0\0\0\0[]"])
def test_garbage_is_its_end(mortal: Fed, data: bytes):
    mortal.write(data)
    assert mortal.next() is None
    code, errors = mortal.end()
    assert code == 0 and "frame" in errors and "Traceback" not in errors


@pytest.mark.parametrize("busy", BUSY)
def test_the_end_of_its_stdin_is_its_end(mortal: Fed, long: Path, busy: str):
    if id := BUSY[busy](mortal, long):
        mortal.until(id, "turn")
        time.sleep(0.1)
    begun = time.monotonic()
    assert mortal.end() == (0, "")
    assert time.monotonic() - begun < SOON


SUPERVISOR = """
import subprocess, sys, time
from lfm_daemon.wire import Frame, read
worker = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
read(worker.stdout)
say = {"id": 1, "job": "say", "batch": False, "options": {"text": sys.argv[1]}, "sounds": []}
worker.stdin.write(Frame(say).encode())
worker.stdin.flush()
read(worker.stdout)
print(worker.pid, flush=True)
time.sleep(60)
"""


def test_the_death_of_its_supervisor_is_its_end():
    command = (
        sys.executable,
        "-c",
        SUPERVISOR,
        TEXT * 9,
        *COMMAND,
        EMBEDDED,
        "nano",
        tempfile.gettempdir(),
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        worker = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.send_signal(signal.SIGKILL)
        begun = time.monotonic()
        supervisor.wait()
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - begun < SOON
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")
def test_what_libraries_print_does_not_end_up_between_its_events(worker: Fed):
    places = [os.readlink(f"/proc/{worker.process.pid}/fd/{number}") for number in (1, 2)]
    assert places[0] == places[1]
