"""The model in memory: who may use it, which it is, and what becomes of them when its worker dies.

Workers are real ones, with the embedded model.
"""

import asyncio
import math
import os
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from workbench import recording, workers

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.results import Span
from lfm_daemon import job as jobs
from lfm_daemon import resident as module
from lfm_daemon.child import Model
from lfm_daemon.faults import Fault
from lfm_daemon.metrics import Metrics
from lfm_daemon.resident import QUEUE, Job, Resident
from lfm_daemon.wire import Frame

pytestmark = pytest.mark.usefixtures("no_worker_stays")

NANO = Model(EMBEDDED, "nano")
TEXT = "Good morning, how are you today? " * 2
"""About 3 s of speech, which take about a second."""


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some recordings with pauses between them."""
    return recording(tmp_path_factory.mktemp("long") / "long.wav", count=5)


@pytest.fixture(scope="module")
def in_long(long: Path) -> list[tuple[float, float, str]]:
    """What is said there, and when."""
    spans = [item for item in Engine.load().spans(long) if isinstance(item, Span)]
    return [(span.start, span.end, span.text) for span in spans]


@pytest.fixture
def other(copy_of: Callable[[Path], Path]) -> Model:
    """A second model."""
    return Model(copy_of(EMBEDDED), "other")


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


# Loading and leaving


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


# Jobs


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


# When a worker dies

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


PREFILL = {"parts": [{"text": "word " * 500}], "history": [], "becomes": "a"}
"""Some 2 s before its first event."""


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


# The end


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
