"""`make nano-check`: what the embedded checkpoint can do, on sentences that were never trained on,
spoken and recorded anew from a new seed, through the product's own engine as it is shipped.

Prints each figure and what was wanted of it, in this order; exits with 1 if one is not met. Parts
run beside each other, on all cores.
Greedy, as the targets are; what `lfm say` gives by itself, which draws, is measured besides.
"""

import argparse
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import jiwer
import numpy as np

from lfm2audio_mlx import Engine, Sound, Words
from lfm2audio_mlx.installed import EMBEDDED, folder_size
from lfm2audio_mlx.sampling import GREEDY
from lfm_train.command import ended, out_of_reach
from lfm_train.nano.espeak import Manner
from lfm_train.nano.foreign import FOREIGN, NEW_FOREIGN
from lfm_train.nano.grammar import ANSWERS, Sentence, held_out, questions
from lfm_train.nano.hearing import FRAME, Listener, placed, roughened
from lfm_train.nano.sounds import RATE, music, noise, silence
from lfm_train.nano.sphinx import Sphinx
from lfm_train.nano.voices import SPEAKERS, draw_manner, in_language

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

    @property
    def line(self) -> str:
        shown = "{:,.0f}" if self.wanted > 1 else "{:.1%}"
        wanted = f"{self.compared} {shown.format(self.wanted)}"
        mark = "ok" if self.good else "not met"
        measured = shown.format(self.value)
        return f"{self.name:42}{measured:>10}  {wanted:22}{self.count or '':>4}  {mark}"


class Examination:
    """Draws what is asked, and asks it. `parts`: what can be examined, each by itself."""

    def __init__(self, folder: Path, seed: int, count: int):
        self.folder, self.seed, self.count = folder, seed, count
        self.engine = engine = Engine.load(folder)
        self.listener = Listener(engine.config.features)

    @cached_property
    def new(self) -> list[Sentence]:
        """Questions that were never asked in training."""
        return list(held_out(random.Random("questions"), questions=True))[: self.count]

    @cached_property
    def fixed(self) -> list[Sentence]:
        """Questions without a slot."""
        return [question for question in questions() if question.text in ANSWERS]

    def _draw(self, what: str) -> random.Random:
        return random.Random(f"{self.seed} {what}")

    def _sentences(self, what: str) -> Iterator[tuple[random.Random, Sentence]]:
        """Each another, or one bad one would count for many."""
        draw = self._draw(what)
        for said in list(islice(held_out(draw), self.count)):
            yield draw, said

    def _recorded(self, text: str, manner: Manner, draw: random.Random) -> np.ndarray:
        """Somebody saying something, as a microphone gets it."""
        samples = self.listener.speak(text, manner).samples
        before, after = (draw.randint(FRAME // 2, 8 * FRAME) for _ in range(2))
        return roughened(placed(samples, before + len(samples) + after, before), draw)

    def _heard(self, samples: np.ndarray, rate: int = RATE) -> str:
        return self.engine.transcribe((samples, rate)).text

    def _word_errors(self, voices: str, new: str, wanted: float) -> Iterator[Figure]:
        name = f"word error, {voices}"
        truth: list[str] = []
        heard: list[str] = []
        for draw, said in self._sentences(name):
            sound = self._recorded(said.text, draw_manner(draw, new), draw)
            truth.append(said.text)
            heard.append(self._heard(sound))
        yield Figure(name, float(jiwer.wer(truth, heard)), wanted, count=len(truth))

    def _wordless(self, kind: str) -> Iterator[Figure]:
        """Straight to the model, which is harder: the product cuts most of it out before."""
        draw, empty = self._draw(kind), 0
        count = max(1, self.count // 4)
        for _ in range(count):
            sound = self._sound(kind, draw, draw.uniform(0.5, 3.5))
            empty += not self.engine.hear((sound, RATE)).text
        yield Figure(f"no words in {kind}", empty / count, 0.95, "at least", count)

    def _sound(self, kind: str, draw: random.Random, seconds: float) -> np.ndarray:
        if kind == "silence":
            return silence(draw, seconds)
        if kind == "white noise":
            return noise(draw, seconds, "white")
        if kind == "music":
            return music(draw, seconds)
        phrases = NEW_FOREIGN if kind == "other languages" else FOREIGN
        language = draw.choice(list(phrases))
        manner = in_language(language, draw_manner(draw, "voice"))
        return self._recorded(draw.choice(phrases[language]), manner, draw)

    def _spoken(self, voice: str) -> Iterator[Figure]:
        """Speech against what espeak-ng makes of the same sentences, by two listeners."""
        truth: list[str] = []
        theirs: list[str] = []
        ours: list[str] = []
        own: list[str] = []
        drawn: list[str] = []
        espeak, rate, sphinx = self.listener.espeak, self.engine.sample_rate, Sphinx()
        for draw, said in self._sentences(f"say, {voice}"):
            truth.append(said.text)
            original, _ = espeak(said.text, SPEAKERS[voice])
            theirs.append(sphinx.hear(original, espeak.rate))
            made = _joined(self.engine.say(said.text, voice=voice, sampling=GREEDY))
            ours.append(sphinx.hear(made, rate))
            own.append(self._heard(made, rate))
            made = _joined(self.engine.say(said.text, voice=voice, seed=draw.getrandbits(32)))
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
        for question in islice(cycle(asked), count):
            sound = self._recorded(question.text, draw_manner(draw), draw)
            parts = list(self.engine.chat(audio=GREEDY).reply((sound, RATE)))
            voice = _joined(part for part in parts if isinstance(part, Sound))
            right += _text(parts) == question.answer
            sounded += self._heard(voice, self.engine.sample_rate) == question.answer
        yield Figure(f"right answers, {kind}, in words", right / count, 0.98, "at least", count)
        yield Figure(f"right answers, {kind}, in sound", sounded / count, 0.95, "at least", count)

    def _typed(self) -> Iterator[Figure]:
        """Written questions, each once: nothing of them is drawn."""
        asked, right = [*self.fixed, *self.new], 0
        for question in asked:
            parts = self.engine.chat(mode="sequential").reply(question.text)
            right += _text(parts) == question.answer
        yield Figure("right answers, typed", right / len(asked), 0.98, "at least", len(asked))

    def _size(self) -> Iterator[Figure]:
        yield Figure("bytes", folder_size(self.folder), LARGEST)

    @property
    def parts(self) -> tuple[partial[Iterator[Figure]], ...]:
        wordless = ("silence", "white noise", "music", "trained languages", "other languages")
        few = max(1, self.count // 4)
        return (
            partial(self._word_errors, "trained voices", "", 0.01),
            partial(self._word_errors, "new voices", "voice", 0.05),
            partial(self._word_errors, "new accents", "accent", 0.05),
            *(partial(self._wordless, kind) for kind in wordless),
            *(partial(self._spoken, voice) for voice in SPEAKERS),
            partial(self._answered, "new questions", self.new, self.count),
            partial(self._answered, "fixed questions", self.fixed, few),
            partial(self._typed),
            partial(self._size),
        )


def _text(parts: Iterable[object]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Words)).strip()


def _joined(pieces: Iterable[Sound]) -> np.ndarray:
    """The whole sound; a moment of silence, if there is none."""
    found = [piece.samples for piece in pieces]
    return np.concatenate(found) if found else np.zeros(24_000, np.float32)


def _part(folder: Path, seed: int, count: int, index: int) -> list[Figure]:
    """One part, in a process of its own."""
    return list(Examination(folder, seed, count).parts[index]())


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the embedded checkpoint.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--count", type=int, default=500, help="sentences a figure")
    parser.add_argument("--model", type=Path, default=EMBEDDED, help="its folder, if not that one")
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error("--count: at least 1")
    return ended("nano-check", lambda: _examine(arguments.model, arguments.seed, arguments.count))


def _examine(folder: Path, seed: int, count: int) -> bool:
    """Print every figure; is each good?"""
    parts, good = range(len(Examination(folder, seed, count).parts)), True
    print(f"seed {seed}\n{'figure':42}{'measured':>10}  {'wanted':22}{'of':>4}", flush=True)
    # espeak-ng remembers what it said: in a new process each time, a seed gives the same again.
    with out_of_reach():
        pool = get_context("spawn").Pool(maxtasksperchild=1)
    with pool:
        for figures in pool.imap(partial(_part, folder, seed, count), parts):
            for figure in figures:
                print(figure.line, flush=True)
                good &= figure.good
    return good


if __name__ == "__main__":
    sys.exit(main())
