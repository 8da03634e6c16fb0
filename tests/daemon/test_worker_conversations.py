"""A worker's conversations go on from the state of the last turn, or from their history."""

import time
from typing import Any

import fed_worker
import pytest
from fed_worker import LONG_QUESTION, Fed, Told, events

from lfm2audio_mlx.engine import Engine
from lfm_daemon.jobs import Jobs
from lfm_daemon.wire import Frame

shared, worker = fed_worker.shared, fed_worker.worker

pytestmark = pytest.mark.usefixtures("no_worker_stays")


def answer(told: list[Told], id: int) -> list[Any]:
    return [each for t in told if t.id == id for each in t.frame.header.get("answer", [])]


def chat(worker: Fed, text: str, **options: Any) -> tuple[list[str], list[Any]]:
    """One turn: its events, and the tokens and codes of its answer."""
    question = {"parts": [{"text": text}], "mode": "sequential", "seed": 1}
    id = worker.job("chat", **{**question, "becomes": "next", **options})
    told = worker.until(id)
    return events(told, id), answer(told, id)


def test_a_conversation_goes_on_from_its_state_or_from_its_history(worker: Fed):
    """With the same answer."""
    _, first = chat(worker, "Say something.", history=[], becomes="first")
    assert len(first) > 3
    history = [{"said": [{"text": "Say something."}], "answer": first}]
    found = [
        chat(worker, "And more.", after="first", becomes="second"),
        chat(worker, "And more.", after="first", answered=len(first), history=[]),
        chat(worker, "And more.", history=history),
        chat(worker, "And more.", after="unheard of", history=history),
        chat(worker, "And more.", after="first", answered=len(first) - 1, history=history),
    ]
    assert all(each == found[0] for each in found) and found[0][0][-1] == "done"
    assert chat(worker, "And more.", history=[]) != found[0]


def test_a_state_that_is_not_known_is_told(worker: Fed):
    assert chat(worker, "Hello", after="unheard of")[0] == ["turn", "unknown", "done"]
    chat(worker, "Hello", history=[], becomes="first")
    assert chat(worker, "Hello", after="first", answered=99)[0] == ["turn", "unknown", "done"]


def test_only_so_much_of_states_is_kept(nano: Engine, monkeypatch: pytest.MonkeyPatch):
    """And those that were gone on from most recently."""
    jobs = Jobs(nano)

    def turn(becomes: str, **more: object) -> list[str]:
        options = {"parts": [{"text": "Hi"}], "becomes": becomes, "max_tokens": 1, **more}
        request = Frame({"job": "chat", "options": options, "sounds": []})
        return [frame.header["event"] for frame in jobs.events(request)]

    turn("0", history=[])
    (size,) = (chat.cursor.size for chat in jobs._chats.values())
    assert size > 0
    monkeypatch.setattr("lfm_daemon.jobs.CONVERSATION_BYTES", 3 * size)
    turn("1", history=[])
    turn("2", after="0")
    turn("3", history=[])
    assert [turn("", after=name) == ["unknown"] for name in ("1", "0")] == [True, False]


def test_an_answer_that_was_cut_short_is_remembered_as_it_was_told(worker: Fed, nano: Engine):
    """Whoever interrupts goes on from what they heard, at whatever moment that was."""
    parts, system = [{"text": "Say something."}], nano.config.prompts.voices["us-male"]
    options = {"parts": parts, "mode": "sequential", "seed": 1, "system": system}
    for number in range(10):
        id = worker.job("chat", **options, history=[], becomes="cut")
        told = worker.until(id, "sound")
        time.sleep(0.003 * number)
        worker.send(cancel=id)
        told += worker.until(id)
        assert told[-1].event == "cancelled"
        heard = answer(told, id)
        history = [{"said": parts, "answer": heard}]
        found = chat(worker, "More.", system=system, after="cut", answered=len(heard), max_tokens=3)
        assert found == chat(worker, "More.", system=system, history=history, max_tokens=3)


def test_a_question_that_was_interrupted_is_not_remembered(worker: Fed):
    id = worker.job("chat", **LONG_QUESTION)
    worker.until(id, "turn")
    time.sleep(0.2)
    worker.send(cancel=id)
    assert worker.until(id)[-1].event == "cancelled"
    assert chat(worker, "Hello", after="long")[0] == ["turn", "unknown", "done"]
