"""Jobs for a model in memory, of a real worker with the embedded model, and what comes of them."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lfm2audio_mlx.installed import EMBEDDED
from lfm_daemon.child import Model
from lfm_daemon.faults import Fault
from lfm_daemon.metrics import Metrics
from lfm_daemon.resident import Job, Resident
from lfm_daemon.wire import Frame

NANO = Model(EMBEDDED, "nano")
TEXT = "Good morning, how are you today? " * 2
"""About 3 s of speech, which take about a second."""

PREFILL = {"parts": [{"text": "word " * 500}], "history": [], "becomes": "a"}
"""Some 2 s before its first event."""


@asynccontextmanager
async def resident(keep_alive: float = math.inf) -> AsyncGenerator[Resident]:
    found = Resident(Metrics(), keep_alive)
    try:
        yield found
    finally:
        await found.close(patience=0.0)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def say(text: str = "Hello", model: Model = NANO, **more: Any) -> Job:
    return Job("say", model, {"text": text, "seed": 1}, **more)


def spans(path: Path, **more: Any) -> Job:
    return Job("spans", NANO, {}, [{"path": str(path), "name": path.name}], **more)


async def done(found: Resident, job: Job, log: list[Job] | None = None) -> list[Frame]:
    """All events of a job; `log` tells which one was done when."""
    async with aclosing(found.events(job)) as events:
        frames = [frame async for frame in events]
    if log is not None:
        log.append(job)
    return frames


async def fault(work: Awaitable[Any]) -> Fault:
    """What it fails with."""
    with pytest.raises(Fault) as failed:
        await work
    return failed.value


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def begin(found: Resident, *jobs: Job, log: list[Job] | None = None) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(done(found, job, log)) for job in jobs]
    for task in tasks:  # what a failing test does not ask for is of no interest
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return tasks


def sound(frames: list[Frame]) -> bytes:
    return b"".join(frame.blob for frame in frames)


def heard(frames: list[Frame]) -> list[tuple[float, float, str]]:
    spans = [frame.header for frame in frames if frame.header["event"] == "span"]
    return [(span["start"], span["end"], span["text"]) for span in spans]


def measured(found: Resident, name: str) -> float:
    """A metric that has no labels, or with them in its name."""
    lines = found.measured().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def loads(found: Resident) -> float:
    return measured(found, "lfm_load_seconds_count")
