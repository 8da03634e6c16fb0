"""What goes into the backbone, in order: text ids, clips of sound, frames of past speech.

A turn reads `<|im_start|>ROLE\\n ... <|im_end|>\\n`; a conversation begins with
`<|startoftext|>` (`ChatState` in `processor.py` of liquid-audio).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer

__all__ = [
    "AudioClip",
    "AudioCodes",
    "Segment",
    "TextIds",
    "beginning",
    "clip_of",
    "close_turn",
    "embed",
    "length",
    "open_turn",
    "turn",
]


@dataclass(frozen=True)
class TextIds:
    """Token ids of text."""

    ids: tuple[int, ...]


@dataclass(frozen=True)
class AudioClip:
    """One recording that was heard: log-mel [T, features]. Never joined with another.

    `positions`: how many the encoder makes of it, ceil(T / subsampling factor).
    """

    features: mx.array
    positions: int


@dataclass(frozen=True)
class AudioCodes:
    """Frames that were spoken, each with one code per codebook, end-of-audio frames included."""

    frames: tuple[tuple[int, ...], ...]


Segment = TextIds | AudioClip | AudioCodes
Role = Literal["system", "user", "assistant"]


def clip_of(mel: np.ndarray, factor: int) -> AudioClip:
    """Log-mel [T, features] for an encoder that makes one position of `factor` frames."""
    return AudioClip(mx.array(mel), -(-len(mel) // factor))


def beginning(tokenizer: Tokenizer) -> TextIds:
    """What stands once, before the first turn."""
    return TextIds((tokenizer.special.start_of_text,))


def open_turn(tokenizer: Tokenizer, role: Role) -> TextIds:
    """The head of a turn."""
    return TextIds((tokenizer.special.turn_start, *tokenizer.encode(f"{role}\n")))


def close_turn(tokenizer: Tokenizer) -> TextIds:
    """The end of a turn."""
    return TextIds((tokenizer.special.turn_end, *tokenizer.encode("\n")))


def turn(tokenizer: Tokenizer, role: Role, parts: Iterable[str | AudioClip]) -> list[Segment]:
    """A whole turn of texts and clips; empty texts are none."""
    said: list[Segment] = [
        TextIds(tokenizer.encode(part)) if isinstance(part, str) else part
        for part in parts
        if part != ""
    ]
    return [open_turn(tokenizer, role), *said, close_turn(tokenizer)]


def length(segments: Iterable[Segment]) -> int:
    """Positions that segments take in the backbone."""
    total = 0
    for segment in segments:
        match segment:
            case TextIds(ids):
                total += len(ids)
            case AudioClip(positions=positions):
                total += positions
            case AudioCodes(frames):
                total += len(frames)
    return total


def embed(model: Lfm2Audio, segments: Iterable[Segment]) -> mx.array:
    """Segments as backbone inputs, [1, length(segments), hidden].

    All text is looked up at once, all codes are, and one gather puts the rows in order.
    """
    ids: list[int] = []
    frames: list[tuple[int, ...]] = []
    clips: list[mx.array] = []
    places: list[tuple[str, range]] = []  # for each segment the table and the rows it is found in
    heard = 0
    for segment in segments:
        match segment:
            case TextIds(more):
                places.append(("ids", range(len(ids), len(ids) + len(more))))
                ids += more
            case AudioCodes(more):
                places.append(("frames", range(len(frames), len(frames) + len(more))))
                frames += more
            case AudioClip(features, positions):
                places.append(("clips", range(heard, heard + positions)))
                clips.append(model.embed_audio(features[None]))
                heard += positions
    tables = [model.embed_text(mx.array([ids]))] if ids else []
    tables += [model.embed_codes(mx.array([frames]))] if frames else []
    tables += clips
    if len(tables) == 1:
        return tables[0]
    first = {"ids": 0, "frames": len(ids), "clips": len(ids) + len(frames)}
    order = [first[table] + row for table, rows in places for row in rows]
    return mx.concatenate(tables, axis=1)[:, mx.array(order)]
