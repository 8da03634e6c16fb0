"""What has been said in a session, item by item, and how it is told to the worker."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lfm2audio_mlx.tokens import END_OF_AUDIO
from lfm_daemon.faults import Fault

__all__ = [
    "Answer",
    "Asked",
    "Conversation",
    "Item",
    "Note",
    "Question",
    "Sound",
    "item_json",
    "new_id",
]

FRAME_MS = 80
"""Of speech in a frame of codes: both codecs have 12.5 in a second."""
ITEMS, CHARACTERS, SECONDS = 2_000, 1_000_000, 3_600.0
"""Of a session; the model's context holds less than any of these."""


def new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(10)}"


@dataclass(frozen=True)
class Sound:
    """Bare samples in a file."""

    path: str
    rate: int
    seconds: float

    @property
    def source(self) -> dict[str, Any]:
        """As a job's request names it."""
        return {"path": self.path, "rate": self.rate}


@dataclass
class Note:
    """An instruction, wherever it is given."""

    text: str
    id: str = field(default_factory=lambda: new_id("item"))

    def content(self) -> list[dict[str, Any]]:
        return [{"type": "input_text", "text": self.text}]


@dataclass
class Question:
    """What the user said, in words or sounds."""

    parts: list[str | Sound]
    id: str = field(default_factory=lambda: new_id("item"))
    transcript: str | None = None

    @property
    def text(self) -> str:
        return "".join(part for part in self.parts if isinstance(part, str))

    def content(self) -> list[dict[str, Any]]:
        return [
            {"type": "input_text", "text": part}
            if isinstance(part, str)
            else {"type": "input_audio", "transcript": self.transcript}
            for part in self.parts
        ]


@dataclass
class Answer:
    """What the model said, or is said to have said: then there is only a text."""

    text: str = ""
    spoken: bool = False
    tokens: list[Any] | None = None
    """Of each word its token, of each frame of speech its codes."""
    milliseconds: int = 0
    """Of speech that the client was sent."""
    status: str = "completed"
    id: str = field(default_factory=lambda: new_id("item"))

    def content(self) -> list[dict[str, Any]]:
        if self.spoken:
            return [{"type": "output_audio", "transcript": self.text}]
        return [{"type": "output_text", "text": self.text}]

    def truncate(self, milliseconds: int) -> None:
        """Only the beginning was heard. Nobody knows which of its words that are, so there is no
        text any more.

        Raises:
            Fault: there is no more of it than that anyway.
        """
        if not self.spoken or self.tokens is None:
            what = "item_id: only answers that were spoken can be truncated"
            raise Fault(400, "invalid_value", what, parameter="item_id")
        if milliseconds > self.milliseconds:
            what = f"audio_end_ms: the answer has only {self.milliseconds} ms"
            raise Fault(400, "invalid_value", what, parameter="audio_end_ms")
        self.tokens = _heard(self.tokens, round(milliseconds / FRAME_MS))
        self.text, self.milliseconds = "", milliseconds


def _heard(tokens: list[Any], frames: int) -> list[Any]:
    """An answer up to so many frames of speech, with the words that led to them."""
    ends = [
        at + 1
        for at, item in enumerate(tokens)
        if not isinstance(item, int) and item[0] != END_OF_AUDIO
    ]
    if frames >= len(ends):
        return tokens
    return tokens[: ends[frames - 1]] if frames else []


Item: TypeAlias = Note | Question | Answer


def item_json(item: Item) -> dict[str, Any]:
    """The item as events show it; sound is left out."""
    role = {Note: "system", Question: "user", Answer: "assistant"}[type(item)]
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "message",
        "status": item.status if isinstance(item, Answer) else "completed",
        "role": role,
        "content": item.content(),
    }


@dataclass(frozen=True)
class Asked:
    """A conversation as the worker takes it: `lfm_daemon.jobs` has the options' meanings."""

    notes: list[str]
    history: list[dict[str, Any]]
    parts: list[dict[str, Any]]
    sounds: list[dict[str, Any]]

    def answered(self, tokens: list[Any]) -> Asked:
        """The same after an answer."""
        exchange = {"said": self.parts, "answer": tokens}
        return Asked(self.notes, [*self.history, exchange], [], self.sounds)

    def follows(self, other: Asked) -> bool:
        """Whether `other` is all of this but its last question."""
        sounds = self.sounds[: len(other.sounds)]
        return self.history == other.history and sounds == other.sounds


class Conversation:
    """Items in order."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._seconds = 0.0

    def find(self, id: str, code: str = "item_not_found") -> Item:
        """The item of that name.

        Raises:
            Fault: there is none.
        """
        for item in self.items:
            if item.id == id:
                return item
        raise Fault(404, code, "item_id: there is no such item", parameter="item_id")

    @property
    def last(self) -> str | None:
        return self.items[-1].id if self.items else None

    def add(self, item: Item, after: str | None) -> str | None:
        """Put an item after another one, or first (None); the name of the one before.

        Raises:
            Fault: there is no such item, or already one of this name, or there are too many.
        """
        if any(known.id == item.id for known in self.items):
            raise Fault(400, "invalid_value", "item.id: there is one already", parameter="item.id")
        at = self.items.index(self.find(after)) + 1 if after else 0
        if len(self.items) >= ITEMS:
            raise Fault(400, "conversation_full", f"a conversation has {ITEMS:,} items at most")
        if item.text and sum(len(known.text) for known in self.items) + len(item.text) > CHARACTERS:
            what = f"a conversation has {CHARACTERS:,} characters at most"
            raise Fault(400, "conversation_full", what)
        self.items.insert(at, item)
        return after

    def room(self, seconds: float) -> None:
        """Sound is to be kept, which stays until the session ends.

        Raises:
            Fault: it is too much.
        """
        if self._seconds + seconds > SECONDS:
            what = f"a session keeps {SECONDS:,.0f} s of sound: begin a new one"
            raise Fault(400, "conversation_full", what)
        self._seconds += seconds

    def asked(self, more: Question | None = None) -> Asked:
        """All of it, and what is asked at its end, as if `more` were its last item.

        Questions without an answer between them are one. Answers without a question between them
        are one, too; before the first question there can be none for the model.

        Raises:
            Fault: nothing is asked.
        """
        items = [*self.items, more] if more else self.items
        notes = [item.text for item in items if isinstance(item, Note)]
        sounds: list[dict[str, Any]] = []
        history: list[dict[str, Any]] = []
        said: list[dict[str, Any]] = []
        for asked, answers in _exchanges(items):
            said = []
            for part in asked:
                if isinstance(part, Sound):
                    said.append({"sound": len(sounds)})
                    sounds.append(part.source)
                else:
                    said.append({"text": part})
            if answers:
                history.append({"said": said, **_told(answers)})
                said = []
        if not said:
            what = "nothing is asked that has no answer yet: send a user's message first"
            raise Fault(400, "nothing_to_answer", what)
        return Asked(notes, history, said, sounds)


def _exchanges(items: list[Item]) -> Iterator[tuple[list[str | Sound], list[Answer]]]:
    """Questions with their answers, the last one maybe without."""
    asked: list[str | Sound] = []
    answers: list[Answer] = []
    for item in items:
        if isinstance(item, Question):
            if answers:
                yield asked, answers
                asked, answers = [], []
            asked = [*asked, *item.parts]
        elif isinstance(item, Answer) and asked:
            answers.append(item)
    yield asked, answers


def _told(answers: list[Answer]) -> dict[str, Any]:
    """Answers as one; of those that the model gave, exactly what it was."""
    if len(answers) == 1 and answers[0].tokens is not None:
        return {"answer": answers[0].tokens}
    known = [answer.tokens for answer in answers if answer.tokens is not None]
    if len(known) == len(answers):
        return {"answer": [item for tokens in known for item in tokens]}
    return {"text": " ".join(answer.text for answer in answers if answer.text)}
