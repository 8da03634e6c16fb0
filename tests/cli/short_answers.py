"""Sessions whose answers are short: what the model remembers of them, and what is kept."""

from functools import partial
from typing import Any

import numpy as np

from lfm2audio_mlx.conversation import Chat
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.results import Exchange
from lfm2audio_mlx.sampling import GREEDY, Sampling
from lfm_cli import conversations
from lfm_cli.session import Session

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
