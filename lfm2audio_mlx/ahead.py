"""An answer that is begun before it is certain that the question has ended.

While the pause that ends a turn is still waited for, what was heard so far is probably all of it.
So it is asked already, of a copy of the conversation. If the speaker goes on, the copy is thrown
away; if not, what was computed meanwhile is the beginning of the answer, the same that asking
after the pause would have given.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from lfm2audio_mlx.errors import LfmError
from lfm2audio_mlx.results import EndOfTurn, Part, Sound, Words

__all__ = ["ITEMS", "Ahead", "Forkable", "Reply"]

ITEMS = 12
"""Words and pieces of sound that are made before anybody wants them. Six words go before the first
sound; half a second of that, and the rest is made faster than it is heard."""

Reply = Generator[Words | Sound | EndOfTurn]


class Forkable(Protocol):
    """A conversation that can be copied and asked; see `lfm2audio_mlx.conversation.Chat`."""

    def fork(self) -> Self: ...

    def reply(self, *parts: Part, max_tokens: int = 1024) -> Reply: ...


Conversation = TypeVar("Conversation", bound=Forkable)


@dataclass
class Guess(Generic[Conversation]):
    """What is asked of a copy of the conversation, and what has been made of the answer."""

    parts: tuple[Part, ...]
    chat: Conversation
    reply: Reply | None = None
    made: list[Words | Sound | EndOfTurn] = field(default_factory=list[Words | Sound | EndOfTurn])
    over: bool = False
    """There is no more to be made."""


class Ahead(Generic[Conversation]):
    """The next answer of `chat`, which itself is not asked before a question is certain.

    What it computes, it computes within `step` and the reply. As a context it ends with nothing
    begun that was not confirmed.
    """

    def __init__(self, chat: Conversation, most: int = ITEMS):
        self._chat, self._most = chat, most
        self._guess: Guess[Conversation] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    @property
    def made(self) -> Sequence[Words | Sound | EndOfTurn]:
        """What there is of the answer to the guess."""
        return self._guess.made if self._guess else ()

    def guess(self, *parts: Part) -> None:
        """This is probably the question; nothing changes if it was taken for that already."""
        if not self._guess or not _same(self._guess.parts, parts):
            self.forget()
            self._guess = Guess(parts, self._chat.fork())

    def step(self) -> bool:
        """Make the next word or piece of sound of its answer; False if there is nothing to do, or
        enough is done. A guess that cannot be answered is no fault yet: `confirm` tells."""
        guess = self._guess
        if not guess or guess.over or len(guess.made) >= self._most:
            return False
        try:
            guess.reply = guess.reply or guess.chat.reply(*guess.parts)
            guess.made.append(next(guess.reply))
        except StopIteration:
            guess.over = True
        except LfmError:
            guess.over, guess.reply = True, None
        return not guess.over

    def forget(self) -> None:
        """It was not the question, or is not yet."""
        guess, self._guess = self._guess, None
        if guess and guess.reply:
            guess.reply.close()

    def confirm(self, *parts: Part) -> tuple[Conversation, Reply]:
        """This is the question: the conversation to go on with, and the answer, which is begun
        afresh where the guess was another one. What was made of it is what the model remembers,
        though the reply may be left before all of that was taken.

        Raises:
            LfmError: see `reply` of the conversation.
        """
        guess = self._guess
        if not guess or not guess.reply or not _same(guess.parts, parts):
            self.forget()
            return self._chat, self._chat.reply(*parts)
        self._guess = None
        return guess.chat, _whole(guess.made, guess.reply)


def _whole(made: Iterable[Words | Sound | EndOfTurn], rest: Reply) -> Reply:
    with closing(rest):
        yield from made
        yield from rest


def _same(one: Sequence[Part], other: Sequence[Part]) -> bool:
    """Is the same said, in words and samples?"""
    return len(one) == len(other) and all(map(_alike, one, other))


def _alike(one: Part, other: Part) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        import numpy as np

        return one[1] == other[1] and np.array_equal(one[0], other[0])
    return one == other
