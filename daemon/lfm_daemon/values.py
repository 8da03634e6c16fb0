"""What the engine takes and gives (`lfm2audio_mlx.results`), as frames and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from lfm2audio_mlx.results import EndOfTurn, Exchange, Part, Progress, Sound, Span, Words
from lfm_daemon.wire import Frame

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Item",
    "answer_from_json",
    "decode",
    "encode",
    "exchange_as_json",
    "parts_as_json",
    "parts_from_json",
    "sample_bytes",
    "samples_in",
    "samples_of",
]

Item: TypeAlias = Span | Progress | Words | Sound | EndOfTurn

KINDS: Mapping[str, type[Item]] = {
    "span": Span,
    "progress": Progress,
    "words": Words,
    "sound": Sound,
    "end": EndOfTurn,
}
NAMES = {kind: name for name, kind in KINDS.items()}


def encode(item: Item) -> Frame:
    """One result; the samples of a sound become the frame's bytes."""
    header = {field.name: getattr(item, field.name) for field in fields(item)}
    blob = sample_bytes(header.pop("samples")) if isinstance(item, Sound) else b""
    return Frame({"event": NAMES[type(item)], **header}, blob)


def decode(frame: Frame) -> Item | None:
    """The result that a frame is; None, if it is something else."""
    kind = KINDS.get(frame.header["event"])
    if kind is None:
        return None
    values = {f.name: frame.header[f.name] for f in fields(kind) if f.name in frame.header}
    if kind is Sound:
        values["samples"] = samples_of(frame.blob)
    elif kind is Span:
        values["tokens"] = tuple(values["tokens"])
    return kind(**values)


def sample_bytes(samples: np.ndarray) -> bytes:
    """Mono float32 samples [n] as they travel: little-endian."""
    return samples.astype("<f4").tobytes()


def samples_of(blob: bytes) -> np.ndarray:
    """And back, [n]."""
    import numpy as np

    return np.frombuffer(blob, "<f4").astype(np.float32)


Sounds: TypeAlias = list[Any]
"""The parts that are no words, in order; JSON refers to them by number."""


def parts_as_json(parts: Sequence[Part], sounds: Sounds) -> list[dict[str, Any]]:
    """Parts of a question; those that are sounds are appended to `sounds`."""
    result: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, str):
            result.append({"text": part})
        else:
            result.append({"sound": len(sounds)})
            sounds.append(part)
    return result


class Numbered(Protocol):
    """Sounds by their numbers."""

    def __getitem__(self, number: int, /) -> Any: ...


def parts_from_json(parts: Sequence[Mapping[str, Any]], sounds: Numbered) -> list[Part]:
    """And back."""
    return [part["text"] if "text" in part else sounds[part["sound"]] for part in parts]


def exchange_as_json(exchange: Exchange, sounds: Sounds) -> dict[str, Any]:
    """A question and its answer."""
    return {"said": parts_as_json(exchange.said, sounds), "answer": exchange.answer}


def answer_from_json(answer: Sequence[Any]) -> tuple[int | tuple[int, ...], ...]:
    """Of each word its token, of each frame of speech its codes."""
    return tuple(item if isinstance(item, int) else tuple(item) for item in answer)


def samples_in(frame: Frame) -> int:
    """How many samples a frame of sound holds."""
    return len(frame.blob) // 4
