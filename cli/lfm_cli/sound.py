"""Where speech goes: into a file, or out of the loudspeaker as it is made."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (sounddevice has no types.)

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfm2audio_mlx.errors import AudioError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Play", "devices", "library", "loudspeaker", "sound_sink"]

STOPPED = "the loudspeaker has stopped; was it unplugged?"

Play = Callable[["np.ndarray"], None]
LATENCY_SECONDS = 0.2
"""How much the system holds ready, so that a busy moment makes no gap."""
TAIL_SECONDS = 0.05
"""Silence after the end, beside what the system holds, or it drops the end of the speech."""
AHEAD_SECONDS = 60.0
"""How far speech is made ahead of what is heard; after that the maker waits."""


def sound_sink(
    output: Path | None, sample_rate: int, device: str | None = None, *, instead: str
) -> AbstractContextManager[Play]:
    """A function that takes mono samples [n] as they come; it ends when the context does.

    An interruption ends a file with what was made so far, and stops a loudspeaker at once. Without
    any sound there is no file. `instead` is what to do where there is no loudspeaker.

    Raises:
        AudioError: the file cannot be written, or there is no loudspeaker.
    """
    return _file(output, sample_rate) if output else loudspeaker(sample_rate, device, instead)


@contextmanager
def _file(output: Path, sample_rate: int) -> Generator[Play]:
    from lfm2audio_mlx.audio.files import writing

    with ExitStack() as stack:
        write: Play | None = None

        def play(samples: np.ndarray) -> None:
            nonlocal write
            write = write or stack.enter_context(writing(output, sample_rate))
            write(samples)

        try:
            yield play
        except (KeyboardInterrupt, SystemExit):
            stack.close()  # what was made so far is a whole file
            raise


def library() -> Any:
    """The sounddevice library.

    Raises:
        AudioError: PortAudio is not installed.
    """
    try:
        import sounddevice
    except OSError as error:
        raise AudioError(
            f"no sound devices ({error}); on Debian: apt install libportaudio2"
        ) from error
    return sounddevice


def devices(direction: str) -> list[tuple[int, str, bool]]:
    """Number, name, and whether it is the default, of each device for "output" or "input".

    Raises:
        AudioError: PortAudio is missing or fails.
    """
    sound = library()
    try:
        chosen = sound.default.device[0 if direction == "input" else 1]
        return [
            (entry["index"], entry["name"], entry["index"] == chosen)
            for entry in sound.query_devices()
            if entry[f"max_{direction}_channels"] > 0
        ]
    except sound.PortAudioError as error:
        raise AudioError(f"the sound devices cannot be listed: {error}") from error


def as_device(wish: str | None) -> int | str | None:
    """A device as PortAudio takes it: a number, or a part of a name."""
    return int(wish) if wish and wish.isdigit() else wish


@contextmanager
def loudspeaker(sample_rate: int, device: str | None, instead: str) -> Generator[Play]:
    """Plays what it is given; see `sound_sink`.

    Raises:
        AudioError: there is no such loudspeaker, or it goes away.
    """
    sound = library()
    speaker = _Speaker(sound, sample_rate)
    try:
        stream = sound.OutputStream(
            sample_rate,
            channels=1,
            dtype="float32",
            device=as_device(device),
            latency=LATENCY_SECONDS,
            callback=speaker.fill,
            finished_callback=speaker.silent.set,
        )
        stream.start()
    except (sound.PortAudioError, ValueError) as error:
        what = f"no loudspeaker '{device}'" if device else "no loudspeaker"
        raise AudioError(f"{what} ({error}); {instead}") from error
    try:
        yield speaker.play
        speaker.finish(int((stream.latency + TAIL_SECONDS) * sample_rate))
        stream.stop()
    finally:
        stream.abort()  # unless it has stopped, what is still to come is not wanted any more
        stream.close()


class _Speaker:
    """Samples on their way from the maker's thread to PortAudio's."""

    def __init__(self, sound: Any, sample_rate: int):
        self._sound = sound
        self._most = int(AHEAD_SECONDS * sample_rate)
        self._pieces: deque[np.ndarray] = deque()
        self._held = 0
        self._tail: int | None = None
        """Samples of silence that are still to come; None before the end."""
        self._over = False
        self._changed = threading.Condition()
        self.silent = threading.Event()

    def play(self, samples: np.ndarray) -> None:
        with self._changed:
            while self._held > self._most and not self.silent.is_set():
                self._changed.wait(0.2)  # so that ctrl-C gets through
            if self.silent.is_set():
                raise AudioError(STOPPED)
            self._pieces.append(samples)
            self._held += len(samples)

    def finish(self, tail: int) -> None:
        """Wait until all is heard, and `tail` samples of silence after it.

        Raises:
            AudioError: the loudspeaker stopped before.
        """
        with self._changed:
            self._tail = tail
        while not self.silent.wait(0.1):
            pass
        if not self._over:
            raise AudioError(STOPPED)

    def fill(self, out: np.ndarray, frames: int, time: object, status: object) -> None:
        """PortAudio's call for the next samples [frames, 1]; silence where none are ready."""
        filled = 0
        with self._changed:
            while self._pieces and filled < frames:
                piece = self._pieces.popleft()
                taken = piece[: frames - filled]
                out[filled : filled + len(taken), 0] = taken
                filled += len(taken)
                if len(taken) < len(piece):
                    self._pieces.appendleft(piece[len(taken) :])
            self._held -= filled
            if self._tail is not None:
                self._tail -= frames - filled
            self._over = self._tail is not None and self._tail <= 0
            self._changed.notify()
        out[filled:] = 0.0
        if self._over:
            raise self._sound.CallbackStop
