"""Speech as bytes in a sound format, encoded while it is made, for clients that cannot seek.

What was handed over cannot be changed any more, but formats like to say at their beginning how
long they are. So a wav says that it has no end, a flac that it does not know its length, and an
mp3 keeps one bit rate, by which players find the length themselves.
"""

# (soundfile has no stubs, and no method for what `_shorten_pages` does.)
# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    import numpy as np
    from soundfile import SoundFile

__all__ = ["FORMATS", "Encoder"]

FORMATS = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "pcm": "audio/pcm",
}
"""The formats by name, and the content type of each."""

PCM = {"format": "RAW", "subtype": "PCM_16", "endian": "LITTLE"}
CODECS: dict[str, dict[str, Any]] = {
    "wav": PCM,  # after a header of ours
    # The lowest level is one with blocks of 1,152 samples; the usual one waits for 4,096.
    "flac": {"format": "FLAC", "subtype": "PCM_16", "compression_level": 0.0},
    # 64 kbit/s. The rate varies unless one says so, and then libsndfile guesses a length from the
    # first frames that may be half the true one, and reads no further.
    "mp3": {"format": "MP3", "compression_level": 0.6, "bitrate_mode": "CONSTANT"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "pcm": PCM,
}
"""What soundfile is told about each."""


class Encoder:
    """One stream of sound: push pieces of it, then finish.

    Raises:
        ValueError: there is no such format, or it cannot hold sound of that rate.
    """

    def __init__(self, form: str, sample_rate: int) -> None:
        from soundfile import LibsndfileError, SoundFile

        if form not in FORMATS:
            raise ValueError(f"{form!r} is not a sound format; there are {', '.join(FORMATS)}")
        self._out = _Outlet(_wav_header(sample_rate) if form == "wav" else b"")
        file = cast(BinaryIO, self._out)  # as much of one as libsndfile needs
        try:
            self._sound = SoundFile(file, "w", sample_rate, channels=1, **CODECS[form])
        except LibsndfileError as error:
            raise ValueError(f"{form} cannot hold sound of {sample_rate} Hz") from error
        self._silence = 0
        if form == "opus":
            _shorten_pages(self._sound)
            # Two packets. libsndfile (`ogg_opus_flush`) may encode what is left of the sound twice,
            # which clicks unless nothing is left but silence.
            self._silence = sample_rate // 25

    def push(self, samples: np.ndarray) -> bytes:
        """Samples [n], what is beyond -1...1 clipped -> the bytes that are ready, maybe none.

        Raises:
            ValueError: a sample is NaN, at which the mp3 encoder would end the whole process.
        """
        if (samples != samples).any():
            raise ValueError("the sound holds samples that are not numbers")
        self._sound.write(samples.clip(-1.0, 1.0))
        return self._out.take()

    def finish(self) -> bytes:
        """The rest. If there was no sound, a sample of silence: no mp3 or flac is of nothing."""
        silence = self._silence or int(not self._sound.frames)
        self._sound.buffer_write(bytes(2 * silence), "int16")
        self._sound.close()
        return self._out.take()


class _Outlet:
    """The file that libsndfile writes: what it appends can be taken once, and what it corrects
    after that is lost. Positions count from the end of `head`."""

    def __init__(self, head: bytes) -> None:
        self._waiting = bytearray(head)
        self._taken = -len(head)  # where `waiting` begins
        self._at = 0

    def write(self, data: bytes) -> int:
        news = data[max(0, self._taken - self._at) :]
        self._at += len(data)
        start = self._at - len(news) - self._taken
        self._waiting[start : start + len(news)] = news
        return len(data)

    def seek(self, offset: int, whence: int) -> None:
        self._at = offset + (0, self._at, self._taken + len(self._waiting))[whence]

    def tell(self) -> int:
        return self._at

    def take(self) -> bytes:
        data = bytes(self._waiting)
        self._taken += len(data)
        self._waiting.clear()
        return data


def _wav_header(rate: int) -> bytes:
    """Of PCM (format 1) with 1 channel, and 2 bytes or 16 bits a sample."""
    sound = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    endless = b"\xff" * 4  # for a size that nobody knows yet
    return b"RIFF" + endless + b"WAVEfmt " + sound + b"data" + endless


def _shorten_pages(sound: SoundFile) -> None:
    """Let ogg pages go after 60 ms of sound, not 1,000: SFC_SET_OGG_PAGE_LATENCY_MS (0x1302)."""
    import soundfile

    value = soundfile._ffi.new("double *", 60.0)
    soundfile._snd.sf_command(sound._file, 0x1302, value, soundfile._ffi.sizeof("double"))
