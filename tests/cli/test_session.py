"""A conversation is answered, heard and kept; whatever ends an answer, what is kept is what the
model remembers."""

import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.conversation import Chat
from lfm2audio_mlx.engine import CHAT_VOICE, Engine
from lfm2audio_mlx.errors import AudioError, ContextError, LfmError, RequestError
from lfm2audio_mlx.results import Exchange, Part
from lfm2audio_mlx.sampling import GREEDY, Sampling
from lfm_cli import conversations
from lfm_cli.backend import open_backend
from lfm_cli.session import LISTENING_RATE, Session, as_part, heard
from lfm_cli.terminal import printable

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH = RECORDINGS / "seen_04.wav"
OTHER_SPEECH = RECORDINGS / "seen_10.flac"
ANSWER = "timer set for twenty one minutes"
LIMIT = 30


class Brief(Engine):
    """An engine whose answers end after a few words, and are greedy in words and sound."""

    def __init__(self, engine: Engine, voice: Sampling = GREEDY):
        self.__dict__.update(engine.__dict__)
        self._sampling = voice

    def chat(self, **more: Any) -> Chat:
        chat = super().chat(audio=self._sampling, **more)
        chat.reply = partial(chat.reply, max_tokens=LIMIT)  # type: ignore[method-assign]
        return chat


@pytest.fixture
def brief(engines: dict[str, Engine]) -> Brief:
    return Brief(engines["v1"])


def silent(backend: Engine, seed: int | None = None, **more: Any) -> Session:
    """A session whose answers are only read."""
    return Session(backend, None, seed, voice=False, **more)


def remembered(session: Session) -> tuple[Exchange, ...]:
    return session._chat.exchanges


def same_exchange(one: Exchange, other: Exchange) -> bool:
    return one.answer == other.answer and all(
        a == b if isinstance(a, str) else np.array_equal(a[0], b[0]) and a[1] == b[1]  # type: ignore[index]
        for a, b in zip(one.said, other.said, strict=True)
    )


def is_kept(session: Session, name: str) -> None:
    """What is kept under a name is what the model remembers, exchange by exchange."""
    kept = conversations.load(name)[1]
    assert len(kept) == len(remembered(session)) == len(session._answers)
    for each, live, answer in zip(kept, remembered(session), session._answers, strict=True):
        assert same_exchange(each.exchange, live)
        assert each.text == answer.text
        assert (each.sound is None) == (answer.sound is None)
        if each.sound and answer.sound:
            assert len(each.sound[0]) == len(answer.sound[0])


# A fake for a device that no test machine has


@contextmanager
def fake_loudspeaker(
    rate: int,
    device: str | None,
    instead: str,
    *,
    played: list[np.ndarray],
    after: int,
    fault: Any,
) -> Iterator[Callable[[np.ndarray], None]]:
    """A loudspeaker that plays `after` pieces, at most, and then raises `fault`."""

    def play(samples: np.ndarray) -> None:
        if len(played) >= after:
            raise fault
        played.append(samples)

    yield play
    if len(played) < after:
        raise fault


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], list[np.ndarray]]:
    """Lets the next answers' loudspeaker raise something after so many pieces; gives these."""

    def arrange(after: int, fault: BaseException) -> list[np.ndarray]:
        played: list[np.ndarray] = []
        loudspeaker = partial(fake_loudspeaker, played=played, after=after, fault=fault)
        monkeypatch.setattr("lfm_cli.sound.loudspeaker", loudspeaker)
        return played

    return arrange


# Asking


def test_a_spoken_question_is_answered_in_words_and_sound(
    nano: Engine, capsys: pytest.CaptureFixture[str]
):
    session = silent(nano)
    answer = session.ask([heard(SPEECH)])
    assert (answer.text, answer.complete) == (ANSWER, True)
    assert answer.sound is not None
    samples, rate = answer.sound
    assert rate == nano.sample_rate
    assert answer.seconds == len(samples) / rate
    assert 1.0 < answer.seconds < 10.0
    assert np.abs(samples).max() > 0.01
    assert capsys.readouterr() == (f"{ANSWER}\n", "")


def test_an_answer_begun_ahead_is_the_same_and_kept(
    nano: Engine, capsys: pytest.CaptureFixture[str]
):
    plain, session = silent(nano, 1), silent(nano, 1)
    session.save("a")
    with session.ahead() as ahead:
        for guess in (OTHER_SPEECH, SPEECH):
            ahead.guess(heard(guess))
            for _ in range(9):
                assert ahead.step()
        assert session.asked == 0 and capsys.readouterr().out == ""
        answer = session.ask([heard(SPEECH)], ahead)
    assert capsys.readouterr().out == f"{ANSWER}\n"
    expected = plain.ask([heard(SPEECH)])
    assert (answer.text, answer.complete) == (expected.text, True)
    assert answer.sound and expected.sound
    assert np.array_equal(answer.sound[0], expected.sound[0])
    is_kept(session, "a")
    assert session.ask([heard(OTHER_SPEECH)]).text == plain.ask([heard(OTHER_SPEECH)]).text
    is_kept(session, "a")


@pytest.mark.parametrize(
    "parts", [["hello"], ["what is it?", heard(SPEECH)], [heard(SPEECH), "what is it?"]]
)
def test_words_and_sound_can_be_asked_in_any_order(
    brief: Brief, capsys: pytest.CaptureFixture[str], parts: list[Part]
):
    session = silent(brief)
    answer = session.ask(parts)
    assert answer.text.strip()
    assert not answer.complete
    assert remembered(session)[0].said == tuple(parts)
    assert len(remembered(session)[0].answer) == LIMIT
    assert capsys.readouterr().out == printable(answer.text) + "\n"


def test_an_answer_does_not_steer_the_terminal(brief: Brief, capsys: pytest.CaptureFixture[str]):
    silent(brief)._print("one\x1b[2J\a two\r\nthree\u202e\x9b31m")
    assert capsys.readouterr().out == "one[2J two\nthree31m"


def test_a_quiet_session_prints_nothing(brief: Brief, capsys: pytest.CaptureFixture[str]):
    assert silent(brief, quiet=True).ask(["hello"]).text
    assert capsys.readouterr() == ("", "")


def test_an_answer_without_words_leaves_no_empty_line(
    brief: Brief, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("test_session.LIMIT", 0)
    answer = silent(brief).ask(["hello"])
    assert (answer.text, answer.sound, answer.complete) == ("", None, False)
    assert answer.seconds == 0.0
    assert capsys.readouterr().out == ""


def test_the_loudspeaker_hears_what_the_answer_is(
    nano: Engine, faulty: Callable[..., list[np.ndarray]]
):
    played = faulty(10**6, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):  # at the end, where all has been played
        Session(nano, None, 1).ask([heard(SPEECH)])
    quiet = silent(nano, 1).ask([heard(SPEECH)])
    assert quiet.sound is not None
    assert np.array_equal(np.concatenate(played), quiet.sound[0])


def test_the_system_prompt_is_what_the_model_is_told(brief: Brief):
    usual, own = silent(brief).ask(["hello"]), Session(brief, "Be brief.", None, False)
    assert own.ask(["hello"]).text != usual.text
    by_default = Session(brief, brief.config.prompts.chat, None, False)
    assert by_default.ask(["hello"]).text == usual.text


@pytest.mark.parametrize("parts", [[], [""], ["  ", "\n"]])
def test_an_empty_question_changes_nothing(brief: Brief, parts: list[Part]):
    session = silent(brief)
    session.save("a")
    session.ask(["hello"])
    position = session._chat.cursor.position  # type: ignore[attr-defined]
    with pytest.raises(RequestError, match="empty"):
        session.ask(parts)
    assert session._chat.cursor.position == position  # type: ignore[attr-defined]
    is_kept(session, "a")


def test_a_question_too_long_for_the_context_changes_nothing(brief: Brief):
    brief.context = 120
    session = silent(brief)
    session.save("a")
    session.ask(["hello"])
    with pytest.raises(ContextError, match="start a new one"):
        session.ask(["word " * 200])
    session.ask(["go on"])
    is_kept(session, "a")


def test_an_answer_that_meets_the_end_of_the_context_is_kept_and_said_to_be_cut(brief: Brief):
    brief.context = LIMIT
    session = silent(brief)
    session.save("a")
    answer = session.ask(["hello"])
    assert not answer.complete
    assert 0 < len(remembered(session)[0].answer) < LIMIT
    is_kept(session, "a")
    with pytest.raises(ContextError, match="start a new one"):
        session.ask(["go on"])
    is_kept(session, "a")


# Keeping


@pytest.mark.parametrize("exchanges", [0, 1, 2])
def test_a_conversation_is_kept_from_its_beginning(brief: Brief, exchanges: int):
    questions: list[list[Part]] = [["hello"], [heard(SPEECH)], ["and this?", heard(OTHER_SPEECH)]]
    session = silent(brief)
    for number, parts in enumerate(questions):
        if number == exchanges:
            session.save("a")
        session.ask(parts)
    is_kept(session, "a")
    saved, kept = conversations.load("a")
    assert (saved.model, saved.system, saved.exchanges) == (brief.name, "", 3)
    assert kept[0].sound is not None
    assert session.name == "a"


def test_a_name_is_taken_with_the_first_answer(brief: Brief):
    """So that a question that cannot be asked does not take it."""
    session = silent(brief)
    session.save("a")
    assert conversations.listed() == []
    with pytest.raises(RequestError):
        session.ask([" "])
    assert conversations.listed() == []
    session.ask(["hello"])
    is_kept(session, "a")


def test_nothing_is_kept_that_was_not_asked_for(brief: Brief, home: Path):
    silent(brief).ask(["hello"])
    assert list(home.iterdir()) == []


def test_a_name_that_is_taken_or_none_leaves_the_session_as_it_was(brief: Brief):
    session = silent(brief)
    session.save("a")
    session.ask(["hello"])
    for name in ("a", "", "b/c"):
        with pytest.raises(RequestError):
            session.save(name)
        assert session.name == "a"
    session.ask(["go on"])
    is_kept(session, "a")


def test_a_second_name_keeps_a_second_conversation_from_the_beginning(brief: Brief):
    session = silent(brief)
    session.save("a")
    session.ask(["hello"])
    session.save("b")
    session.ask(["go on"])
    is_kept(session, "b")
    assert conversations.find("a").exchanges == 1


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_a_conversation_goes_on_as_if_it_had_not_ended(engines: dict[str, Engine], name: str):
    """Greedy in words and sound, so that nothing but what is remembered decides."""
    backend = Brief(engines[name])
    unbroken = silent(backend)
    unbroken.save("a")
    unbroken.ask(["what is it?", heard(SPEECH)])
    unbroken.ask(["and now?"])
    resumed = silent(backend)
    resumed.resume("a")
    assert resumed.name == "a"
    one, other = resumed.ask([heard(OTHER_SPEECH)]), unbroken.ask([heard(OTHER_SPEECH)])
    assert remembered(resumed)[-1].answer == remembered(unbroken)[-1].answer
    assert one.text == other.text
    assert one.sound and other.sound
    assert np.array_equal(one.sound[0], other.sound[0])


def test_the_system_prompt_is_taken_up_again(brief: Brief):
    own = Session(brief, "Be brief.", None, False)
    own.save("a")
    own.ask(["hello"])
    resumed = silent(brief)
    resumed.resume("a")
    assert resumed.ask(["go on"]).text == own.ask(["go on"]).text
    resumed.reset()
    own.reset()
    assert resumed.ask(["hello"]).text == own.ask(["hello"]).text


def test_what_comes_after_it_was_taken_up_again_is_kept_too(brief: Brief):
    first = silent(brief)
    first.save("a")
    first.ask(["hello"])
    for question in ("go on", "and then?"):
        resumed = silent(brief)
        resumed.resume("a")
        resumed.ask([question])
        is_kept(resumed, "a")
    assert conversations.find("a").exchanges == 3


def test_a_resumed_conversation_can_be_kept_under_another_name_too(brief: Brief):
    first = silent(brief)
    first.save("a")
    first.ask([heard(SPEECH)])
    branch = silent(brief)
    branch.resume("a")
    branch.save("b")
    branch.ask(["go on"])
    is_kept(branch, "b")
    is_kept(first, "a")


def test_the_same_seed_gives_the_same_conversation(engines: dict[str, Engine]):
    answers: list[tuple[Exchange, ...]] = []
    for seed in (3, 3, 4):
        session = silent(Brief(engines["v1"], CHAT_VOICE), seed)
        session.ask(["hello"])
        session.ask(["go on"])
        answers.append(remembered(session))
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_the_same_seed_takes_a_conversation_up_the_same_way(engines: dict[str, Engine]):
    backend = Brief(engines["v1"], CHAT_VOICE)
    first = silent(backend, 3)
    first.save("a")
    first.ask(["hello"])
    last: list[Exchange] = []
    for seed in (5, 5, 6):
        resumed = silent(backend, seed)
        resumed.resume("a")
        resumed.name = None  # so that each begins at the same place
        resumed.ask(["go on"])
        last.append(remembered(resumed)[-1])
    assert last[0] == last[1]
    assert last[0] != last[2]


def test_with_its_seed_a_conversation_goes_on_as_if_it_had_not_ended(engines: dict[str, Engine]):
    backend = Brief(engines["v1"], CHAT_VOICE)
    unbroken = silent(backend, 3)
    unbroken.save("a")
    unbroken.ask(["hello"])
    resumed = silent(backend, 3)
    resumed.resume("a")
    resumed.ask(["go on"])
    unbroken.name = None
    unbroken.ask(["go on"])
    assert remembered(resumed)[-1] == remembered(unbroken)[-1]


def test_a_reset_forgets_what_was_said_and_keeps_nothing_more(brief: Brief):
    session, fresh = silent(brief), silent(brief)
    session.save("a")
    session.ask(["hello"])
    session.reset()
    assert session.name is None
    assert session.ask(["and now?"]).text == fresh.ask(["and now?"]).text
    assert remembered(session) == remembered(fresh)
    assert conversations.find("a").exchanges == 1
    session.save("b")
    is_kept(session, "b")


# Another model


def test_another_model_does_not_take_up_a_conversation(brief: Brief, nano: Engine):
    first = silent(nano)
    first.save("a")
    first.ask([heard(SPEECH)])
    other = silent(brief)
    with pytest.raises(RequestError) as caught:
        other.resume("a")
    assert str(caught.value) == (
        f"'a' was held with the model {nano.name}, this is {brief.name}: --model {nano.name} goes "
        "on with it"
    )
    assert other.name is None
    assert remembered(other) == ()
    other.ask(["hello"])
    assert conversations.find("a").exchanges == 1


@pytest.mark.parametrize("model", ["nano", "installed", "a folder"])
def test_the_model_that_a_refusal_names_can_be_found(
    engines: dict[str, Engine], converted: dict[str, Path], home: Path, model: str
):
    name = {"nano": "nano", "installed": "mine", "a folder": str(converted["v1"])}[model]
    if model == "installed":
        shutil.copytree(converted["v1"], home / "models" / "mine")
    first = silent(opened(name))
    first.save("a")
    first.ask([heard(SPEECH)])
    with pytest.raises(RequestError) as caught:
        silent(Brief(engines["v25"])).resume("a")
    named = re.search(r"--model (\S+)", str(caught.value))
    assert named
    again = silent(opened(named[1]))
    again.resume("a")
    assert len(remembered(again)) == 1


def opened(model: str) -> Engine:
    """As the command does it, with short answers."""
    found = open_backend(model, daemon=False)
    assert isinstance(found, Engine)
    return Brief(found)


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
        monkeypatch.setattr("test_session.LIMIT", limit)
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


# Into a file


def test_an_answer_goes_into_a_file(nano: Engine, tmp_path: Path):
    path = tmp_path / "a.wav"
    answer = Session(nano, None, None, output=path).ask([heard(SPEECH)])
    samples, rate = soundfile.read(path, dtype="float32")
    assert answer.sound is not None
    assert rate == answer.sound[1]
    # 16 bits are written as multiples of 1/32767 and read as ones of 1/32768.
    expected = np.clip(answer.sound[0], -1, 1)
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1.5 / 32768)


def test_an_interrupted_answer_leaves_its_beginning_in_the_file(
    brief: Brief, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.wav"
    session = Session(brief, None, None, output=path)
    reply, pieces = session._chat.reply, 0

    def interrupted(*parts: Part) -> Iterator[Any]:
        nonlocal pieces
        for item in reply(*parts):
            if hasattr(item, "samples"):
                pieces += 1
            if pieces > 3:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(session._chat, "reply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.ask([heard(SPEECH)])
    ended = session._answers[0]
    assert ended.sound is not None
    assert 0 < soundfile.info(path).frames == len(ended.sound[0])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("parts", [[""], ["word " * 40_000]])
def test_a_question_that_cannot_be_asked_leaves_a_file_as_it_was(
    brief: Brief, tmp_path: Path, parts: list[Part]
):
    path = tmp_path / "a.wav"
    path.write_bytes(b"before")
    with pytest.raises(LfmError):
        Session(brief, None, None, output=path).ask(parts)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_answer_without_sound_leaves_a_file_as_it_was(nano: Engine, tmp_path: Path):
    """Typed questions are nothing that the embedded checkpoint knows."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"before")
    answer = Session(nano, None, None, output=path).ask(["hello there"])
    assert answer.sound is None
    assert path.read_bytes() == b"before"


# What a line means


def test_a_recording_is_heard_as_the_model_hears_it(tmp_path: Path):
    samples = np.random.default_rng(0).normal(0, 0.1, (44_100, 2)).astype(np.float32)
    path = tmp_path / "a.flac"
    soundfile.write(path, samples, 44_100)
    part = heard(path)
    assert isinstance(part, tuple)
    assert part[1] == LISTENING_RATE == 16_000
    assert (part[0].dtype, part[0].shape) == (np.float32, (16_000,))
    assert np.array_equal(part[0], read_audio(path, 16_000))


@pytest.mark.parametrize(
    "words", ["hello", "what is in a.wav", "and in missing file.wav?", "1.5", "...", "hello\0", "."]
)
def test_words_are_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str):
    monkeypatch.chdir(tmp_path)
    assert as_part(words) is None


@pytest.mark.parametrize("name", ["a.wav", "A.WAV", "no ending", "with spaces.wav", "ä ö.wav"])
def test_the_name_of_a_recording_is_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    (tmp_path / name).write_bytes(SPEECH.read_bytes())
    monkeypatch.chdir(tmp_path)
    for word in (name, f"./{name}", str(tmp_path / name)):
        part = as_part(word)
        assert isinstance(part, tuple)
        assert part[1] == LISTENING_RATE


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("missing.wav", None, "no such file"),
        ("missing.M4A", None, "no such file"),
        ("empty.wav", b"", "is empty"),
        ("words.wav", b"hello", "not a sound file"),
        ("words.txt", b"hello", "not a sound file"),
        ("some words.wav", b"hello", "not a sound file"),
    ],
)
def test_the_name_of_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, part: str
):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=part) as caught:
        as_part(name)
    assert name in str(caught.value)


def test_a_folder_by_the_name_of_a_recording_is_told(tmp_path: Path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(AudioError, match="is a folder"):
        as_part(str(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    "words", ["what is in " * 30 + "a.wav", "日" * 100], ids=["a name at the end", "wide letters"]
)
def test_words_too_long_for_a_name_are_words(words: str):
    assert as_part(words) is None


@pytest.mark.parametrize("form", ["{0}/my\\ file.wav", "'{0}/my file.wav'", '"{0}/my file.wav"'])
def test_a_name_as_a_terminal_writes_a_dropped_file_is_that_file(tmp_path: Path, form: str):
    """Dragged from the Finder, a file's name comes with backslashes; other terminals quote it."""
    (tmp_path / "my file.wav").write_bytes(SPEECH.read_bytes())
    assert isinstance(as_part(form.format(tmp_path)), tuple)


def test_home_is_known_inside_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.wav").write_bytes(SPEECH.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert isinstance(as_part("~/a.wav"), tuple)
