"""Sound as kept conversations hold it: what was said to the bit, an answer as FLAC."""

# pyright: reportMissingTypeStubs=false
# (soundfile has none.)

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

from lfm2audio_mlx.errors import AudioError
from lfm2audio_mlx.results import Part

if TYPE_CHECKING:
    import numpy as np

__all__ = ["flac", "packed", "unflac", "unpacked"]


def packed(part: Part) -> tuple[str | None, int | None, bytes | None, float]:
    """Words, or rate and samples, of a part of what was said; and the seconds of its sound.

    Raises:
        AudioError: it is a file, or no sound.
    """
    if isinstance(part, str):
        return part, None, None, 0.0
    if not isinstance(part, tuple):
        raise AudioError("what was said is kept as samples with their rate, not as a file")
    import numpy as np

    from lfm2audio_mlx.audio.files import read_audio

    rate = int(part[1])
    samples = read_audio(part, rate)  # as the engine hears it: mono float32
    # Samples that were 16 bits once have zeros in the low bytes: side by side they take no room.
    planes = samples.astype("<f4").view(np.uint8).reshape(-1, 4).T
    return None, rate, zlib.compress(planes.tobytes()), len(samples) / rate


def unpacked(words: str | None, rate: int, samples: bytes) -> Part:
    if words is not None:
        return words
    import numpy as np

    planes = np.frombuffer(zlib.decompress(samples), np.uint8).reshape(4, -1)
    return np.ascontiguousarray(planes.T).view("<f4").ravel().astype(np.float32), rate


def flac(sound: tuple[np.ndarray, int] | None) -> tuple[int | None, bytes | None, float]:
    """Rate, FLAC and seconds of an answer's sound.

    Raises:
        AudioError: it cannot be encoded.
    """
    if sound is None:
        return None, None, 0.0
    import numpy as np
    import soundfile

    samples, rate = sound
    if not len(samples):  # which FLAC has no file for
        return rate, b"", 0.0
    file = io.BytesIO()
    try:
        soundfile.write(file, np.clip(samples, -1.0, 1.0), rate, "PCM_16", format="FLAC")
    except soundfile.LibsndfileError as error:
        raise AudioError(f"the answer's sound cannot be kept: {error.error_string}") from error
    return rate, file.getvalue(), len(samples) / rate


def unflac(rate: int | None, sound: bytes) -> tuple[np.ndarray, int] | None:
    if rate is None:
        return None
    import numpy as np
    import soundfile

    if sound == b"":
        return np.zeros(0, np.float32), rate
    samples: Any = soundfile.read(io.BytesIO(sound), dtype="float32")[0]
    return samples, rate
