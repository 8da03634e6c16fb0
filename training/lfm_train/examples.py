"""Conversations to learn from, and how several become one batch.

A conversation is made of the segments of `generation.prompt`, with those marked that the model
should have said itself. In a batch all text is embedded at once, all frames are, and all clips of
a length; one gather puts the rows in their places, as `generation.prompt.embed` does for a prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.generation.prompt import AudioClip, AudioCodes, Segment, TextIds
from lfm2audio_mlx.tokens import END_OF_AUDIO

__all__ = ["Batch", "Example", "Frames", "Part", "ended", "interleaved", "packed"]

Frames = tuple[tuple[int, ...], ...]
"""Frames of speech, each with one code per codebook."""


@dataclass(frozen=True)
class Part:
    """A segment; `learnt`: is the model to say it?"""

    segment: Segment
    learnt: bool = False


Example = Sequence[Part]


@dataclass(frozen=True)
class Batch:
    """Several conversations, side by side.

    `ids` [texts], `frames` [frames, codebooks] and `clips`, log-mel [n, T, features] of each
    length, are what there is to embed; `order` [B, L] says which of their rows stands where.
    `text_at` [N] and `frame_at` [M] are the places in B x L before what is learnt, `text_labels`
    [N] and `frame_labels` [M, codebooks] what that is.
    """

    ids: mx.array
    frames: mx.array
    clips: tuple[mx.array, ...]
    order: mx.array
    text_at: mx.array
    text_labels: mx.array
    frame_at: mx.array
    frame_labels: mx.array


@dataclass
class _Tables:
    """What there is to embed, in the order in which it comes."""

    ids: list[int] = field(default_factory=list)
    frames: list[tuple[int, ...]] = field(default_factory=list)
    clips: dict[int, list[np.ndarray]] = field(default_factory=dict)
    heard: dict[int, int] = field(default_factory=dict)

    def add(self, segment: Segment) -> tuple[int, range]:
        """The table that a segment goes to (0, 1, or from 2 on that of a clip's length), and its
        rows there."""
        match segment:
            case TextIds(ids):
                self.ids += ids
                return 0, range(len(self.ids) - len(ids), len(self.ids))
            case AudioCodes(frames):
                self.frames += frames
                return 1, range(len(self.frames) - len(frames), len(self.frames))
            case AudioClip(features, positions):
                length = len(features)
                group = self.clips.setdefault(length, [])
                group.append(np.array(features))
                self.heard[length] = len(group) * positions
                first = (len(group) - 1) * positions
                return 2 + list(self.clips).index(length), range(first, first + positions)

    def starts(self) -> np.ndarray:
        """The first row of each table, where all stand one after the other."""
        sizes = [len(self.ids), len(self.frames), *self.heard.values()]
        return np.cumsum([0, *sizes[:-1]])


def packed(examples: Sequence[Example], codebooks: int) -> Batch:
    """Put conversations side by side, the shorter filled up at their ends.

    All by numpy, since batches are made on a thread of their own, and MLX computes on another.
    """
    tables = _Tables()
    rows: list[list[tuple[int, int]]] = []
    learnt: list[list[tuple[int, int, int]]] = [[], []]  # conversation, place, row: texts, frames
    for number, example in enumerate(examples):
        line: list[tuple[int, int]] = []
        for part in example:
            table, found = tables.add(part.segment)
            if part.learnt:
                learnt[table] += [(number, len(line) + i, row) for i, row in enumerate(found)]
            line += [(table, row) for row in found]
        rows.append(line)
    width, starts = max(map(len, rows)), tables.starts()
    order = np.zeros((len(rows), width), np.int32)
    for number, line in enumerate(rows):
        order[number, : len(line)] = [starts[table] + row for table, row in line]
    ids = np.array(tables.ids, np.int32)
    frames = np.array(tables.frames, np.int32).reshape(-1, codebooks)
    return Batch(
        mx.array(ids),
        mx.array(frames),
        tuple(mx.array(np.stack(group)) for group in tables.clips.values()),
        mx.array(order),
        *_labels(learnt[0], ids, width),
        *_labels(learnt[1], frames, width),
    )


def _labels(
    found: list[tuple[int, int, int]], table: np.ndarray, width: int
) -> tuple[mx.array, mx.array]:
    """The places before those found, and what stands there; nothing comes before a beginning."""
    places = [(number * width + place - 1, row) for number, place, row in found if place]
    at, rows = np.array(places, np.int32).reshape(-1, 2).T
    return mx.array(at), mx.array(table[rows])


def ended(frames: Frames) -> Frames:
    """Frames, and the one that ends the audio."""
    return (*frames, (END_OF_AUDIO,) * len(frames[0]))


def interleaved(
    ids: Sequence[int], frames: Sequence[tuple[int, ...]], n_text: int, n_audio: int
) -> list[Part]:
    """An answer in words and voice as the model is to give it: so many words, so many frames, in
    turns; the words end with `<|text_end|>`, the frames with the end of the audio."""
    words, sounds, parts = list(ids), list(frames), list[Part]()
    while words or sounds:
        if words:
            parts.append(Part(TextIds(tuple(words[:n_text])), learnt=True))
        if sounds:
            # After the last word there are only frames.
            count = n_audio if len(words) > n_text else len(sounds)
            parts.append(Part(AudioCodes(tuple(sounds[:count])), learnt=True))
            sounds = sounds[count:]
        words = words[n_text:]
    return parts
