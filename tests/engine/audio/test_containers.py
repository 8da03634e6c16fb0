"""Half a recording is never taken for a whole one, in every container that tells its length."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lfm2audio_mlx.audio.containers import shortage
from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.errors import AudioError

FORMATS = {"wav": "WAV", "aiff": "AIFF", "ogg": "OGG", "opus": "OGG", "mp3": "MP3", "flac": "FLAC"}


def encoded(kind: str) -> bytes:
    """Three seconds of noise in a container."""
    samples = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    data = io.BytesIO()
    subtype = "OPUS" if kind == "opus" else None
    soundfile.write(data, samples, 16_000, format=FORMATS[kind], subtype=subtype)
    return data.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_file_is_not_short_of_anything(kind: str):
    data = encoded(kind)
    assert shortage(io.BytesIO(data)) is None
    assert len(read_audio(data, 16_000)) == pytest.approx(48_000, abs=2500)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_part_of_a_file_is_refused(tmp_path: Path, kind: str, kept: float):
    data = encoded(kind)
    path = tmp_path / f"part.{kind}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(AudioError, match=rf"part\.{kind}"):
        read_audio(path, 16_000)


def test_a_tag_before_an_mp3_does_not_hide_it():
    data = encoded("mp3")
    tag = b"ID3\x03\x00\x00" + bytes([0, 0, 1, 0]) + bytes(128)
    assert shortage(io.BytesIO(tag + data)) is None
    assert "promises" in (shortage(io.BytesIO((tag + data)[:-2000])) or "")


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\0\0\0\0"])
def test_a_wav_that_was_written_to_a_pipe_does_not_know_its_length(size: bytes):
    data = encoded("wav")
    assert shortage(io.BytesIO(data[:4] + size + data[8:])) is None


@pytest.mark.parametrize("data", [b"", b"R", b"RIFF", b"OggS", b"ID3", b"\xff\xfb", b"\0" * 100])
def test_next_to_nothing_is_no_traceback(data: bytes):
    shortage(io.BytesIO(data))
