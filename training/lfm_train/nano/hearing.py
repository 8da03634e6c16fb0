"""What is heard in training: a sentence by somebody, somewhere, and what is to be written down.

Nothing is kept on disk: a batch is drawn anew from the number of its step, so that no recording
comes twice and an interrupted training hears the same words by the same people. Not bit for bit:
espeak-ng remembers what it said before, in the phase of a voice's flutter, and cannot be reset.
"""

import random
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
import soxr

from lfm2audio_mlx.audio.features import log_mel
from lfm2audio_mlx.config import FeatureConfig
from lfm_train.nano.espeak import Espeak, Manner
from lfm_train.nano.foreign import foreign_text
from lfm_train.nano.grammar import CLASSES, Texts
from lfm_train.nano.sounds import RATE, music, noise, silence
from lfm_train.nano.voices import SPEAKERS, draw_manner, in_brackets, in_language

__all__ = ["FRAME", "Heard", "Listener", "Recorded", "placed", "roughened"]

FRAME = 1280
"""Samples that one position of the backbone hears: 80 ms."""

TEXTS = Texts(salad=0.45, splices=0.12)
WORDLESS = 0.15
"""Share of recordings without words."""
OWN_VOICES, SHIFTED = 0.12, 0.4
"""Shares: among those who speak the checkpoint's own voices; among the others shifted accents."""


@dataclass(frozen=True)
class Heard:
    """16 kHz samples, the words in them, and where each begins; no places if that is not known."""

    samples: np.ndarray
    text: str
    places: tuple[int, ...] = ()

    def word_at(self, sample: int) -> int | None:
        """The index of the word there, -1 for silence; None if it is not known."""
        if not self.text or not 0 <= sample < len(self.samples):
            return -1
        if not self.places:
            return None
        return max(0, bisect_right(self.places, sample) - 1)


@dataclass(frozen=True)
class Recorded:
    """Log-mel [T, features], its text, and the index of the word in each position of 80 ms, -1 for
    none, -2 where that is not known."""

    mel: np.ndarray
    text: str
    words: np.ndarray

    def classes(self) -> np.ndarray:
        """The class of the word in each position, 0 for none, -1 where that is not known."""
        # The last two entries are for no word (index -1) and for one that is not known (-2).
        said = [CLASSES[word] for word in self.text.split()]
        return np.array([*said, -1, 0], np.int32)[self.words]


class Listener:
    """Draws what is heard: texts, and things without words in the share `wordless`."""

    def __init__(self, features: FeatureConfig, texts: Texts = TEXTS, wordless: float = WORDLESS):
        self.espeak, self.features = Espeak(), features
        self.texts, self.wordless_share = texts, wordless

    def draw(self, draw: random.Random) -> Heard:
        """One clean recording, cut to what is said."""
        if draw.random() < self.wordless_share:
            return Heard(self.wordless(draw), "")
        manner = draw_manner(draw)
        text = self.texts.draw(draw)
        if draw.random() < OWN_VOICES:
            return self.speak(text, draw.choice(list(SPEAKERS.values())))
        if draw.random() < SHIFTED:
            bracketed = in_brackets(self.espeak, text, manner.voice, draw)
            spoken = self.speak(bracketed, manner, len(text.split()))
            return Heard(spoken.samples, text, spoken.places)
        return self.speak(text, manner)

    def speak(self, text: str, manner: Manner, words: int = 0) -> Heard:
        """A text, of so many words if it is phonemes, without silence before and after."""
        samples, starts = self.espeak(text, manner)
        samples = soxr.resample(samples, self.espeak.rate, RATE)
        loud = np.flatnonzero(np.abs(samples) > 0.004)
        first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(samples))
        places = [max(0, start * RATE // self.espeak.rate - first) for start in starts]
        # Words that the library runs together ("on the") are told of once.
        known = len(places) == (words or len(text.split()))
        return Heard(samples[first:last], text, tuple(places) if known else ())

    def wordless(self, draw: random.Random) -> np.ndarray:
        """Silence, noise, music or another language."""
        seconds = draw.uniform(0.4, 3.0)
        kind = draw.choice(("silence", "noise", "music", *["foreign"] * 6))
        if kind == "silence":
            return silence(draw, seconds)
        if kind == "noise":
            return noise(draw, seconds)
        if kind == "music":
            return music(draw, seconds)
        text, language = foreign_text(draw)
        manner = in_language(language, draw_manner(draw))
        return self.speak(text, manner).samples[: int(3.5 * RATE)]

    def batches(self, step: int, size: int, group: int) -> list[list[Recorded]]:
        """What is heard in `group` steps, from `step`, which is a multiple of that, on: `size`
        recordings each, all of a length.

        Recordings of like length stand together; the shorter get more room before and after.
        """
        draw = random.Random(f"hearing {step}")
        heard = sorted((self.draw(draw) for _ in range(size * group)), key=lambda h: len(h.samples))
        made: list[list[Recorded]] = []
        for start in range(0, len(heard), size):
            items = heard[start : start + size]
            frames = -(-(len(items[-1].samples) + RATE // 5) // FRAME)
            made.append([self._recorded(item, frames, draw) for item in items])
        draw.shuffle(made)
        return made

    def _recorded(self, heard: Heard, frames: int, draw: random.Random) -> Recorded:
        """Somewhere in so many frames; the encoder makes one position more of them."""
        before = draw.randint(0, min(frames * FRAME - len(heard.samples), RATE))
        sound = placed(heard.samples, frames * FRAME, before)
        found = (heard.word_at(t * FRAME + FRAME // 2 - before) for t in range(frames + 1))
        words = np.array([-2 if index is None else index for index in found], np.int32)
        return Recorded(self.mel(roughened(sound, draw)), heard.text, words)

    def mel(self, samples: np.ndarray) -> np.ndarray:
        """Log-mel [T, features], as the product computes it."""
        return log_mel(samples, self.features)


def placed(samples: np.ndarray, length: int, before: int) -> np.ndarray:
    """Samples in a silence of `length`, after `before`."""
    return np.pad(samples, (before, length - before - len(samples)))


def roughened(samples: np.ndarray, draw: random.Random) -> np.ndarray:
    """As a microphone gets them: at another loudness, often with a noise, at times dull."""
    made = samples * 10 ** draw.uniform(-1.2, 0.2)
    if draw.random() < 0.15:
        made = np.convolve(made, np.hanning(draw.randint(3, 7) + 2)[1:-1])[: len(made)]
    level = float(np.sqrt(np.mean(made**2)))
    if draw.random() < 0.6 and level > 0:
        over = noise(draw, len(made) / RATE)[: len(made)]
        made = made + over / 0.05 * level * 10 ** (-draw.uniform(10, 40) / 20)
    floor = np.random.default_rng(draw.getrandbits(32)).standard_normal(len(made))
    return (made + floor * draw.choice((0, 1e-5, 1e-4))).astype(np.float32)
