"""A conversation of many turns; each goes on from the caches of the last."""

import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

from lfm2audio_mlx.audio.files import AudioSource
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.decode import AudioFrame, Event, TextToken
from lfm2audio_mlx.generation.prompt import (
    AudioClip,
    AudioCodes,
    Segment,
    TextIds,
    close_turn,
    open_turn,
    turn,
)
from lfm2audio_mlx.generation.render import render
from lfm2audio_mlx.generation.voice import Voice
from lfm2audio_mlx.results import EndOfTurn, Exchange, Part, Sound, Words
from lfm2audio_mlx.text.tokenizer import Tokenizer

__all__ = ["Chat"]

Answer = Callable[[Cursor, int, int, Voice | None], Generator[Event, None, None]]
"""Generates the answer of a number (from 0) from a cursor, of at most so many tokens, and speaks
it in a voice if there is one."""


class Listener(Protocol):
    """What a conversation needs of the engine."""

    tokenizer: Tokenizer

    def listen(self, audio: AudioSource) -> AudioClip: ...

    def voice(self) -> Voice: ...


class Chat:
    """A conversation from a cursor behind its system prompt. `exchanges` is what has been said so
    far, and enough to take it up again."""

    def __init__(
        self,
        engine: Listener,
        cursor: Cursor,
        answer: Answer,
        history: Sequence[Exchange] = (),
    ):
        self._engine, self._answer = engine, answer
        self._reply: Generator[Event, None, None] | None = None
        self._said: list[tuple[tuple[Part, ...], list[int | tuple[int, ...]]]] = []
        self.cursor = cursor
        for exchange in history:
            cursor.extend([*self._question(exchange.said), *_segments(exchange.answer)])
            self._said.append((exchange.said, list(exchange.answer)))

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All questions and answers, one that is still being given as far as it has come."""
        return tuple(Exchange(said, tuple(answer)) for said, answer in self._said)

    @property
    def answer(self) -> Sequence[int | tuple[int, ...]]:
        """The last answer, as far as it has come."""
        return self._said[-1][1]

    def fork(self) -> "Chat":
        """The same conversation, from here on its own; neither hears what the other is told."""
        other = copy.copy(self)
        other.cursor, other._reply = self.cursor.copy(), None
        other._said = [(said, list(answer)) for said, answer in self._said]
        return other

    def reply(self, *parts: Part, max_tokens: int = 1024) -> Generator[Words | Sound | EndOfTurn]:
        """Say something (words, sound, or both in any order) and stream the answer.

        The generator may be left at any point: what came so far is what the model remembers
        having said. Asking again ends an answer that is still being given.

        Raises (before any work):
            RequestError: nothing was said.
            AudioError: a recording is at fault.
            ContextError: the conversation has become too long.
        """
        voice = self._engine.voice()
        events = self.events(*parts, max_tokens=max_tokens, voice=voice)
        return render(events, self._engine.tokenizer, voice)

    def events(
        self, *parts: Part, max_tokens: int = 1024, voice: Voice | None = None
    ) -> Iterator[Event]:
        """The same as tokens and frames of codes; these become sound only in a `voice`."""
        if not any(not isinstance(part, str) or part.strip() for part in parts):
            raise RequestError("there is nothing to answer: the question is empty")
        segments = self._question(parts)
        self.cursor.check(segments)
        if self._reply:
            self._reply.close()
        self.cursor.extend(segments)
        answer: list[int | tuple[int, ...]] = []
        self._said.append((parts, answer))
        self._reply = _remembered(
            self._answer(self.cursor, len(self._said) - 1, max_tokens, voice), answer
        )
        return self._reply

    def _question(self, parts: Sequence[Part]) -> list[Segment]:
        """Segments of what is said next; they end the answer before, wherever it stands."""
        tokens = self._engine.tokenizer
        heard = [part if isinstance(part, str) else self._engine.listen(part) for part in parts]
        before = [close_turn(tokens)] if self._said else []
        return [*before, *turn(tokens, "user", heard), open_turn(tokens, "assistant")]


def _remembered(
    events: Generator[Event, None, None], answer: list[int | tuple[int, ...]]
) -> Generator[Event, None, None]:
    """The events, written down as they pass."""
    try:
        for event in events:
            if isinstance(event, TextToken):
                answer.append(event.id)
            elif isinstance(event, AudioFrame):
                answer.append(event.codes)
            yield event
    finally:
        events.close()


def _segments(answer: Sequence[int | tuple[int, ...]]) -> list[Segment]:
    """An answer that was given, as the model saw it."""
    return [TextIds((t,)) if isinstance(t, int) else AudioCodes((t,)) for t in answer]
