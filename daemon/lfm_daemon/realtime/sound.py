"""Sound as it travels in events: 16-bit PCM in base64; and the buffer that hears turns in it."""

# (soxr has no stubs.)
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import soxr

from lfm2audio_mlx.audio.vad import SAMPLE_RATE, Endpointing, Speech, SpeechCutter
from lfm_daemon.faults import Fault
from lfm_daemon.realtime.schemas import Input, ServerVad
from lfm_daemon.schemas import sound_of

__all__ = [
    "BUFFER_SECONDS",
    "Buffer",
    "Heard",
    "Paused",
    "Pcm16",
    "Resumed",
    "Started",
    "Stopped",
    "buffer",
    "enough",
    "pcm_of",
]

BUFFER_SECONDS = 600
"""Sound that a turn may have; speech that goes on for longer is cut there."""
SHORTEST_SECONDS = 0.1
"""What is worth an answer, as OpenAI has it."""
STEP = 512
"""Samples that voice activity is told for at a time: 32 ms, and 1.4 ms of work."""


def pcm_of(data: str) -> bytes:
    """Whole samples, from base64.

    Raises:
        Fault: these are none.
    """
    try:
        pcm = sound_of(data)
    except ValueError as error:
        raise Fault(400, "invalid_value", f"audio: {error}", parameter="audio") from None
    if len(pcm) % 2:
        raise Fault(400, "invalid_value", "audio: half a sample of 16 bits", parameter="audio")
    return pcm


def _samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


class Pcm16:
    """Samples of any rate to PCM of another, as they come."""

    def __init__(self, rate: int):
        self._rate = rate
        self._from: int | None = None
        self._resampler: soxr.ResampleStream | None = None

    def push(self, samples: np.ndarray, rate: int) -> bytes:
        """Samples [n] -> what is ready of them."""
        if self._from is None and rate != self._rate:
            self._resampler = soxr.ResampleStream(
                rate, self._rate, 1, dtype="float32", quality="HQ"
            )
        self._from = rate
        if self._resampler:
            samples = self._resampler.resample_chunk(samples)
        return _pcm(samples)

    def finish(self) -> bytes:
        """The rest."""
        if not self._resampler:
            return b""
        return _pcm(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))


def _pcm(samples: np.ndarray) -> bytes:
    whole = np.nan_to_num(samples).clip(-1.0, 1.0) * 32767
    return whole.round().astype("<i2").tobytes()


# Listening


@dataclass(frozen=True)
class Heard:
    """What somebody said: mono samples [n]."""

    samples: np.ndarray
    rate: int

    @classmethod
    def of(cls, pcm: bytes, rate: int) -> Heard:
        return cls(_samples(pcm), rate)

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True)
class Started:
    """Somebody has begun to speak, at so many seconds of all sound there was."""

    at: float


@dataclass(frozen=True)
class Stopped:
    """And has stopped."""

    at: float
    heard: Heard


@dataclass(frozen=True)
class Paused:
    """Maybe has stopped: then this is what was said."""

    heard: Heard


@dataclass(frozen=True)
class Resumed:
    """And goes on."""


Change: TypeAlias = Started | Paused | Resumed | Stopped | None
"""None is a moment to do something else."""


class Buffer(Protocol):
    """Sound that was appended and is no turn yet."""

    end: float
    """Seconds of all sound there was."""

    def push(self, pcm: bytes) -> Iterator[Change]:
        """Hear more.

        Raises:
            Fault: it is too much.
        """
        ...

    def finish(self) -> Heard:
        """All that it holds, which ends it.

        Raises:
            Fault: that is nothing.
        """
        ...


def buffer(wanted: Input, since: float) -> Buffer:
    """An empty one, after so many seconds of sound."""
    rate = wanted.format.rate
    if wanted.turn_detection:
        return Attentive(rate, wanted.turn_detection, since)
    return Patient(rate, since)


class Patient:
    """Keeps everything until it is asked for."""

    def __init__(self, rate: int, since: float):
        self._rate, self.end = rate, since
        self._pcm = bytearray()

    def push(self, pcm: bytes) -> Iterator[Change]:
        if len(self._pcm) + len(pcm) > BUFFER_SECONDS * self._rate * 2:
            what = f"the buffer holds {BUFFER_SECONDS} s of sound: commit or clear it"
            raise Fault(400, "input_audio_buffer_full", what)
        self._pcm += pcm
        self.end += len(pcm) / 2 / self._rate
        return iter(())

    def finish(self) -> Heard:
        return enough(Heard.of(bytes(self._pcm), self._rate))


class Attentive:
    """Hears when somebody speaks, and keeps nothing else."""

    def __init__(self, rate: int, wanted: ServerVad, since: float):
        self._rate, self._since, self.end = rate, since, since
        self._resampler: soxr.ResampleStream | None = None
        if rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(
                rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ"
            )
        self._cutter = SpeechCutter(
            Endpointing(
                onset=wanted.threshold,
                release=max(wanted.threshold - 0.15, 0.01),  # Silero's own distance
                pause=wanted.silence_duration_ms / 1000,
                lead=wanted.prefix_padding_ms / 1000,
                padding=wanted.prefix_padding_ms / 1000,
                longest=BUFFER_SECONDS,
            )
        )
        self._started = False
        self._paused: tuple[Speech, Heard] | None = None
        """What may be all of the turn."""

    def push(self, pcm: bytes) -> Iterator[Change]:
        samples = _samples(pcm)
        self.end += len(samples) / self._rate
        if self._resampler:
            samples = self._resampler.resample_chunk(samples)
        for at in range(0, len(samples), STEP):
            for speech in self._cutter.push(samples[at : at + STEP]):
                self._started = False
                yield Stopped(self._since + speech.end, self._ended(speech))
            if not self._started and self._cutter.begun is not None:
                self._started = True
                yield Started(self._since + self._cutter.begun)
            if self._paused and self._paused[0] is not self._cutter.pausing:
                self._paused = None
                yield Resumed()
            if self._started and not self._paused and (speech := self._cutter.pausing):
                self._paused = speech, Heard(speech.samples, SAMPLE_RATE)
                yield Paused(self._paused[1])
            yield None

    def _ended(self, speech: Speech) -> Heard:
        """What was said; that of the last pause itself, if that has ended it."""
        paused, self._paused = self._paused, None
        if paused and np.array_equal(paused[0].samples, speech.samples):
            return paused[1]
        return Heard(speech.samples, SAMPLE_RATE)

    def finish(self) -> Heard:
        if not self._started:
            return enough(Heard(np.zeros(0, np.float32), SAMPLE_RATE))
        rest = np.zeros(0, np.float32)
        if self._resampler:
            rest = self._resampler.resample_chunk(rest, last=True)
        spans = [*self._cutter.push(rest), *self._cutter.finish()]
        return Heard(spans[0].samples, SAMPLE_RATE)


def enough(heard: Heard) -> Heard:
    """The same.

    Raises:
        Fault: it is too short to be anything.
    """
    if heard.seconds < SHORTEST_SECONDS:
        what = f"there are {1000 * heard.seconds:.0f} ms of sound; a message needs 100"
        raise Fault(400, "input_audio_buffer_commit_empty", what)
    return heard
