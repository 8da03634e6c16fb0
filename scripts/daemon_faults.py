"""Everything that may befall the daemon, done to a real one: the lines of `make daemon-check`.

Each fault takes a running `House`, raises `AssertionError` if something is lost that should not
be, and gives what was tried and what survived.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lfm2audio_mlx.errors import DaemonError
from lfm2audio_mlx.installed import EMBEDDED, NANO
from lfm2audio_mlx.results import Transcript
from lfm_daemon.client import Daemon, ask
from lfm_daemon.instance import running
from lfm_daemon.launch import start
from lfm_daemon.paths import log_path, socket_path, spool_folder

COMMAND = [sys.executable, "-P", "-m", "lfm_cli"]
LONG_TEXT = "turn on the kitchen light. " * 40
CLIENTS, MINUTE = 64, 60.0


class House:
    """A daemon in a home of its own, and recordings whose words are known."""

    def __init__(self, said: dict[Path, str]):
        self.said = said
        self.speech, self.words = next(iter(said.items()))

    def begin(self) -> None:
        if running() is None:
            start([*COMMAND, "serve", "--detached"], os.environ)

    def end(self) -> None:
        with suppress(TypeError, ProcessLookupError):
            os.kill(running() or 0, signal.SIGKILL)
        wait_until(lambda: running() is None)

    def client(self) -> Daemon:
        self.begin()
        return Daemon(EMBEDDED, NANO)

    def hear(self, path: Path | None = None) -> str:
        """What the daemon hears; the words that are right, or an exception."""
        path = path or self.speech
        heard = Transcript.of(self.client().spans(path)).text
        assert heard == self.said[path], f"{path.name} was heard as {heard!r}"
        return heard

    @property
    def worker(self) -> int:
        (model,) = ask("GET", "/api/ps")["models"]
        return model["pid"]

    @property
    def state(self) -> str:
        return ask("GET", "/health", timeout=1.0)["state"]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


Result = tuple[str, str]
"""What was tried, and what survived."""


def worker_killed(house: House) -> Iterator[Result]:
    """SIGKILL and SIGABRT at each stage of a request."""
    for number in (signal.SIGKILL, signal.SIGABRT):
        for stage, kill in STAGES.items():
            house.hear()
            outcome = kill(house, number)
            wait_until(lambda: house.state in ("ready", "absent"))
            house.hear()
            yield f"{number.name} of the worker {stage}", f"{outcome}; the next request is answered"


def _while_loading(house: House, number: int) -> str:
    ask("POST", "/api/unload", {})
    with ThreadPoolExecutor() as pool:
        lost = pool.submit(house.hear)
        wait_until(lambda: house.state == "loading" and bool(ask("GET", "/api/ps")["models"]))
        os.kill(house.worker, number)
        with suppress(DaemonError):
            lost.result()
    return "its request has a clear 503, or is answered"


def _while_idle(house: House, number: int) -> str:
    os.kill(house.worker, number)
    return "nothing was under way"


def _while_hearing(house: House, number: int) -> str:
    """Another request waits meanwhile; it must not be lost."""
    with ThreadPoolExecutor() as pool:
        lost = pool.submit(lambda: list(house.client().say(LONG_TEXT)))
        wait_until(lambda: house.state == "busy")
        waiting = pool.submit(house.hear)
        wait_until(lambda: ask("GET", "/health")["queue"] == 2)
        os.kill(house.worker, number)
        assert isinstance(lost.exception(), DaemonError), "the job at work had no error"
        waiting.result()
    return "one request has a clear error, the one behind it is answered"


def _while_speaking(house: House, number: int) -> str:
    sounds = house.client().say(LONG_TEXT)
    next(sounds)
    os.kill(house.worker, number)
    try:
        for _ in sounds:
            pass
    except DaemonError:
        return "the stream ends with a clear error"
    raise AssertionError("the stream ended as if it were whole")


def _while_transcribing(house: House, number: int) -> str:
    """A batch transcription that an interactive request has interrupted goes on where it was."""
    import soundfile

    silence = np.zeros(16_000, np.float32)
    pieces = [soundfile.read(path, dtype="float32")[0] for path in house.said] * 2
    samples = np.concatenate([part for piece in pieces for part in (piece, silence)])
    client = house.client()
    expected = Transcript.of(client.spans((samples, 16_000))).text
    with ThreadPoolExecutor() as pool:
        whole = pool.submit(lambda: Transcript.of(client.spans((samples, 16_000))).text)
        wait_until(lambda: house.state == "busy")
        speech = house.client().say(LONG_TEXT)
        next(speech)
        os.kill(house.worker, number)
        with suppress(DaemonError):
            list(speech)
        assert whole.result() == expected, "the transcription lost something"
    return "the speech ends with an error, the transcription beside it is whole"


STAGES: dict[str, Callable[[House, int], str]] = {
    "while it loads": _while_loading,
    "while it is idle": _while_idle,
    "while it computes, one waiting": _while_hearing,
    "in the midst of a stream": _while_speaking,
    "with a transcription suspended": _while_transcribing,
}


def supervisor_killed(house: House) -> Iterator[Result]:
    """kill -9 of the supervisor: what was under way fails at once, nothing is left behind."""
    for stage in ("idle", "in the midst of a stream"):
        house.hear()
        pid, worker = running(), house.worker
        assert pid
        sounds = house.client().say(LONG_TEXT) if stage != "idle" else None
        if sounds:
            next(sounds)
        os.kill(pid, signal.SIGKILL)
        if sounds:
            try:
                for _ in sounds:
                    pass
                raise AssertionError("the stream ended as if it were whole")
            except DaemonError:
                pass
        wait_until(lambda worker=worker: not psutil.pid_exists(worker))
        heard = subprocess.run(
            [*COMMAND, "-q", "transcribe", house.speech], capture_output=True, text=True
        )
        assert heard.stdout.strip() == house.words, heard.stderr
        yield (
            f"SIGKILL of the supervisor, {stage}",
            "its worker is gone, the stale socket is taken over by the next `lfm`",
        )


def racing_starts(house: House) -> Iterator[Result]:
    """8 commands at once, and no daemon yet."""
    house.end()
    log_path().unlink()
    command = [*COMMAND, "-q", "transcribe", str(house.speech)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    texts = [racer.communicate()[0].strip() for racer in racers]
    assert texts == [house.words] * 8, texts
    served = log_path().read_text("utf-8").count(" serves\n")
    assert served == 1, f"{served} daemons served"
    yield "8 racing starts", "8 transcripts, 1 daemon"


def vanishing_client(house: House) -> Iterator[Result]:
    """A client that is killed in the midst of a stream."""
    house.hear()
    code = (
        "import os; from pathlib import Path; from lfm_daemon.client import Daemon\n"
        f"sounds = Daemon(Path({str(EMBEDDED)!r}), 'nano').say({LONG_TEXT!r})\n"
        "next(sounds); print('speaks', flush=True); list(sounds)"
    )
    client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert client.stdout
    client.stdout.readline()
    client.kill()
    begun = time.monotonic()
    wait_until(lambda: house.state == "ready")
    taken = time.monotonic() - begun
    client.wait()
    client.stdout.close()
    house.hear()
    yield "a client that is killed while it listens", f"the worker is free after {taken:.2f} s"


def slow_reader(house: House) -> Iterator[Result]:
    """One that reads a byte a second: the others do not wait for it, and memory does not grow."""
    house.hear()
    pid = running()
    assert pid
    before = psutil.Process(pid).memory_info().rss
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(socket_path()))
        body = f'{{"input": "{LONG_TEXT * 20}", "response_format": "wav"}}'.encode()
        head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        slow.sendall(head.encode() + body)
        for _ in range(10):
            assert slow.recv(1)
            house.hear()
            time.sleep(1)
        grown = psutil.Process(pid).memory_info().rss - before
        assert grown < 32 << 20, f"the supervisor grew by {grown:,} bytes"
    wait_until(lambda: house.state == "ready")
    yield (
        "a client that reads a byte a second",
        f"10 others answered meanwhile, {grown / 1e6:.0f} MB more",
    )


def slow_sender(house: House) -> Iterator[Result]:
    """One that sends a byte a second."""
    house.hear()
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(socket_path()))
        slow.sendall(b"POST /api/load HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(5):
            slow.sendall(b" ")
            house.hear()
            time.sleep(1)
    yield "a client that sends a byte a second", "5 others answered meanwhile"


def full_disk(house: House) -> Iterator[Result]:
    """Logs that cannot be written (Linux: /dev/full)."""
    house.end()
    if not Path("/dev/full").exists():
        yield "no room for logs", "not tried: there is no /dev/full here"
        return
    log_path().unlink(missing_ok=True)
    log_path().symlink_to("/dev/full")
    try:
        house.hear()
    finally:
        log_path().unlink()
        house.end()
    yield "no room for logs", "requests are answered"


def crowd(house: House) -> Iterator[Result]:
    """64 clients for a minute, recordings of different lengths, some speech among them."""
    house.hear()
    end = time.monotonic() + MINUTE
    answered, slowest = [0] * CLIENTS, [0.0] * CLIENTS
    faults: list[BaseException] = []

    def client(number: int) -> None:
        recordings = islice(cycle(house.said), number, None)
        try:
            while time.monotonic() < end:
                begun = time.monotonic()
                if number % 8 == 0:
                    assert list(house.client().say("lights off"))
                else:
                    house.hear(next(recordings))
                slowest[number] = max(slowest[number], time.monotonic() - begun)
                answered[number] += 1
        except BaseException as error:  # noqa: BLE001 - told below
            faults.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, f"{len(faults)} clients failed, the first with {faults[0]!r}"
    assert min(answered) > 0, "a client was never answered"
    yield (
        f"{CLIENTS} clients for {MINUTE:.0f} s",
        f"{sum(answered)} right answers, none refused, the slowest after {max(slowest):.1f} s",
    )


def nothing_left(house: House) -> Iterator[Result]:
    """After all that."""
    wait_until(lambda: house.state in ("ready", "absent"))
    assert not any(spool_folder().iterdir()), "recordings are left in the spool"
    log = log_path().read_text("utf-8")
    for words in (house.words, "kitchen"):
        assert words not in log, "the log holds what was said"
    yield "what is left behind", "no recording, and no word in the log"


FAULTS: list[Callable[[House], Iterator[Result]]] = [
    worker_killed,
    supervisor_killed,
    racing_starts,
    vanishing_client,
    slow_reader,
    slow_sender,
    full_disk,
    crowd,
    nothing_left,
]


def memory_over(house: House, first: int, last: int) -> tuple[int, int]:
    """Bytes that supervisor and worker hold after so many requests."""

    def held() -> int:
        return sum(psutil.Process(pid).memory_info().rss for pid in (running() or 0, house.worker))

    found: dict[int, int] = {}
    recordings: Any = cycle(house.said)
    for number in range(1, last + 1):
        house.hear(next(recordings))
        if number in (first, last):
            found[number] = held()
    return found[first], found[last]
