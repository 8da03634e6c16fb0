"""What the codec makes of sentences in the checkpoint's own voices, kept in a file."""

import random
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import mlx.core as mx
import numpy as np
from rich.progress import track

from lfm_train.codec.codec import TrainedCodec
from lfm_train.nano.espeak import Espeak
from lfm_train.nano.grammar import questions
from lfm_train.nano.speaking import speech, text_to_speak
from lfm_train.nano.voices import SPEAKERS
from lfm_train.training import streams

__all__ = ["Spoken", "load_spoken", "make_spoken"]


@dataclass(frozen=True)
class Spoken:
    """A sentence by one of the voices: `codes` [frames, codebooks], and the class of the word of
    each frame [frames], see `speaking.Speech`."""

    text: str
    voice: str
    codes: np.ndarray
    words: np.ndarray


def make_spoken(codec: TrainedCodec, count: int, path: Path) -> None:
    """Encode all answers and `count` other texts, each in every voice."""
    espeak, places = Espeak(), streams()
    texts = _texts(random.Random("spoken"), count)
    codes: list[np.ndarray] = []
    words: list[np.ndarray] = []
    for text in track(texts, "encoding"):
        said = [speech(espeak, text, manner) for manner in SPEAKERS.values()]
        found: list[mx.array] = []
        for each, place in zip(said, cycle(places), strict=False):
            with mx.stream(place):
                found.append(codec.codes(mx.array(each.samples[None]))[0].T)
        mx.eval(found)
        codes += [np.array(each).astype(np.uint16) for each in found]
        words += [each.words for each in said]
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        np.savez_compressed(
            file,
            texts=np.array([f"{voice} {text}" for text in texts for voice in SPEAKERS]),
            codes=np.concatenate(codes),
            words=np.concatenate(words),
            ends=np.cumsum([len(c) for c in codes]),
        )
    unfinished.rename(path)


def _texts(draw: random.Random, count: int) -> list[str]:
    """All answers, and so many other texts."""
    found = dict.fromkeys(question.answer for question in questions())
    count += len(found)
    while len(found) < count:
        found[text_to_speak(draw)] = None
    return list(found)


def load_spoken(path: Path) -> list[Spoken]:
    """What `make_spoken` wrote."""
    with np.load(path) as data:
        codes, words = (np.split(data[name], data["ends"][:-1]) for name in ("codes", "words"))
        names = [str(text).split(" ", 1) for text in data["texts"]]
    return [Spoken(names[i][1], names[i][0], codes[i], words[i]) for i in range(len(names))]
