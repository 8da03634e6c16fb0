"""The microphone as a stream of blocks.

Only a process that the user started may listen: one of launchd's hears digital silence.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (sounddevice has no types.)

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lfm2audio_mlx.errors import AudioError
from lfm_cli.sound import as_device, library

if TYPE_CHECKING:
    import numpy as np

__all__ = ["listening"]

log = logging.getLogger(__name__)

SILENT_SECONDS = 2.0
MUTED = (
    "the microphone gives nothing but zeros: is it muted? On a Mac, allow the terminal to use it "
    "in System Settings > Privacy & Security > Microphone"
)


@contextmanager
def listening(
    sample_rate: int,
    stop: threading.Event,
    device: str | None = None,
    meanwhile: Callable[[], bool] = lambda: False,
) -> Generator[Iterator[np.ndarray]]:
    """Mono float32 blocks [n] at `sample_rate` as they are heard, until `stop` is set.

    `meanwhile` is done while there is nothing to be heard, until it gives False; what comes during
    it waits.

    Raises:
        AudioError: there is no microphone.
    """
    sound = library()
    heard: queue.Queue[np.ndarray] = queue.Queue()

    gone = threading.Event()

    def keep(block: np.ndarray, frames: int, time: object, status: object) -> None:
        heard.put(block[:, 0].copy())

    try:
        rate = int(sound.query_devices(as_device(device), "input")["default_samplerate"])
        stream = sound.InputStream(
            rate,
            channels=1,
            dtype="float32",
            device=as_device(device),
            callback=keep,
            finished_callback=gone.set,
        )
        with stream:
            try:
                yield _blocks(heard, rate, sample_rate, stop, gone, meanwhile)
            finally:
                stream.abort()  # stopping would wait for sound that may never come
    except (sound.PortAudioError, ValueError) as error:
        raise AudioError(f"no microphone ({error}); `lfm doctor` tells more") from error


def _blocks(
    heard: queue.Queue[np.ndarray],
    rate: int,
    wanted: int,
    stop: threading.Event,
    gone: threading.Event,
    meanwhile: Callable[[], bool] = lambda: False,
) -> Iterator[np.ndarray]:
    """Blocks at the rate that is wanted.

    Raises:
        AudioError: the microphone has gone away.
    """
    import soxr

    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    zeros: int | None = 0
    for block in _taken(heard, stop, gone, meanwhile):
        if zeros is not None:
            zeros = None if block.any() else zeros + len(block)
            if zeros is not None and zeros > SILENT_SECONDS * rate:
                log.warning(MUTED)
                zeros = None
        yield block if rate == wanted else resampler.resample_chunk(block)
    if gone.is_set() and not stop.is_set():
        raise AudioError("the microphone has stopped; was it unplugged?")


def _taken(
    heard: queue.Queue[np.ndarray],
    stop: threading.Event,
    gone: threading.Event,
    meanwhile: Callable[[], bool],
) -> Iterator[np.ndarray]:
    """What is in the queue until `stop`, what waits in it then included."""
    while not stop.is_set() and not gone.is_set():
        if heard.empty() and meanwhile():
            continue
        with suppress(queue.Empty):
            yield heard.get(timeout=0.1)
    for _ in range(heard.qsize()):
        yield heard.get()
