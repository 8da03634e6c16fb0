"""A worker's jobs are cancelled and paused, at any moment."""

import time
from pathlib import Path

import fed_worker
import numpy as np
import psutil
import pytest
from fed_worker import BUSY, SOON, TEXT, Fed, events, items

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.results import Sound

engine, shared, worker = fed_worker.engine, fed_worker.shared, fed_worker.worker

pytestmark = pytest.mark.usefixtures("no_worker_stays")


# Cancelling


def test_speech_ends_within_a_frame(worker: Fed):
    say = worker.job("say", text=TEXT * 3)
    worker.until(say, "sound")
    worker.until(say, "sound")
    process = psutil.Process(worker.process.pid)
    process.suspend()  # or what it does while this test does not run would count
    time.sleep(0.1)
    worker.has_said()
    worker.send(cancel=say)
    process.resume()
    assert events(worker.until(say), say).count("sound") <= 2
    assert worker.said[-1].event == "cancelled"


@pytest.mark.parametrize("busy", ["in a transcription", "in a prefill"])
def test_what_takes_long_is_interrupted(worker: Fed, long: Path, busy: str):
    id = BUSY[busy](worker, long)
    assert id
    worker.until(id, "turn")
    time.sleep(0.3)
    worker.send(cancel=id)
    begun = time.monotonic()
    told = worker.until(id)
    assert told[-1].event == "cancelled" and told[-1].at - begun < SOON
    say = worker.job("say", text="Hello")
    assert events(worker.until(say), say)[-1] == "done"


def test_a_job_that_waits_is_cancelled_in_its_turn(worker: Fed):
    first, second, third = (worker.job("say", text="One.") for _ in range(3))
    worker.send(cancel=second)
    told = worker.until(third)
    assert [events(told, id)[-1] for id in (first, second, third)] == ["done", "cancelled", "done"]
    assert "sound" not in events(told, second)


def test_a_batch_job_that_was_overtaken_is_cancelled(worker: Fed, long: Path):
    batch = worker.job("spans", long, batch=True)
    worker.until(batch, "span")
    say = worker.job("say", text="Hello")
    worker.until(say, "sound")
    worker.send(cancel=batch)
    assert events(worker.until(batch), batch) == ["cancelled"]
    assert events(worker.until(say), say)[-1] == "done"


def test_what_is_said_of_jobs_that_are_over_is_passed_over(worker: Fed):
    say = worker.job("say", text="One.")
    worker.until(say)
    for word in ("cancel", "pause", "resume"):
        worker.send(**{word: say})
        worker.send(**{word: 99})
    say = worker.job("say", text="One.")
    assert events(worker.until(say), say)[-1] == "done"


def test_a_job_can_be_cancelled_at_any_moment(worker: Fed):
    """Before it, in its prefill, in its speech, after it."""
    for number in range(60):
        say = worker.job("say", text="Hello")
        time.sleep(0.001 * number)
        worker.send(cancel=say)
        found = events(worker.until(say), say)
        assert found[-1] in ("cancelled", "done") and not {"fault", "error"} & set(found)


# Pausing


def test_a_paused_job_waits_and_others_do_not(worker: Fed, engine: Engine):
    first = worker.job("say", text=TEXT, seed=1)
    told = worker.until(first, "sound")
    worker.send(pause=first)
    second = worker.job("say", text="Hello")
    told += worker.until(second)
    time.sleep(0.3)
    assert worker.has_said() == []
    worker.send(resume=first)
    told += worker.until(first)
    found = [item.samples for item in items(told, first) if isinstance(item, Sound)]
    expected = [sound.samples for sound in engine.say(TEXT, seed=1)]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


@pytest.mark.parametrize("again", [False, True])
def test_a_paused_job_can_be_cancelled(worker: Fed, again: bool):
    """And is not held up by another pause that was on its way."""
    say = worker.job("say", text=TEXT)
    worker.until(say, "sound")
    worker.send(pause=say)
    time.sleep(0.2)
    worker.has_said()
    worker.send(cancel=say)
    if again:
        worker.send(pause=say)
    assert events(worker.until(say), say)[-1] == "cancelled"
