"""m4a and its like: read and written by the system's converter, or refused with its name."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lfm2audio_mlx.audio import foreign
from lfm2audio_mlx.audio.files import check_output, read_audio, writing
from lfm2audio_mlx.audio.probe import probe
from lfm2audio_mlx.errors import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def tone() -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.float32)


def loudest(samples: np.ndarray) -> float:
    """The frequency in Hz that 16 kHz samples hold most of."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples))


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.aac", "a.webm", "a.mp4", "a.wma", "a.mov"])
def test_what_libsndfile_does_not_know_is_converted(tmp_path: Path, name: str):
    soundfile.write(tmp_path / "a.wav", tone(), 16_000)
    command = ["ffmpeg", "-loglevel", "error", "-i", "a.wav", name]
    subprocess.run(command, cwd=tmp_path, check=True)
    probe(tmp_path / name)
    for source in (tmp_path / name, (tmp_path / name).read_bytes()):
        samples = read_audio(source, 16_000)
        assert 1.9 < len(samples) / 16_000 < 2.3
        assert loudest(samples) == pytest.approx(440, abs=5)


@needs_ffmpeg
def test_flac_of_unknown_length_is_converted(tmp_path: Path):
    """As who streams it leaves it; libsndfile reads it, and fails at its end."""
    soundfile.write(tmp_path / "a.flac", tone(), 16_000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    whole = read_audio(bytes(data), 16_000)
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    probe(tmp_path / "a.flac")
    assert np.array_equal(read_audio(tmp_path / "a.flac", 16_000), whole)


@needs_ffmpeg
def test_m4a_is_written(tmp_path: Path):
    with writing(tmp_path / "a.m4a", 16_000) as write:
        write(tone()[:10_000])
        write(tone()[10_000:])
    assert [path.name for path in tmp_path.iterdir()] == ["a.m4a"]
    assert foreign.is_foreign((tmp_path / "a.m4a").read_bytes()[: foreign.HEAD])
    assert loudest(read_audio(tmp_path / "a.m4a", 16_000)) == pytest.approx(440, abs=5)


@needs_ffmpeg
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + b"x" * 1000)
    with pytest.raises(AudioError, match=r"a\.m4a: cannot be read: ffmpeg: .") as caught:
        read_audio(tmp_path / "a.m4a", 16_000)
    assert "\n" not in str(caught.value)


def test_without_a_converter_both_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(foreign, "AFCONVERT", str(tmp_path / "afconvert"))
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + b"x" * 1000)
    with pytest.raises(AudioError, match=r"a\.m4a: .*afconvert.*ffmpeg"):
        probe(tmp_path / "a.m4a")
    with pytest.raises(AudioError, match=r"b\.m4a: .*afconvert.*ffmpeg"):
        check_output(tmp_path / "b.m4a")


def test_on_a_mac_afconvert_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for macOS's afconvert, which is not here: it notes how it was called and copies
    a wav file to where the sound should go."""
    soundfile.write(tmp_path / "tone.wav", tone(), 16_000)
    stand_in = tmp_path / "afconvert"
    stand_in.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/called\nfor last; do :; done\n'
        f'cp {tmp_path}/tone.wav "$last"\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr(foreign, "AFCONVERT", str(stand_in))
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + b"x" * 1000)
    assert len(read_audio(tmp_path / "a.m4a", 16_000)) == 32_000
    assert (tmp_path / "called").read_text().startswith("-f caff -d LEI16 ")
    with writing(tmp_path / "b.m4a", 16_000) as write:
        write(tone())
    assert (tmp_path / "called").read_text().startswith("-f m4af -d aac ")
    assert (tmp_path / "b.m4a").exists()


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (b"\0\0\0\x20ftypisom", True),
        (b"\x1a\x45\xdf\xa3 webm", True),
        (b"\x30\x26\xb2\x75\x8e\x66", True),
        (b"\xff\xf1\x50\x80", True),
        (b"\xff\xfb\x90\x00", False),  # mp3
        (b"RIFF\0\0\0\0WAVE", False),
        (b"", False),
    ],
)
def test_formats_are_told_by_their_first_bytes(head: bytes, wanted: bool):
    assert foreign.is_foreign(head) is wanted


@needs_ffmpeg
def test_a_look_converts_nothing_and_reading_converts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    soundfile.write(tmp_path / "a.wav", tone(), 16_000)
    command = ["ffmpeg", "-loglevel", "error", "-i", "a.wav", "-a.m4a"]
    subprocess.run([*command[:-1], "./-a.m4a"], cwd=tmp_path, check=True)
    calls: list[object] = []
    run = foreign._run
    monkeypatch.setattr(foreign, "_run", lambda commands: calls.append(commands) or run(commands))
    monkeypatch.chdir(tmp_path)
    probe("-a.m4a")
    assert calls == []
    assert len(read_audio("-a.m4a", 16_000)) > 30_000
    assert len(calls) == 1
