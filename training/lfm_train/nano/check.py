"""`make nano-check`: what the embedded checkpoint can do, on sentences that were never trained on,
spoken and recorded anew from a new seed, through the product's own engine as it is shipped.

Prints a table of figures and what was wanted of each; exits with 1 if one is not met.
Greedy, as the targets are; what `lfm say` gives by itself, which draws, is measured besides.
"""

import argparse
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import jiwer
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lfm2audio_mlx import Engine, Sound, Words
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.sampling import GREEDY
from lfm_train.nano.espeak import Manner
from lfm_train.nano.foreign import FOREIGN, NEW_FOREIGN
from lfm_train.nano.grammar import ANSWERS, Sentence, held_out, questions, sentence
from lfm_train.nano.hearing import FRAME, Listener, placed, roughened
from lfm_train.nano.sounds import RATE, music, noise, silence
from lfm_train.nano.sphinx import Sphinx
from lfm_train.nano.voices import SPEAKERS, draw_manner

LARGEST = 10_000_000
"""Bytes of the shipped folder."""


@dataclass(frozen=True)
class Figure:
    """A share that is to be at most, or at least, what was wanted."""

    name: str
    value: float
    wanted: float
    compared: Literal["at most", "at least"] = "at most"
    count: int = 0

    @property
    def good(self) -> bool:
        return (
            self.value <= self.wanted if self.compared == "at most" else self.value >= self.wanted
        )


class Examination:
    """Draws what is asked, and asks it."""

    def __init__(self, folder: Path, seed: int, count: int):
        self.folder, self.seed, self.count = folder, seed, count
        self.engine = engine = Engine.load(folder)
        self.listener, self.sphinx = Listener(engine.config.features), Sphinx()

    def figures(self) -> Iterator[Figure]:
        yield self._words("word error, trained voices", "", 0.01)
        yield self._words("word error, new voices", "voice", 0.05)
        yield self._words("word error, new accents", "accent", 0.05)
        kinds = ("silence", "white noise", "music", "trained languages", "other languages")
        for kind in kinds:
            yield self._wordless(kind)
        for voice in SPEAKERS:
            yield from self._spoken(voice)
        new = list(islice(held_out(questions=True), self.count))
        fixed = [question for question in questions() if question.text in ANSWERS]
        yield from self._answered("new questions", new, self.count)
        yield from self._answered("fixed questions", fixed, max(1, self.count // 4))
        yield self._typed([*fixed, *new])
        size = sum(path.stat().st_size for path in self.folder.iterdir())
        yield Figure("bytes", size, LARGEST)

    def _draw(self, what: str) -> random.Random:
        return random.Random(f"{self.seed} {what}")

    def _sentences(self, what: str) -> Iterator[tuple[random.Random, Sentence]]:
        draw = self._draw(what)
        for _ in track(range(self.count), what):
            yield draw, sentence(draw, testing=True)

    def _recorded(self, text: str, manner: Manner, draw: random.Random) -> np.ndarray:
        """Somebody saying something, as a microphone gets it."""
        samples = self.listener.speak(text, manner).samples
        before, after = (draw.randint(FRAME // 2, 8 * FRAME) for _ in range(2))
        return roughened(placed(samples, before + len(samples) + after, before), draw)

    def _heard(self, samples: np.ndarray, rate: int = RATE) -> str:
        return self.engine.transcribe((samples, rate)).text

    def _words(self, name: str, new: str, wanted: float) -> Figure:
        truth: list[str] = []
        heard: list[str] = []
        for draw, said in self._sentences(name):
            sound = self._recorded(said.text, draw_manner(draw, new), draw)
            truth.append(said.text)
            heard.append(self._heard(sound))
        return Figure(name, float(jiwer.wer(truth, heard)), wanted, count=len(truth))

    def _wordless(self, kind: str) -> Figure:
        """Straight to the model, which is harder: the product cuts most of it out before."""
        draw, empty = self._draw(kind), 0
        count = max(1, self.count // 4)
        for _ in track(range(count), kind):
            sound = self._sound(kind, draw, draw.uniform(0.5, 3.5))
            empty += not self.engine.hear((sound, RATE)).text
        return Figure(f"no words in {kind}", empty / count, 0.95, "at least", count)

    def _sound(self, kind: str, draw: random.Random, seconds: float) -> np.ndarray:
        if kind == "silence":
            return silence(draw, seconds)
        if kind == "white noise":
            return noise(draw, seconds, "white")
        if kind == "music":
            return music(draw, seconds)
        phrases = NEW_FOREIGN if kind == "other languages" else FOREIGN
        language = draw.choice(list(phrases))
        manner = draw_manner(draw, "voice")
        voice = "+".join([language, *manner.voice.split("+")[1:]])
        manner = Manner(voice, manner.speed, manner.pitch, manner.range, manner.gap)
        return self._recorded(draw.choice(phrases[language]), manner, draw)

    def _spoken(self, voice: str) -> Iterator[Figure]:
        """Speech against what espeak-ng makes of the same sentences, by two listeners."""
        truth: list[str] = []
        theirs: list[str] = []
        ours: list[str] = []
        own: list[str] = []
        drawn: list[str] = []
        espeak, rate = self.listener.espeak, self.engine.sample_rate
        for _, said in self._sentences(f"say, {voice}"):
            truth.append(said.text)
            original, _ = espeak(said.text, SPEAKERS[voice])
            theirs.append(self.sphinx.hear(original, espeak.rate))
            made = _joined(self.engine.say(said.text, voice=voice, sampling=GREEDY))
            ours.append(self.sphinx.hear(made, rate))
            own.append(self._heard(made, rate))
            made = _joined(self.engine.say(said.text, voice=voice, seed=self.seed))
            drawn.append(self._heard(made, rate))
        wer, count = partial(jiwer.wer, truth), len(truth)
        limit = float(wer(theirs))
        yield Figure(f"pocketsphinx, {voice}", float(wer(ours)), limit, count=count)
        yield Figure(f"say, then transcribe, {voice}", float(wer(own)), 0.03, count=count)
        yield Figure(f"the same, drawn, {voice}", float(wer(drawn)), 0.03, count=count)

    def _answered(self, kind: str, asked: list[Sentence], count: int) -> Iterator[Figure]:
        """Spoken questions, and their answers in words and in sound."""
        draw, right, sounded = self._draw(kind), 0, 0
        # There are about a hundred: each is asked by several.
        for question in track(list(islice(cycle(asked), count)), kind):
            sound = self._recorded(question.text, draw_manner(draw), draw)
            parts = list(self.engine.chat(audio=GREEDY).reply((sound, RATE)))
            voice = _joined(part for part in parts if isinstance(part, Sound))
            right += _words(parts) == question.answer
            sounded += self._heard(voice, self.engine.sample_rate) == question.answer
        yield Figure(f"right answers, {kind}, in words", right / count, 0.98, "at least", count)
        yield Figure(f"right answers, {kind}, in sound", sounded / count, 0.95, "at least", count)

    def _typed(self, asked: list[Sentence]) -> Figure:
        """Written questions, each once: nothing of them is drawn."""
        right = 0
        for question in track(asked, "typed questions"):
            parts = self.engine.chat(mode="sequential").reply(question.text)
            right += _words(parts) == question.answer
        return Figure("right answers, typed", right / len(asked), 0.98, "at least", len(asked))


def _words(parts: Iterable[object]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Words)).strip()


def _joined(pieces: Iterable[Sound]) -> np.ndarray:
    """The whole sound; a moment of silence, if there is none."""
    found = [piece.samples for piece in pieces]
    return np.concatenate(found) if found else np.zeros(24_000, np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the embedded checkpoint.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--count", type=int, default=500, help="sentences a figure")
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    arguments = parser.parse_args()
    examination = Examination(arguments.model, arguments.seed, arguments.count)
    table = Table("figure", "measured", "wanted", "of", "", title=f"seed {arguments.seed}")
    figures = list(examination.figures())
    for figure in figures:
        shown = "{:,.0f}" if figure.wanted > 1 else "{:.1%}"
        mark = "ok" if figure.good else "not met"
        wanted = f"{figure.compared} {shown.format(figure.wanted)}"
        table.add_row(
            figure.name, shown.format(figure.value), wanted, f"{figure.count or ''}", mark
        )
    Console(width=110).print(table)
    return not all(figure.good for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
