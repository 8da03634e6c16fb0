"""Which state of the worker's a conversation goes on from.

Clients of OpenAI's API send all that was said with each question. A digest of it finds the state
in which the model was after the answer before, so that nothing is heard twice.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Asked", "Thread", "Threads"]

KNOWN = 256
"""Answers of which the codes and the state's name are known."""


@dataclass(frozen=True)
class Asked:
    """A question, and the answer that it got if it is an earlier one: what was spoken under the
    name `audio`, or only words."""

    parts: list[dict[str, Any]]
    """As `lfm_daemon.values` writes them."""
    digest: str
    """Of the parts, with their sounds."""
    text: str | None = None
    audio: str | None = None


@dataclass
class Thread:
    """A conversation up to its last question."""

    settings: dict[str, Any]
    """All that makes answers differ: model, system prompt, mode, seed, temperature."""
    earlier: list[Asked] = field(default_factory=list[Asked])

    def digest(self, earlier: Sequence[Asked]) -> str:
        """Of the settings and some questions with their answers."""
        said = [(each.digest, each.audio or each.text) for each in earlier]
        return hashlib.sha256(
            json.dumps([self.settings, said], sort_keys=True).encode()
        ).hexdigest()


class Threads:
    """The conversations that can be gone on with."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._answers: OrderedDict[str, list[Any]] = OrderedDict()

    def state(self, thread: Thread) -> tuple[str | None, int | None]:
        """The name of the state in which the model was after the last answer, and that answer's
        length; none, if it is not known."""
        digest = thread.digest(thread.earlier)
        if digest not in self._states:
            return None, None
        self._states.move_to_end(digest)
        return self._states[digest]

    def answer(self, audio: str) -> list[Any] | None:
        """The tokens and codes of an answer that was spoken."""
        if audio in self._answers:
            self._answers.move_to_end(audio)
        return self._answers.get(audio)

    def remember(
        self, thread: Thread, asked: Asked, state: str, answer: list[Any], text: str, audio: str
    ) -> None:
        """An answer was given; clients may send back what was spoken, or its words."""
        for kind in (
            Asked(asked.parts, asked.digest, audio=audio),
            Asked(asked.parts, asked.digest, text=text),
        ):
            self._states[thread.digest([*thread.earlier, kind])] = state, len(answer)
        self._answers[audio] = answer
        while len(self._answers) > KNOWN:
            self._answers.popitem(last=False)
        while len(self._states) > 2 * KNOWN:
            self._states.popitem(last=False)
