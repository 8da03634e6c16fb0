"""What is spoken in training: sentences by the checkpoint's own voices, word by word on the grid.

Every word (a few that espeak-ng runs together count as one) begins with a frame of the codec, and
its pause ends with one. So a word is nearly the same codes wherever it stands, which is far less to
learn than a word at every offset into a frame; the melody of the sentence stays.
"""

import random
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import soxr

from lfm_train.nano.espeak import Espeak, Manner
from lfm_train.nano.grammar import CLASSES, Texts

__all__ = ["FRAME", "RATE", "Speech", "speech", "text_to_speak"]

RATE = 24_000
FRAME = 1920
"""Samples of a codec frame, 80 ms."""
TAIL = 2
"""Frames of silence at the end."""
PAUSE = 480
"""Samples of silence, 20 ms, that stand at least between two words."""
TEXTS = Texts(salad=0.3, splices=0.3)


@dataclass(frozen=True)
class Speech:
    """Samples [frames * FRAME] at 24 kHz, and the word of each frame [frames]: its class, 0 in
    silence, -1 where it is not known."""

    samples: np.ndarray
    words: np.ndarray


def speech(espeak: Espeak, text: str, manner: Manner) -> Speech:
    """A text as the checkpoint is to say it."""
    samples, starts = espeak(text, manner)
    said = [CLASSES[word] for word in text.split()]
    known = len(starts) == len(said)  # words that are run together ("on the") are told of once
    pieces: list[np.ndarray] = []
    classes: list[int] = []
    for index, (start, end) in enumerate(pairwise([*starts, len(samples)])):
        word = _trimmed(samples[start:end], espeak.rate)
        word = soxr.resample(word, espeak.rate, RATE)
        frames = -(-(len(word) + PAUSE) // FRAME)
        pieces.append(np.pad(word, (0, frames * FRAME - len(word))))
        classes += [said[index] if known else -1] * frames
    pieces.append(np.zeros(TAIL * FRAME, np.float32))
    return Speech(np.concatenate(pieces), np.array([*classes, *[0] * TAIL], np.int16))


def _trimmed(word: np.ndarray, rate: int) -> np.ndarray:
    """Without the silence after it; what is before belongs to its first sound."""
    loud = np.flatnonzero(np.abs(word) > 0.003)
    return word[: min(len(word), loud[-1] + rate // 200)] if len(loud) else word[:0]


def text_to_speak(draw: random.Random) -> str:
    """What is said."""
    return TEXTS.draw(draw)
