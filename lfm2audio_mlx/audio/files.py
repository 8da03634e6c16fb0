"""Sound files to samples and back: any rate and channel count in, mono float32 inside.

Reading is by content, not by name: a flac called .wav is read all the same. Long files are read
and resampled in blocks, so memory holds the result and little more. Resampling is soxr HQ; the
reference uses torchaudio's windowed sinc, which differs by 2-4 % near the band edge, so only
16 kHz recordings give the reference's features to the bit.
"""

import contextlib
import io
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from lfm2audio_mlx.audio import foreign
from lfm2audio_mlx.audio.containers import shortage
from lfm2audio_mlx.audio.probe import READABLE, open_sound, source_name
from lfm2audio_mlx.errors import AudioError, ContextError

__all__ = [
    "AudioSource",
    "check_header",
    "check_output",
    "read_audio",
    "streaming",
    "writing",
]

AudioSource = str | Path | bytes | tuple[np.ndarray, int]
"""A file's path, a file's bytes, or samples ([n] or [n, channels], in -1...1) with their rate."""

BLOCK = 1 << 18
RATES = (1_000, 1_000_000)
"""Sample rates in Hz that sound is kept at, generously; another one is a damaged header."""

WRITABLE = {
    ".wav": ("WAV", None),
    ".flac": ("FLAC", None),
    ".mp3": ("MP3", None),
    ".ogg": ("OGG", None),
    ".opus": ("OGG", "OPUS"),
    ".aif": ("AIFF", None),
    ".aiff": ("AIFF", None),
    ".m4a": ("WAV", None),
}
"""Format and subtype, as libsndfile names them, by a file's ending; m4a is encoded afterwards."""


def read_audio(source: AudioSource, sample_rate: int, longest: float = float("inf")) -> np.ndarray:
    """The sound of `source` as mono float32 samples [n] at `sample_rate`.

    Raises:
        AudioError: not there, not readable, no sound file, empty, truncated, or not finite.
        ContextError: it lasts more than `longest` seconds; nothing has been read then.
    """
    with streaming(source, sample_rate) as (duration, blocks):
        if duration > longest:
            raise ContextError(
                f"{source_name(source)}: {duration:,.0f} s of sound, the model's context holds "
                f"{longest:,.0f} s: cut it into pieces"
            )
        pieces = list(blocks)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


@contextlib.contextmanager
def streaming(
    source: AudioSource, sample_rate: int
) -> Iterator[tuple[float, Iterator[np.ndarray]]]:
    """The length of `source` in seconds, and its sound in blocks as they are read.

    Blocks are mono float32 samples [n] at `sample_rate`; a recording of hours takes no more
    memory than one of minutes.

    Raises (also while blocks are read):
        AudioError: not there, not readable, no sound file, empty, truncated, or not finite.
    """
    name = source_name(source)
    if not isinstance(source, str | Path | bytes | tuple):
        raise AudioError("audio must be a path, bytes, or a tuple of samples and sample rate")
    if isinstance(source, tuple):
        blocks, rate = _array_blocks(*source, name)
        yield len(source[0]) / rate, _mono(blocks, rate, sample_rate, name)
        return
    with _opened(source, name) as sound:
        rate = sound.samplerate
        yield sound.frames / rate, _mono(_file_blocks(sound, name), rate, sample_rate, name)


@contextlib.contextmanager
def _opened(source: str | Path | bytes, name: str) -> Iterator[soundfile.SoundFile]:
    """A sound file or its bytes, open for reading; all that goes wrong becomes an AudioError."""
    path = Path(source) if not isinstance(source, bytes) and os.path.isfile(source) else None
    with open_sound(source, name) as original, foreign.readable(original, name, path) as data:
        if missing := shortage(data):
            raise AudioError(f"{name}: truncated: {missing}")
        try:
            # By its descriptor, so that libsndfile reads it without calling back into Python.
            file = data if isinstance(data, io.BytesIO) else data.fileno()
            with soundfile.SoundFile(file, closefd=False) as sound:
                if not sound.seekable():  # formats that libsndfile can only half read
                    raise AudioError(f"{name}: {sound.subtype_info} is not supported")
                _check_rate(sound.samplerate, name)
                yield sound
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{name}: not a sound file that can be read ({READABLE}), or damaged: "
                f"{error.error_string}"
            ) from error


def _file_blocks(sound: soundfile.SoundFile, name: str) -> Iterator[np.ndarray]:
    read = 0
    for block in sound.blocks(BLOCK, dtype="float32", always_2d=True):
        read += len(block)
        yield block
    if read < sound.frames:
        raise AudioError(f"{name}: truncated: {read:,} of {sound.frames:,} samples are there")


def _array_blocks(samples: np.ndarray, rate: int, name: str) -> tuple[Iterator[np.ndarray], int]:
    if (
        samples.ndim not in (1, 2)
        or not np.issubdtype(samples.dtype, np.floating)
        or samples.shape[1:] == (0,)
    ):
        raise AudioError(f"{name}: must be float samples [n] or [n, channels]")
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        raise AudioError(
            f"{name}: shape {samples.shape} looks like [channels, n], not [n, channels]"
        )
    _check_rate(rate, name)
    samples = samples[:, None] if samples.ndim == 1 else samples
    return (samples[at : at + BLOCK] for at in range(0, len(samples), BLOCK)), rate


def _check_rate(rate: float, name: str) -> None:
    # Written so that NaN is refused too.
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(f"{name}: a sample rate of {rate} Hz is outside {RATES[0]}...{RATES[1]}")


def _mono(blocks: Iterator[np.ndarray], rate: int, wanted: int, name: str) -> Iterator[np.ndarray]:
    """Blocks [n, channels] at `rate` -> mono [n] at `wanted`, the channels averaged."""
    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    for block in blocks:
        with np.errstate(over="ignore", invalid="ignore"):
            mono = block.mean(axis=1).astype(np.float32)
        # Before resampling, which would smear one NaN over hundreds of samples.
        if not np.isfinite(mono).all():
            raise AudioError(f"{name}: holds samples that are not finite (NaN or infinity)")
        yield mono if rate == wanted else resampler.resample_chunk(mono)
    if rate != wanted:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def check_header(path: str | Path) -> None:
    """Refuse what libsndfile cannot read, without reading on.

    Raises:
        AudioError: not there, not readable, no sound file, empty or truncated.
    """
    with _opened(path, source_name(path)):
        pass


def check_output(path: Path) -> None:
    """Refuse a name that `writing` cannot serve, before any work.

    Raises:
        AudioError: the format is unknown or needs a program that is not here, or there is no such
            folder.
    """
    if path.suffix.lower() not in WRITABLE:
        raise AudioError(f"{path}: cannot write that; the endings are {', '.join(WRITABLE)}")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder")
    if not path.parent.is_dir():
        raise AudioError(f"{path}: the folder {path.parent} does not exist")
    if path.suffix.lower() == ".m4a":
        foreign.check_converter(str(path))


@contextlib.contextmanager
def writing(path: Path, sample_rate: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Write mono samples to `path` as they come, in the format of its ending.

    The file appears under its name when all is written, in place of one that was there; after an
    error there is none.

    Raises:
        AudioError: see `check_output`; or the folder cannot be written, or the disk is full.
    """
    check_output(path)
    path = path.resolve()  # what a link points to is replaced, not the link
    kind, subtype = WRITABLE[path.suffix.lower()]
    unfinished = path.with_name(f".lfm-{secrets.token_hex(8)}")
    encoded = unfinished.with_name(f"{unfinished.name}.m4a")
    try:
        with soundfile.SoundFile(
            unfinished, "w", sample_rate, channels=1, format=kind, subtype=subtype
        ) as sound:
            yield lambda samples: sound.write(np.clip(samples, -1.0, 1.0))
        if path.suffix.lower() == ".m4a":
            foreign.encode(unfinished, encoded)
            encoded.replace(path)
        else:
            unfinished.replace(path)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: cannot be written: {error.error_string}") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
        encoded.unlink(missing_ok=True)
