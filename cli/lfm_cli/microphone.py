"""The microphone as a stream of blocks.

Only a process that the user started may listen: one of launchd's hears digital silence.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (sounddevice has no types.)

from __future__ import annotations

import logging
import queue
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lfm2audio_mlx.errors import AudioError
from lfm_cli.sound import as_device, library

if TYPE_CHECKING:
    import numpy as np

__all__ = ["listening", "stopped_by_interrupt"]

log = logging.getLogger(__name__)

SILENT_SECONDS = 2.0
MUTED = (
    "the microphone gives nothing but zeros: is it muted? On a Mac, allow the terminal to use it "
    "in System Settings > Privacy & Security > Microphone"
)


@contextmanager
def listening(
    sample_rate: int, stop: threading.Event, device: str | None = None
) -> Generator[Iterator[np.ndarray]]:
    """Mono float32 blocks [n] at `sample_rate` as they are heard, until `stop` is set.

    Raises:
        AudioError: there is no microphone.
    """
    sound = library()
    heard: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()

    def keep(block: np.ndarray, frames: int, time: object, status: object) -> None:
        heard.put(block[:, 0].copy())

    try:
        rate = int(sound.query_devices(as_device(device), "input")["default_samplerate"])
        stream = sound.InputStream(
            rate, channels=1, dtype="float32", device=as_device(device), callback=keep
        )
        with stream:
            try:
                yield _blocks(heard, rate, sample_rate, stop)
            finally:
                stream.abort()  # stopping would wait for sound that may never come
    except (sound.PortAudioError, ValueError) as error:
        raise AudioError(f"no microphone ({error}); `lfm doctor` tells more") from error


def _blocks(
    heard: queue.SimpleQueue[np.ndarray], rate: int, wanted: int, stop: threading.Event
) -> Iterator[np.ndarray]:
    import soxr

    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    zeros: int | None = 0
    for block in _taken(heard, stop):
        if zeros is not None:
            zeros = None if block.any() else zeros + len(block)
            if zeros is not None and zeros > SILENT_SECONDS * rate:
                log.warning(MUTED)
                zeros = None
        yield block if rate == wanted else resampler.resample_chunk(block)


def _taken(heard: queue.SimpleQueue[np.ndarray], stop: threading.Event) -> Iterator[np.ndarray]:
    """What is in the queue until `stop`, what waits in it then included."""
    while not stop.is_set():
        with suppress(queue.Empty):
            yield heard.get(timeout=0.1)
    for _ in range(heard.qsize()):
        yield heard.get()


@contextmanager
def stopped_by_interrupt() -> Generator[threading.Event]:
    """An event that ctrl-C sets, so that what was heard can be finished; a second ctrl-C
    interrupts as ever."""
    stop = threading.Event()

    def first(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
