"""What becomes of jobs when their worker dies, or their model cannot be loaded."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from residing import (
    NANO,
    PREFILL,
    TEXT,
    begin,
    done,
    fault,
    heard,
    loads,
    measured,
    resident,
    run,
    say,
    sound,
    spans,
    until,
)
from workbench import recording, workers

from lfm_daemon.child import Model
from lfm_daemon.faults import Fault
from lfm_daemon.resident import Job, Resident
from lfm_daemon.wire import Frame

pytestmark = pytest.mark.usefixtures("no_worker_stays")

KILLS = (signal.SIGKILL, signal.SIGABRT)


def kill(found: Resident, number: signal.Signals) -> None:
    os.kill(found.status()["pid"], number)


@pytest.mark.parametrize("number", KILLS)
def test_a_worker_that_dies_while_it_loads(number: signal.Signals):
    async def test() -> None:
        async with resident() as found:
            tasks = begin(found, say(), Job("load", NANO))
            await until(found.status)
            assert found.state == "loading"
            kill(found, number)
            for task in tasks:
                failed = await fault(task)
                assert (failed.status, failed.code) == (503, "worker_died")
                assert number.name in failed.message and failed.headers == {"Retry-After": "1"}
            assert sound(await done(found, say())) and len(workers()) == 1

    run(test())


@pytest.mark.parametrize("number", KILLS)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_worker_that_dies_when_it_has_nothing_to_do(number: signal.Signals, at_once: bool):
    """Nobody notices, not even a job that comes in the same moment."""

    async def test() -> None:
        async with resident() as found:
            await done(found, say())
            kill(found, number)
            if not at_once:
                await until(lambda: found.state == "absent")
                assert workers() == []
            assert sound(await done(found, say()))
            assert measured(found, "lfm_worker_restarts_total") == 1

    run(test())


@pytest.mark.parametrize("number", KILLS)
def test_a_worker_that_dies_over_a_job(number: signal.Signals, other: Model):
    """Which is lost; those that wait do not even notice."""

    async def test() -> None:
        async with resident() as found:
            log: list[Job] = []
            job, waiting = say(TEXT), [say(), say("Good morning"), say(model=other)]
            async with aclosing(found.events(job)) as events:
                await anext(events)
                tasks = begin(found, *waiting, log=log)
                await until(lambda: found.queue == 4)
                kill(found, number)
                failed = await fault(_rest(events))
            assert (failed.status, failed.code) == (503, "worker_died")
            assert number.name in failed.message
            assert all(map(sound, await asyncio.gather(*tasks))) and log == waiting
            assert measured(found, "lfm_worker_restarts_total") == 1
            assert measured(found, 'lfm_jobs_total{job="say",outcome="worker_died"}') == 1
            assert measured(found, 'lfm_jobs_total{job="say",outcome="done"}') == 3

    run(test())


async def _rest(events: AsyncGenerator[Frame]) -> list[Frame]:
    return [frame async for frame in events]


def test_a_transcription_that_was_overtaken_goes_on_with_the_next_worker(
    long: Path, in_long: list[Any]
):
    async def test() -> None:
        async with resident() as found:
            batch = spans(long, batch=True)
            (task,) = begin(found, batch)
            await until(lambda: batch.options.get("after"))
            async with aclosing(found.events(say(TEXT))) as events:
                await anext(events)
                kill(found, signal.SIGKILL)
                assert (await fault(_rest(events))).code == "worker_died"
            await until(lambda: found.state == "busy", 5)
            assert heard(await task) == in_long

    run(test())


def test_what_has_been_heard_does_not_become_less(tmp_path: Path):
    """Also when it is gone through again by the next worker."""

    async def test() -> None:
        async with resident() as found:
            batch = spans(recording(tmp_path / "a.wav", count=3), batch=True)
            (task,) = begin(found, batch)
            await until(lambda: batch.options.get("after"))
            async with aclosing(found.events(say())) as events:
                await anext(events)
                kill(found, signal.SIGKILL)
                await fault(_rest(events))
            frames = await task
            progress = [f.header["done"] for f in frames if f.header["event"] == "progress"]
            assert progress == sorted(progress)

    run(test())


@pytest.mark.parametrize("kind", ["chat", "spans"])
def test_a_job_that_was_computing_is_lost_wherever_it_was(long: Path, kind: str):
    """Before its first event, or though it could have gone on: it may be what kills workers."""

    async def test() -> None:
        async with resident() as found:
            job = spans(long) if kind == "spans" else Job("chat", NANO, PREFILL)
            (task,) = begin(found, job)
            await until(lambda: job.options.get("after") if kind == "spans" else job.started)
            kill(found, signal.SIGKILL)
            assert (await fault(task)).code == "worker_died" and found.queue == 0

    run(test())


def test_a_job_that_kills_every_worker_is_lost_with_the_first():
    async def test() -> None:
        async with resident() as found:
            for _ in range(2):
                async with aclosing(found.events(say(TEXT))) as events:
                    await anext(events)
                    kill(found, signal.SIGKILL)
                    assert (await fault(_rest(events))).code == "worker_died"
            assert found.queue == 0 and sound(await done(found, say()))
            assert loads(found) == 3

    run(test())


def test_a_damaged_model_is_told_and_another_one_is_served(other: Model):
    (other.folder / "model.safetensors").write_bytes(b"rubbish")

    async def test() -> None:
        async with resident() as found:
            jobs = [say(model=other), Job("load", other), say()]
            results = await asyncio.gather(*begin(found, *jobs), return_exceptions=True)
            for failed in results[:2]:
                assert isinstance(failed, Fault)
                assert (failed.status, failed.code) == (500, "model_unusable")
                assert "model.safetensors" in failed.message
            assert isinstance(results[2], list) and sound(results[2])

    run(test())


def test_a_model_that_is_not_there_any_more_is_told(tmp_path: Path):
    async def test() -> None:
        async with resident() as found:
            failed = await fault(done(found, say(model=Model(tmp_path / "gone", "gone"))))
            assert failed.kind == "ConfigError"

    run(test())
