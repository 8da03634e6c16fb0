"""The end of the model in memory: of the daemon, and of a worker that does not end by itself."""

import asyncio
import math
import time

import psutil
import pytest
from residing import (
    NANO,
    PREFILL,
    TEXT,
    begin,
    done,
    fault,
    measured,
    resident,
    run,
    say,
    sound,
    until,
)
from workbench import workers

from lfm_daemon import resident as module
from lfm_daemon.child import Model
from lfm_daemon.metrics import Metrics
from lfm_daemon.resident import Job, Resident

pytestmark = pytest.mark.usefixtures("no_worker_stays")


def test_at_the_end_jobs_are_waited_for_and_no_more_are_taken():
    async def test() -> None:
        found = Resident(Metrics(), math.inf)
        tasks = begin(found, say(TEXT), say())
        await until(lambda: found.state == "busy")
        closing = asyncio.create_task(found.close(patience=20))
        await asyncio.sleep(0)
        failed = await fault(done(found, say()))
        assert (failed.status, failed.code) == (503, "closing")
        assert all(map(sound, await asyncio.gather(*tasks)))
        await closing
        assert found.state == "closing" and workers() == []

    run(test())


@pytest.mark.parametrize("patience", [0.0, 0.3])
def test_jobs_that_take_too_long_are_given_up_at_the_end(patience: float, other: Model):
    async def test() -> None:
        found = Resident(Metrics(), math.inf)
        tasks = begin(found, say(TEXT * 5), say(), say(model=other))
        await until(lambda: found.state == "busy")
        begun = time.monotonic()
        await found.close(patience)
        assert patience <= time.monotonic() - begun < patience + 2
        assert workers() == []
        for task in tasks:
            failed = await fault(task)
            assert (failed.status, failed.code) == (503, "closing")

    run(test())


def test_the_end_may_come_while_a_model_is_loading():
    async def test() -> None:
        found = Resident(Metrics(), math.inf)
        (task,) = begin(found, say())
        await until(lambda: found.state == "loading")
        await found.close(patience=0.0)
        assert (await fault(task)).code == "closing"
        assert workers() == []

    run(test())


def test_a_worker_that_does_not_end_is_ended():
    """However it hangs."""

    async def test() -> None:
        async with resident() as found:
            await done(found, say())
            process = psutil.Process(found.status()["pid"])
            process.suspend()
            await found.unload()
            assert found.state == "absent" and not process.is_running()

    run(test())


@pytest.mark.parametrize("idle", [False, True])
def test_a_worker_that_hangs_is_ended_with_its_job(idle: bool, monkeypatch: pytest.MonkeyPatch):
    """A job whose time is over gives up the worker too, if that does not heed it."""
    monkeypatch.setattr(module, "HUNG_SECONDS", 0.5)

    async def test() -> None:
        async with resident() as found:
            await done(found, say())
            job = say(TEXT, budget=0.3)
            (task,) = begin(found, job)
            await until(lambda: idle or job.begun)
            psutil.Process(found.status()["pid"]).suspend()
            assert (await fault(task)).code == "deadline_exceeded"
            assert sound(await done(found, say(budget=10.0)))

    run(test())


def test_a_job_that_takes_long_is_not_ended_when_another_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
):
    """The worker heeds that only between two steps, and a prefill is one."""
    monkeypatch.setattr(module, "HUNG_SECONDS", 0.5)

    async def test() -> None:
        async with resident() as found:
            await found.load(Job("load", NANO))
            long, quick = begin(found, Job("chat", NANO, PREFILL), say())
            await asyncio.sleep(0.2)
            quick.cancel()
            assert (await long)[-1].header["event"] == "end"
            assert measured(found, "lfm_worker_restarts_total") == 0

    run(test())
