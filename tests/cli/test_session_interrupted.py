"""Whatever ends an answer, or its keeping: what is kept is what the model remembers."""

import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest
from questions import ANSWER, SPEECH
from short_answers import LIMIT, Brief, is_kept, remembered, silent

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import AudioError, RequestError
from lfm_cli import conversations
from lfm_cli.session import Session, heard
from lfm_cli.terminal import printable

# Ended half way


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize(
    "fault", [KeyboardInterrupt(), SystemExit(143), AudioError("the loudspeaker has stopped")]
)
def test_an_answer_that_is_ended_half_way_is_kept_as_far_as_it_came(
    brief: Brief,
    faulty: Callable[..., list[np.ndarray]],
    capsys: pytest.CaptureFixture[str],
    fault: BaseException,
    after: int,
):
    session = Session(brief, None, None)
    session.save("a")
    session.voice = False
    session.ask(["hello"])
    session.voice = True
    capsys.readouterr()
    played = faulty(after, fault)
    with pytest.raises(type(fault)):
        session.ask([heard(SPEECH)])
    ended = session._answers[-1]
    assert not ended.complete
    assert ended.sound is not None
    assert len(played) == after
    assert 0 < len(remembered(session)[-1].answer) < LIMIT
    assert capsys.readouterr().out == printable(ended.text) + "\n"
    is_kept(session, "a")

    resumed = silent(brief)
    resumed.resume("a")
    session.voice = False
    assert session.ask(["go on"]).text == resumed.ask(["go on"]).text != ""
    assert remembered(session)[-1] == remembered(resumed)[-1]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), AudioError("the disk is full")])
def test_a_fault_after_the_last_word_does_not_cut_the_answer(
    nano: Engine, faulty: Callable[..., list[np.ndarray]], fault: BaseException
):
    """ctrl-C while the rest of the sound is played, or a sound that cannot be finished."""
    session = Session(nano, None, None)
    session.save("a")
    faulty(10**6, fault)
    with pytest.raises(type(fault)):
        session.ask([heard(SPEECH)])
    assert session._answers[0].text == ANSWER
    assert session._answers[0].complete
    is_kept(session, "a")


def test_without_a_loudspeaker_the_question_is_not_asked(
    brief: Brief, monkeypatch: pytest.MonkeyPatch
):
    @contextmanager
    def no_loudspeaker(rate: int, device: str | None, instead: str) -> Iterator[None]:
        raise AudioError("no loudspeaker")
        yield

    monkeypatch.setattr("lfm_cli.sound.loudspeaker", no_loudspeaker)
    session = Session(brief, None, None)
    session.save("a")
    with pytest.raises(AudioError, match="no loudspeaker"):
        session.ask(["hello"])
    assert remembered(session) == ()
    session.voice = False
    assert session.ask(["hello"]).text == silent(brief).ask(["hello"]).text
    is_kept(session, "a")


def test_an_answer_cut_after_part_of_a_letter_is_printed_and_kept(
    brief: Brief, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """A limit at every place of an answer full of halves of letters."""
    for limit in range(1, 12):
        monkeypatch.setattr("short_answers.LIMIT", limit)
        session = silent(brief)
        session.save(f"number {limit}")
        answer = session.ask(["what is it"])
        assert capsys.readouterr().out.strip() == printable(answer.text).strip()
        is_kept(session, f"number {limit}")


# When keeping itself fails


def test_an_exchange_that_could_not_be_kept_is_kept_with_the_next(
    brief: Brief, monkeypatch: pytest.MonkeyPatch
):
    """The file is held by another process for longer than one waits. A hole in what is kept
    would make a conversation that never was."""
    monkeypatch.setattr(conversations, "PATIENCE", 0.1)
    session = silent(brief)
    session.save("a")
    session.ask(["hello"])
    with closing(sqlite3.connect(conversations.conversations_path())) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RequestError, match="another process"):
            session.ask(["go on"])
    session.ask(["and then?"])
    is_kept(session, "a")


def interrupted_once(function: Callable[..., None], when: str) -> Callable[..., None]:
    """ctrl-C just before the function does its work for the first time, or just after."""
    calls: list[int] = []

    def interrupted(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 1 and when == "before":
            signal.raise_signal(signal.SIGINT)
        function(*arguments)
        if len(calls) == 1 and when == "after":
            signal.raise_signal(signal.SIGINT)

    return interrupted


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["create", "append"])
def test_an_interruption_of_the_keeping_loses_nothing_and_keeps_nothing_twice(
    brief: Brief, monkeypatch: pytest.MonkeyPatch, step: str, when: str
):
    """Writing to the disk takes its time, and a ctrl-C that comes meanwhile is heard after it."""
    session = silent(brief)
    session.save("a")
    monkeypatch.setattr(conversations, step, interrupted_once(getattr(conversations, step), when))
    with pytest.raises(KeyboardInterrupt):
        session.ask(["hello"])
    session.ask(["go on"])
    is_kept(session, "a")


def test_an_answer_is_kept_though_nobody_reads_it(brief: Brief, monkeypatch: pytest.MonkeyPatch):
    """`lfm chat | head -1`."""

    def broken(*arguments: object, **more: object) -> None:
        raise BrokenPipeError

    session = silent(brief)
    session.save("a")
    with monkeypatch.context() as patched, pytest.raises(BrokenPipeError):
        patched.setattr("builtins.print", broken)
        session.ask(["hello"])
    is_kept(session, "a")


def test_an_interruption_between_an_answer_and_its_keeping_leaves_no_hole(
    brief: Brief, monkeypatch: pytest.MonkeyPatch
):
    """A second ctrl-C, right after the one that ended the answer."""
    session = silent(brief)
    session.save("a")
    monkeypatch.setattr(np, "concatenate", interrupted_in_finish(np.concatenate))
    with pytest.raises(KeyboardInterrupt):
        session.ask(["hello"])
    session.ask(["go on"])
    is_kept(session, "a")


def interrupted_in_finish(function: Callable[..., Any]) -> Callable[..., Any]:
    """ctrl-C when the pieces of an answer's sound are put together, once."""
    import sys

    calls: list[int] = []

    def interrupted(arrays: Sequence[np.ndarray], *more: Any, **named: Any) -> Any:
        if sys._getframe(1).f_code.co_name == "sound" and not calls:
            calls.append(1)
            raise KeyboardInterrupt
        return function(arrays, *more, **named)

    return interrupted


def test_a_conversation_removed_meanwhile_is_told_and_the_answer_given(
    brief: Brief, capsys: pytest.CaptureFixture[str]
):
    session = silent(brief)
    session.save("a")
    session.ask(["hello"])
    conversations.remove("a")
    capsys.readouterr()
    with pytest.raises(RequestError, match="no conversation 'a' is kept"):
        session.ask(["go on"])
    assert capsys.readouterr().out == printable(session._answers[-1].text) + "\n"
