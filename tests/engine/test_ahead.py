"""An answer begun before its question is certain: the same as one that is not, or none."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lfm2audio_mlx.ahead import ITEMS, Ahead
from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.conversation import Chat
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import AudioError
from lfm2audio_mlx.results import Part, Sound

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
RATE = 16_000


@pytest.fixture(scope="module")
def spoken() -> Part:
    return read_audio(RECORDINGS / "seen_04.wav", RATE), RATE


@pytest.fixture(scope="module")
def other() -> Part:
    return read_audio(RECORDINGS / "seen_10.flac", RATE), RATE


@pytest.fixture
def chat(nano: Engine) -> Chat:
    """In the midst of a conversation."""
    chat = nano.chat(seed=3)
    list(chat.reply("hello"))
    return chat


def told(items: Iterable[Any]) -> list[Any]:
    """An answer that can be compared."""
    return [item.samples.tobytes() if isinstance(item, Sound) else item for item in items]


def plainly(chat: Chat, *parts: Part) -> tuple[list[Any], Chat]:
    fork = chat.fork()
    return told(fork.reply(*parts)), fork


def unchanged(chat: Chat) -> bool:
    """Nothing was asked of it since "hello"; and it can still be."""
    return [each.said for each in chat.exchanges] == [("hello",)]


@pytest.mark.parametrize("steps", [0, 1, 9, 1000])
def test_a_guess_that_is_right_is_the_beginning_of_the_answer(chat: Chat, spoken: Part, steps: int):
    expected, plain = plainly(chat, spoken)
    ahead = Ahead(chat, 1000)
    for _ in range(steps):
        ahead.guess(spoken)
        ahead.step()
    begun = told(ahead.made)
    assert len(begun) == min(steps, len(expected)) and begun == expected[:steps]
    assert unchanged(chat)
    confirmed, reply = ahead.confirm(spoken)
    assert told(reply) == expected
    assert [each.answer for each in confirmed.exchanges] == [e.answer for e in plain.exchanges]
    assert told(confirmed.reply("go on")) == told(plain.reply("go on"))
    assert len(confirmed.exchanges) == 3


def test_a_guess_that_is_wrong_leaves_nothing(chat: Chat, spoken: Part, other: Part):
    expected, plain = plainly(chat, "hear this", other)
    position = chat.cursor.position
    ahead = Ahead(chat)
    ahead.guess("hear this", spoken)
    while ahead.step():
        pass
    ahead.forget()
    assert not ahead.made and not ahead.step()
    for question in (("hear", other), ("hear this", spoken)):
        ahead.guess(*question)
        assert ahead.step()
    assert unchanged(chat) and chat.cursor.position == position
    confirmed, reply = ahead.confirm("hear this", other)
    assert confirmed is chat
    assert told(reply) == expected
    assert chat.exchanges[1].answer == plain.exchanges[1].answer


def test_a_guess_is_the_same_if_its_samples_are(chat: Chat, spoken: Any):
    ahead = Ahead(chat)
    ahead.guess(spoken)
    assert ahead.step()
    ahead.guess((spoken[0].copy(), RATE))
    assert len(ahead.made) == 1
    for another in ((spoken[0], 8000), (spoken[0][1:], RATE), (spoken[0] * 0.5, RATE)):
        ahead.guess(another)
        assert not ahead.made
        ahead.guess(spoken)
        assert ahead.step()


def test_no_more_is_made_than_is_enough(chat: Chat, spoken: Part):
    ahead = Ahead(chat)
    assert not ahead.step()
    ahead.guess(spoken)
    steps = 0
    while ahead.step():
        steps += 1
    assert len(ahead.made) == steps == ITEMS
    assert any(isinstance(item, Sound) for item in ahead.made)


def test_a_guess_that_cannot_be_answered_is_told_when_it_is_certain(chat: Chat):
    click = (np.zeros(10, np.float32), RATE)
    ahead = Ahead(chat)
    ahead.guess(click)
    assert not ahead.step() and not ahead.step()
    with pytest.raises(AudioError, match="too short"):
        ahead.confirm(click)
    assert unchanged(chat)


def test_what_is_left_unconfirmed_is_given_up(chat: Chat, spoken: Part):
    with pytest.raises(KeyboardInterrupt), Ahead(chat) as ahead:
        ahead.guess(spoken)
        ahead.step()
        raise KeyboardInterrupt
    assert not ahead.made and unchanged(chat)
    expected, _ = plainly(chat, spoken)
    with Ahead(chat) as ahead:
        ahead.guess(spoken)
        ahead.step()
        _, reply = ahead.confirm(spoken)
    assert told(reply) == expected
