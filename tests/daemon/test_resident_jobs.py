"""Jobs for the model in memory: their order, their time, and clients that leave or read slowly."""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from residing import (
    NANO,
    TEXT,
    begin,
    done,
    fault,
    heard,
    loads,
    resident,
    run,
    say,
    sound,
    spans,
    until,
)

from lfm_daemon import job as jobs
from lfm_daemon import resident as module
from lfm_daemon.child import Model
from lfm_daemon.faults import Fault
from lfm_daemon.resident import QUEUE, Job

pytestmark = pytest.mark.usefixtures("no_worker_stays")


def test_interactive_jobs_overtake_a_batch_job(long: Path, in_long: list[Any]):
    async def test() -> None:
        async with resident() as found:
            log: list[Job] = []
            batch, quick = spans(long, batch=True), say()
            (slow,) = begin(found, batch, log=log)
            await until(lambda: batch.options.get("after"))
            begun = time.monotonic()
            await done(found, quick, log)
            assert time.monotonic() - begun < 3
            assert heard(await slow) == in_long and log == [quick, batch]

    run(test())


@pytest.mark.parametrize("way", ["leave", "cancel"])
def test_a_job_that_nobody_wants_any_more_ends(
    long: Path, way: str, monkeypatch: pytest.MonkeyPatch
):
    """And nothing else does."""
    monkeypatch.setattr(module, "HUNG_SECONDS", 1.0)

    async def test() -> None:
        async with resident() as found:
            for job in (say(TEXT * 10), spans(long)):
                async with aclosing(found.events(job)) as events:
                    await anext(events)
                    if way == "cancel":
                        assert found.cancel(job.id)
                        *_, last = [frame async for frame in events]
                        assert last.header["event"] == "cancelled"
                begun = time.monotonic()
                assert sound(await done(found, say()))
                assert time.monotonic() - begun < 3
                assert found.queue == 0 and not found.cancel(job.id)
            await asyncio.sleep(1.0)
            assert found.state == "ready" and loads(found) == 1

    run(test())


@pytest.mark.parametrize("way", ["leave", "cancel"])
def test_jobs_that_wait_are_given_up(other: Model, way: str):
    """At the worker, and for another model."""

    async def test() -> None:
        async with resident() as found:
            jobs = [say(TEXT), say(), say(model=other)]
            tasks = begin(found, *jobs)
            await until(lambda: found.state == "busy")
            for job, task in zip(jobs[1:], tasks[1:], strict=True):
                assert found.cancel(job.id) if way == "cancel" else task.cancel()
            assert not found.cancel(0)
            results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
            first, *rest = results
            assert sound(first)
            if way == "cancel":
                assert [frames[-1].header["event"] for frames in rest] == ["cancelled"] * 2
            assert (loads(found), found.queue, found.state) == (1, 0, "ready")

    run(test())


def test_a_request_at_fault_says_so_and_the_next_one_is_served():
    async def test() -> None:
        async with resident() as found:
            failed = await fault(done(found, spans(Path("/nowhere/a.wav"))))
            assert (failed.status, failed.code) == (400, "invalid_audio")
            assert failed.message == "a.wav: no such file"
            failed = await fault(done(found, Job("say", NANO, {"text": "a", "voice": "nobody"})))
            assert (failed.status, failed.kind) == (400, "RequestError")
            failed = await fault(done(found, Job("nonsense", NANO)))
            assert (failed.status, failed.code) == (500, "internal_error")
            assert "KeyError" in failed.message and "nonsense" not in failed.message
            assert sound(await done(found, say())) and found.state == "ready"

    run(test())


POISON: dict[str, dict[str, Any]] = {
    "a number beyond all floats": {"after": float("1e999")},
    "more text than a message may have": {"text": "a" * (33 << 20)},
}


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize("loading", [False, True])
def test_a_job_that_cannot_be_told_to_the_worker_fails_alone(poison: str, loading: bool):
    """Whether it is handed over at once or has to wait."""

    async def test() -> None:
        async with resident() as found:
            if not loading:
                await found.load(Job("load", NANO))
            tasks = begin(found, Job("say", NANO, POISON[poison]), say())
            failed, fine = await asyncio.wait_for(
                asyncio.gather(*tasks, return_exceptions=True), timeout=3
            )
            assert isinstance(fine, list) and sound(fine)
            assert isinstance(failed, Fault) and failed.status in (400, 413, 500)
            assert (found.state, found.queue) == ("ready", 0)

    run(test())


def test_only_so_many_jobs_may_wait():
    async def test() -> None:
        async with resident() as found:
            tasks = begin(found, say(TEXT), *(say() for _ in range(QUEUE - 1)))
            await until(lambda: found.queue == QUEUE)
            failed = await fault(done(found, say()))
            assert (failed.status, failed.code) == (503, "queue_full")
            assert failed.headers == {"Retry-After": "2"}
            tasks.pop().cancel()
            await until(lambda: found.queue == QUEUE - 1)
            tasks += begin(found, say())
            await until(lambda: found.queue == QUEUE)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert sound(await done(found, say())) and found.queue == 0

    run(test())


@pytest.mark.parametrize("waits", [False, True])
def test_a_job_has_its_time(waits: bool):
    """Which runs also while it waits, and its end does not touch others."""

    async def test() -> None:
        async with resident() as found:
            await found.load(Job("load", NANO))
            others = begin(found, say(TEXT)) if waits else []
            begun = time.monotonic()
            failed = await fault(done(found, say(TEXT * 10, budget=0.4)))
            assert (failed.status, failed.code) == (504, "deadline_exceeded")
            assert 0.3 < time.monotonic() - begun < 2
            assert all(map(sound, await asyncio.gather(*others, done(found, say()))))

    run(test())


def test_no_time_at_all_is_over_at_once():
    async def test() -> None:
        async with resident() as found:
            assert (await fault(done(found, say(budget=0.0)))).status == 504

    run(test())


def test_a_job_is_not_charged_for_its_client_s_time():
    async def test() -> None:
        async with resident() as found:
            await found.load(Job("load", NANO))
            async with aclosing(found.events(say(budget=1.5))) as events:
                async for _ in events:
                    await asyncio.sleep(0.2)

    run(test())


def test_whoever_reads_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    """So that memory does not grow; others go first meanwhile."""
    monkeypatch.setattr(jobs, "AHEAD", 100_000)
    monkeypatch.setattr(jobs, "BEHIND", 30_000)

    async def test() -> None:
        async with resident() as found:
            undisturbed = sound(await done(found, say(TEXT)))
            assert len(undisturbed) > 200_000  # twice what it may be ahead
            job, pieces, most = say(TEXT), list[bytes](), 0
            async with aclosing(found.events(job)) as events:
                async for frame in events:
                    pieces.append(frame.blob)
                    if len(pieces) == 3:
                        await until(lambda: job.paused)
                        assert sound(await done(found, say()))
                        await asyncio.sleep(0.2)
                    most = max(most, job.unread)
            assert b"".join(pieces) == undisturbed
            assert 100_000 < most < 100_000 + 4 * 7_680

    run(test())


def test_a_slow_reader_may_leave(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "AHEAD", 50_000)

    async def test() -> None:
        async with resident() as found:
            job = say(TEXT)
            async with aclosing(found.events(job)) as events:
                await anext(events)
                await until(lambda: job.paused)
            assert sound(await done(found, say())) and found.queue == 0
            await found.unload()
            assert found.state == "absent"

    run(test())
