"""The model in memory: when it is loaded and leaves, and how it makes way for another."""

import asyncio
import math
import os
from pathlib import Path
from typing import Any

import pytest
from residing import NANO, TEXT, begin, done, heard, loads, resident, run, say, sound, spans, until
from workbench import workers

from lfm2audio_mlx.installed import EMBEDDED
from lfm_daemon import resident as module
from lfm_daemon.child import Model
from lfm_daemon.resident import Job

pytestmark = pytest.mark.usefixtures("no_worker_stays")


def test_the_first_calls_load_one_model():
    async def test() -> None:
        async with resident() as found:
            assert (found.state, found.model, found.queue, found.status()) == (
                "absent",
                None,
                0,
                {},
            )
            tasks = begin(found, say(), say("Good morning"), Job("load", NANO))
            await until(lambda: found.state == "loading")
            await until(lambda: found.model == NANO)
            assert found.queue == 3
            await until(lambda: found.state == "busy")
            first, second, load = await asyncio.gather(*tasks)
            assert sound(first) and sound(second) and load[0].header["sample_rate"] == 24_000
            assert (found.state, found.queue, loads(found)) == ("ready", 0, 1)
            assert len(workers()) == 1

    run(test())


def test_what_it_says_of_the_model():
    async def test() -> None:
        async with resident(300.0) as found:
            ready = await found.load(Job("load", NANO))
            assert ready["voices"] == ["us-male", "uk-female"]
            status = found.status()
            assert 299 < status.pop("until") <= 300
            assert [process.pid for process in workers()] == [status.pop("pid")]
            assert status.pop("memory") > 20_000_000
            assert status == {"name": "nano", "folder": str(EMBEDDED), "device": ready["device"]}

    run(test())


def test_a_worker_does_not_hear_ctrl_c():
    """Which the terminal sends to all processes of a session."""

    async def test() -> None:
        async with resident() as found:
            await found.load(Job("load", NANO))
            assert os.getsid(found.status()["pid"]) != os.getsid(0)

    run(test())


def test_without_keep_alive_the_model_leaves_after_the_job():
    async def test() -> None:
        async with resident() as found:
            assert sound(await done(found, say(keep_alive=0.0)))
            await until(lambda: found.state == "absent")
            assert workers() == [] and found.status() == {}
            # It is the jobs after it that count, where there are some.
            await asyncio.gather(done(found, say(keep_alive=0.0)), done(found, say()))
            assert found.state == "ready" and found.status()["until"] is None

    run(test())


def test_the_model_leaves_when_nobody_has_used_it_for_a_while():
    async def test() -> None:
        async with resident(0.6) as found:
            for _ in range(2):
                await done(found, say())
                await asyncio.sleep(0.4)
                assert found.state == "ready"
            assert loads(found) == 1 and 0 < found.status()["until"] < 0.6
            await asyncio.sleep(0.3)
            await until(lambda: found.state == "absent", 1.0)
            assert workers() == []
            assert sound(await done(found, say())) and loads(found) == 2

    run(test())


def test_a_job_may_ask_for_another_time_for_once():
    async def test() -> None:
        async with resident(100.0) as found:
            for keep_alive, expected in ((math.inf, None), (1000.0, 1000), (None, 100)):
                await done(found, say(keep_alive=keep_alive))
                until = found.status()["until"]
                assert until == expected if expected is None else expected - 1 < until <= expected

    run(test())


def test_a_model_that_was_loaded_waits_for_its_first_job():
    async def test() -> None:
        async with resident(0.0) as found:
            await found.load(Job("load", NANO))
            await asyncio.sleep(0.1)
            assert found.state == "ready" and 9 < found.status()["until"] <= 10
            await found.load(Job("load", NANO, keep_alive=0.0))
            await until(lambda: found.state == "absent", 3)

    run(test())


def test_a_model_can_be_sent_away():
    """At once, or as soon as its jobs are done."""

    async def test() -> None:
        async with resident() as found:
            await found.unload()
            await done(found, say())
            await found.unload()
            assert found.state == "absent" and workers() == []
            (task,) = begin(found, say(TEXT))
            await until(lambda: found.state == "busy")
            await found.unload()
            assert found.state == "busy" and sound(await task)
            await until(lambda: found.state == "absent")

    run(test())


def test_another_model_waits_for_the_jobs_that_run(other: Model):
    """And those behind it wait for it in turn, so that it is not put off for ever."""

    async def test() -> None:
        async with resident() as found:
            log: list[Job] = []
            jobs = [say(TEXT), say(), say(model=other), say()]
            tasks = begin(found, *jobs[:2], log=log)
            await until(lambda: found.state == "busy")
            tasks += begin(found, *jobs[2:], log=log)
            sounds = {sound(frames) for frames in await asyncio.gather(*tasks)}
            assert log == jobs and loads(found) == 3 and len(workers()) == 1
            assert len(sounds) == 2  # the same model under another name

    run(test())


def test_a_long_transcription_makes_way_for_another_model(
    other: Model, long: Path, in_long: list[Any], monkeypatch: pytest.MonkeyPatch
):
    """And goes on when that one has not been used for a moment."""
    monkeypatch.setattr(module, "LOADED_SECONDS", 2.0)

    async def test() -> None:
        async with resident() as found:
            log: list[Job] = []
            batch, quick = spans(long, batch=True), [say(model=other), say(model=other)]
            (task,) = begin(found, batch, log=log)
            await until(lambda: batch.options.get("after"))
            await done(found, quick[0], log)
            await asyncio.sleep(0.1)
            await done(found, quick[1], log)
            assert heard(await task) == in_long
            assert log == [*quick, batch] and loads(found) == 3

    run(test())


def test_long_transcriptions_do_not_make_way_for_each_other(other: Model, long: Path):
    async def test() -> None:
        async with resident() as found:
            log: list[Job] = []
            jobs = [spans(long, batch=True), spans(long, batch=True)]
            jobs[1].model = other
            tasks = begin(found, jobs[0], log=log)
            await until(lambda: jobs[0].options.get("after"))
            tasks += begin(found, jobs[1], log=log)
            await asyncio.gather(*tasks)
            assert log == jobs and loads(found) == 2

    run(test())
