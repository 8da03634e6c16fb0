"""A recording of any length to words: cut at its pauses, several spans heard at once, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
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
"""Steps after which a listener hears that it goes on."""


def most_tokens(seconds: float) -> int:
    """Of speech, four times what a fast speaker needs."""
    return 32 + int(24 * seconds)


class Heard:
    """Spans of speech on their way to words; `spans` gives them in the order of the recording."""

    def __init__(self, engine: Engine, prompt: str | None, rows: int):
        self._engine, self._prompt = engine, prompt
        self._rows = Rows(engine.steps, engine.tokenizer.special, rows)
        self._waiting: deque[tuple[Speech, float, Row]] = deque()

    @property
    def full(self) -> bool:
        return self._rows.full

    @property
    def idle(self) -> bool:
        return self._rows.idle

    @property
    def begins(self) -> float | None:
        """Where the first span that is not given yet begins, in seconds; None without one."""
        return self._waiting[0][0].start if self._waiting else None

    def add(self, speech: Speech, end: float) -> None:
        """Begin to hear speech that ends at `end` seconds."""
        cursor, seconds = self._engine.asked_for_words(self._sound(speech), self._prompt)
        self._waiting.append((speech, end, self._rows.add(cursor, most_tokens(seconds))))

    def step(self) -> Iterator[Span]:
        """One token more of each span; those that are whole now, and all before them."""
        self._rows.step()
        while self._waiting and self._waiting[0][2].done:
            speech, end, row = self._waiting.popleft()
            if row.speaking:  # which happens to no recording of speech; by itself, then
                span = self._engine.hear(self._sound(speech), prompt=self._prompt)
            else:
                text = self._engine.tokenizer.decode(row.tokens).strip()
                span = Span(0.0, 0.0, text, tuple(row.tokens), row.complete, row.loop)
            yield replace(span, start=speech.start, end=end)

    def _sound(self, speech: Speech) -> AudioSource:
        return speech.samples, SAMPLE_RATE


def hear_spans(
    engine: Engine, audio: AudioSource, prompt: str | None, after: float, batch: int
) -> Iterator[Span | Progress]:
    """See `Engine.spans`."""
    rate, cutter, done, told = engine.config.features.sample_rate, SpeechCutter(), 0, 0.0
    heard, first = Heard(engine, prompt, batch), True
    with streaming(audio, rate) as (duration, blocks):
        if duration * rate < engine.config.features.win_length:
            samples = np.concatenate([np.zeros(0, np.float32), *blocks])
            check_speech(samples, engine.config.features, source_name(audio))

        def progress() -> Progress:
            nonlocal told
            heard_all = min(done / rate, duration)
            told = max(told, heard_all if heard.begins is None else heard.begins)
            return Progress(told, duration)

        def take(spoken: list[Speech]) -> Iterator[Span | Progress]:
            nonlocal first
            for speech in spoken:
                end = min(speech.end, duration)
                if end > after:
                    yield from run(until_free=True)
                    heard.add(speech, end)
                    if first:  # by itself, so that words come soon
                        first = False
                        yield from run(until_free=False)

        def run(until_free: bool) -> Iterator[Span | Progress]:
            steps = 0
            while heard.full if until_free else not heard.idle:
                yield from heard.step()
                steps += 1
                if steps % TOLD == 0:
                    yield progress()

        yield progress()
        for block in blocks:
            for at in range(0, len(block), rate):  # a second at a time
                piece = block[at : at + rate]
                yield from take(cutter.push(piece))
                done += len(piece)
                yield progress()
        yield from take(cutter.finish())
        yield from run(until_free=False)
        yield Progress(duration, duration)
