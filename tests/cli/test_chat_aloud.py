"""`lfm chat` with a microphone and a loudspeaker."""

import time
from pathlib import Path

import numpy as np
import pytest
from chatting import AT_ONCE, PROMPT, SECONDS, Run, Terminal, leave, shown, turns
from pulse import SPEAKER_RATE, Pulse
from questions import ANSWER, OTHER_SPEECH, SPEECH

from lfm2audio_mlx.audio.files import read_audio
from lfm_cli import conversations


def spoken(path: Path) -> np.ndarray:
    """A recording as somebody says it into a microphone: not at once, and then there is a pause."""
    silence = np.zeros(16_000, np.float32)
    return np.concatenate([silence[:8000], read_audio(path, 16_000), silence])


def seconds_of_sound(samples: np.ndarray) -> float:
    """How long it is not silent, gaps and moments of quiet left out."""
    return float((np.abs(samples) > 1e-3).sum() / SPEAKER_RATE)


@pytest.mark.parametrize("line", ["/record", ""])
def test_a_question_is_spoken_and_the_answer_heard(
    terminal: Terminal, lfm: Run, pulse: Pulse, line: str
):
    child = terminal("chat", "--save", "a", **pulse.environment)
    child.expect_exact("> ")
    with pulse.heard() as so_far:
        child.sendline(line)
        child.expect_exact("listening...")
        pulse.speak(spoken(SPEECH))
        child.expect_exact(ANSWER)
        child.expect_exact(PROMPT)
        time.sleep(0.3)  # the last of it is still on its way
        heard = so_far()
    leave(child)
    ((kept_exchange),) = conversations.load("a")[1]
    assert kept_exchange.text == ANSWER
    ((_, asked, _, _),) = turns("a")
    assert asked == pytest.approx(SECONDS, abs=1.0)  # silence around it may be cut or kept
    assert kept_exchange.sound is not None
    samples, rate = kept_exchange.sound
    assert rate == SPEAKER_RATE
    # Gaps, which a busy machine makes, do not count; what is cut in their midst rings a little.
    assert seconds_of_sound(heard) == pytest.approx(seconds_of_sound(samples), rel=0.1)


def test_who_goes_on_after_a_pause_asks_one_question(terminal: Terminal, pulse: Pulse):
    """In the pause its answer is begun, of which nothing is seen."""
    child = terminal("chat", "--no-audio", "--save", "a", **pulse.environment)
    child.expect_exact("> ")
    child.sendline("/record")
    child.expect_exact("listening...")
    first, second = (read_audio(path, 16_000) for path in (SPEECH, OTHER_SPEECH))
    # With the quiet at the end of one and the beginning of the other, 0.48 s.
    pause, silence = np.zeros(1000, np.float32), np.zeros(16_000, np.float32)
    pulse.speak(np.concatenate([first, pause, second, silence]))
    child.expect_exact(PROMPT)
    leave(child)
    ((_, asked, answer, _),) = turns("a")
    whole = (len(first) + len(pause) + len(second)) / 16_000
    assert asked == pytest.approx(whole, abs=0.8)
    assert answer.strip() and (child.before or "").count(answer.strip()) <= 1


def test_ctrl_c_ends_a_recording_and_what_was_said_is_asked(terminal: Terminal, pulse: Pulse):
    child = terminal("chat", "--no-audio", **pulse.environment)
    child.expect_exact("> ")
    child.sendline("/record")
    child.expect_exact("listening...")
    time.sleep(0.55)
    child.sendintr()
    child.expect_exact("nobody spoke")
    child.expect_exact(PROMPT)
    child.sendline("/record")
    child.expect_exact("listening...")
    pulse.speak(spoken(SPEECH)[: -16_000 + 1600])  # without its pause
    time.sleep(0.3)
    child.sendintr()
    child.expect_exact(ANSWER)
    child.expect_exact(PROMPT)
    leave(child)


def test_ctrl_c_silences_the_loudspeaker(terminal: Terminal, pulse: Pulse):
    """The answer is made faster than it is heard, so most of it is still to come."""
    child = terminal("chat", **pulse.environment)
    child.expect_exact("> ")
    with pulse.heard() as so_far:
        child.sendline(str(SPEECH))
        deadline = time.monotonic() + 30
        while seconds_of_sound(so_far()) < 0.2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.sendintr()
        sent = time.monotonic()
        child.expect_exact(PROMPT)
        assert time.monotonic() - sent < AT_ONCE
        time.sleep(2.0)
        heard = so_far()
    leave(child)
    # The whole answer lasts for more than two.
    assert 0.0 < seconds_of_sound(heard) < 1.5


def test_a_voice_can_be_turned_off_and_on(terminal: Terminal, pulse: Pulse):
    child = terminal("chat", **pulse.environment)
    child.expect_exact("> ")
    shown(child, "/voice off")
    with pulse.heard() as so_far:
        assert ANSWER in shown(child, str(SPEECH))
        time.sleep(0.5)
        off = so_far()
    shown(child, "/voice on")
    with pulse.heard() as so_far:
        child.sendline(str(SPEECH))
        child.expect_exact(PROMPT)
        time.sleep(0.5)
        on = so_far()
    leave(child)
    assert seconds_of_sound(off) == 0.0
    assert seconds_of_sound(on) > 1.0
