"""What the engine gives: plain values without MLX, so that they can cross a socket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

__all__ = ["EndOfTurn", "Exchange", "Part", "Progress", "Sound", "Span", "Transcript", "Words"]


@dataclass(frozen=True)
class Span:
    """What was said from `start` to `end`, in seconds from the beginning of the recording.

    `complete` is False when a limit cut the text off; `loop` is True when the model had begun to
    repeat itself and the repetitions were cut.
    """

    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    complete: bool = True
    loop: bool = False


@dataclass(frozen=True)
class Progress:
    """How much of a recording has been heard, and how long it is, in seconds."""

    done: float
    duration: float


@dataclass(frozen=True)
class Transcript:
    """What was heard in `duration` seconds, span by span, in order."""

    duration: float
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, heard: Iterable[Span | Progress]) -> Transcript:
        """All that was heard, as it came."""
        spans: list[Span] = []
        duration = 0.0
        for item in heard:
            if isinstance(item, Progress):
                duration = item.duration
            else:
                spans.append(item)
        return cls(duration, tuple(spans))

    @property
    def text(self) -> str:
        """All that was said, in one line."""
        return " ".join(span.text for span in self.spans if span.text)

    @property
    def complete(self) -> bool:
        """No span was cut off."""
        return all(span.complete for span in self.spans)


@dataclass(frozen=True)
class Words:
    """Text as it comes, never a part of a character; may be empty for a steering token."""

    text: str
    token: int


@dataclass(frozen=True)
class Sound:
    """Speech as it comes: mono float32 samples [n], n not fixed; loud speech may pass 1.

    Of a text, also the sentence that this belongs to: `text`, number `sentence` (from 0) of
    `sentences`.
    """

    samples: np.ndarray
    sample_rate: int
    sentence: int = 0
    sentences: int = 1
    text: str = ""


@dataclass(frozen=True)
class EndOfTurn:
    """Why generation stopped: the model ended its turn, or a limit did."""

    reason: Literal["end", "length", "context"]


SCHEMA = "lfm/1"
"""Name and version of the JSON that is made of these (docs/schema.json); another number when a
field changes its meaning."""

Part: TypeAlias = "str | Path | bytes | tuple[np.ndarray, int]"
"""A part of what is said to the model: a `str` is words, anything else is sound (a file, a file's
bytes, or samples [n] with their rate)."""


@dataclass(frozen=True)
class Exchange:
    """A question and its answer: of each word its token, of each frame of speech its codes."""

    said: tuple[Part, ...]
    answer: tuple[int | tuple[int, ...], ...]
