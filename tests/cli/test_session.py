"""A question is answered in words and sound, which may go into a file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from questions import ANSWER, OTHER_SPEECH, SPEECH
from short_answers import LIMIT, Brief, is_kept, remembered, silent

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import ContextError, LfmError, RequestError
from lfm2audio_mlx.results import Part
from lfm_cli.session import Session, heard
from lfm_cli.terminal import printable

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
    monkeypatch.setattr("short_answers.LIMIT", 0)
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


def test_an_answer_without_sound_leaves_a_file_as_it_was(
    nano: Engine, silence: Path, tmp_path: Path
):
    path = tmp_path / "a.wav"
    path.write_bytes(b"before")
    answer = Session(nano, None, None, output=path).ask([heard(silence)])
    assert answer.sound is None
    assert path.read_bytes() == b"before"
