"""Where speech goes: into a file, or out of the loudspeaker."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# (sounddevice has no types.)

import contextlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from lfm2audio_mlx.audio.files import writing
from lfm2audio_mlx.errors import AudioError

__all__ = ["sound_sink"]

Play = Callable[[np.ndarray], None]


def sound_sink(output: Path | None, sample_rate: int) -> AbstractContextManager[Play]:
    """A function that takes mono samples [n] as they come; it ends when the context does.

    Raises:
        AudioError: the file cannot be written, or there is no loudspeaker.
    """
    return writing(output, sample_rate) if output else _loudspeaker(sample_rate)


@contextlib.contextmanager
def _loudspeaker(sample_rate: int) -> Generator[Play]:
    try:
        import sounddevice

        stream = sounddevice.OutputStream(sample_rate, channels=1, dtype="float32")
    except Exception as error:  # PortAudio missing is an OSError, no device its own error
        raise AudioError(
            f"no loudspeaker ({error}); -o FILE keeps the sound, chat has --no-audio"
        ) from error

    def play(samples: np.ndarray) -> None:
        stream.write(samples[:, None])

    with stream:
        yield play
