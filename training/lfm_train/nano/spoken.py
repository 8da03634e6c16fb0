"""What the codec makes of sentences in the checkpoint's own voices, kept in a file."""

import random
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np
from rich.progress import track

from lfm_train.nano.codec import TrainedCodec
from lfm_train.nano.espeak import Espeak
from lfm_train.nano.grammar import questions
from lfm_train.nano.speaking import speech, text_to_speak
from lfm_train.nano.voices import SPEAKERS

__all__ = ["Spoken", "load_spoken", "make_spoken"]


@dataclass(frozen=True)
class Spoken:
    """A sentence by one of the voices: `codes` [frames, codebooks] uint16."""

    text: str
    voice: str
    codes: np.ndarray


def make_spoken(codec: TrainedCodec, count: int, path: Path) -> None:
    """Encode all answers and `count` other texts, each in every voice."""
    espeak, draw = Espeak(), random.Random("spoken")
    wanted = [(text, voice) for text in _texts(draw, count) for voice in SPEAKERS]
    texts: list[str] = []
    codes: list[np.ndarray] = []
    sounds = ((t, v, speech(espeak, t, SPEAKERS[v])) for t, v in wanted)
    for text, voice, sound in track(sounds, "encoding", total=len(wanted)):
        found = codec.codes(mx.array(sound[None]))[0].T
        texts.append(f"{voice} {text}")
        codes.append(np.array(found).astype(np.uint16))
    ends = np.cumsum([len(c) for c in codes])
    with path.open("wb") as file:
        np.savez_compressed(file, texts=np.array(texts), codes=np.concatenate(codes), ends=ends)


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
        pieces = np.split(data["codes"], data["ends"][:-1])
        names = (str(text).split(" ", 1) for text in data["texts"])
        return [
            Spoken(text, voice, codes) for (voice, text), codes in zip(names, pieces, strict=True)
        ]
