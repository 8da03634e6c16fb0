"""A recording of any length to words: cut at its pauses, several spans heard at once, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lfm2audio_mlx.audio.features import check_speech
from lfm2audio_mlx.audio.files import AudioSource, streaming
from lfm2audio_mlx.audio.probe import source_name
from lfm2audio_mlx.audio.vad import SAMPLE_RATE, Speech, SpeechCutter
from lfm2audio_mlx.generation.rows import Row, Rows
from lfm2audio_mlx.results import Progress, Span

if TYPE_CHECKING:
    from lfm2audio_mlx.engine import Engine

__all__ = ["hear_spans", "most_tokens"]

TOLD = 16
"""Steps after which a listener hears at the latest that it goes on."""


def most_tokens(seconds: float) -> int:
    """Of speech, four times what a fast speaker needs."""
    return 32 + int(24 * seconds)


class Heard:
    """Spans of speech on their way to words, given in the order of the recording, which lasts
    `duration` seconds. Those that end by `after` are passed over."""

    def __init__(
        self, engine: Engine, prompt: str | None, after: float, batch: int, duration: float
    ):
        self._engine, self._prompt = engine, prompt
        self._after, self._duration = after, duration
        self._rows = Rows(engine.steps, engine.tokenizer.special, batch)
        self._waiting: deque[tuple[Speech, float, Row]] = deque()
        """Spans that are not given yet, with their ends in seconds."""
        self._first = True
        self._passed = self._told = 0.0

    def passed(self, seconds: float) -> Progress:
        """So much of the recording has been cut into spans."""
        self._passed = min(seconds, self._duration)
        return self._progress()

    def take(self, spoken: Iterable[Speech]) -> Iterator[Span | Progress]:
        """Begin to hear more spans; what is done meanwhile. The first is heard by itself, so that
        words come soon."""
        for speech in spoken:
            end = min(speech.end, self._duration)
            if end <= self._after:
                continue
            while self._rows.full:
                yield from self._steps()
            cursor, seconds = self._engine.asked_for_words(_sound(speech), self._prompt)
            self._waiting.append((speech, end, self._rows.add(cursor, most_tokens(seconds))))
            if self._first:
                yield from self.rest()
            self._first = False

    def rest(self) -> Iterator[Span | Progress]:
        """All that was begun."""
        while not self._rows.idle:
            yield from self._steps()

    def _steps(self) -> Iterator[Span | Progress]:
        """Some tokens more of each span, until one has ended; those that can be given now."""
        for _ in range(TOLD):
            if self._rows.step():
                break
        while self._waiting and self._waiting[0][2].done:
            yield self._given(*self._waiting.popleft())
        yield self._progress()

    def _given(self, speech: Speech, end: float, row: Row) -> Span:
        if row.speaking:  # which happens to no recording of speech; by itself, then
            span = self._engine.hear(_sound(speech), prompt=self._prompt)
        else:
            text = self._engine.tokenizer.decode(row.tokens).strip()
            span = Span(0.0, 0.0, text, tuple(row.tokens), row.complete, row.loop)
        return replace(span, start=speech.start, end=end)

    def _progress(self) -> Progress:
        """Up to where all is given; it never falls back."""
        given = self._waiting[0][0].start if self._waiting else self._passed
        self._told = max(self._told, given)
        return Progress(self._told, self._duration)


def _sound(speech: Speech) -> AudioSource:
    return speech.samples, SAMPLE_RATE


def hear_spans(
    engine: Engine, audio: AudioSource, prompt: str | None, after: float, batch: int
) -> Iterator[Span | Progress]:
    """See `Engine.spans`."""
    rate, cutter, done = engine.config.features.sample_rate, SpeechCutter(), 0
    with streaming(audio, rate) as (duration, blocks):
        if duration * rate < engine.config.features.win_length:
            samples = np.concatenate([np.zeros(0, np.float32), *blocks])
            check_speech(samples, engine.config.features, source_name(audio))
        heard = Heard(engine, prompt, after, batch, duration)
        yield heard.passed(0.0)
        for block in blocks:
            for at in range(0, len(block), rate):  # a second at a time
                piece = block[at : at + rate]
                yield from heard.take(cutter.push(piece))
                done += len(piece)
                yield heard.passed(done / rate)
        yield from heard.take(cutter.finish())
        yield from heard.rest()
        yield heard.passed(duration)
