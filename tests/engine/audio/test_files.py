"""Any sound file becomes mono samples or one line that says why not; what is written is whole."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.audio import files
from lfm2audio_mlx.audio.files import AudioSource, read_audio, writing
from lfm2audio_mlx.audio.probe import probe
from lfm2audio_mlx.errors import AudioError

RATE = 16_000
PCM_STEP = 2.0**-15  # 16-bit samples: half a step of rounding, and 32767 for 1.0
LOSSY = 0.05  # mp3 and ogg of a sine at half scale: heard as the same, not equal
RESAMPLED = 0.01  # of the peak of a sine in the middle; soxr HQ is far better
LOSSLESS = ("wav", "flac", "aiff")
CODED = ("mp3", "ogg")

FORMAT_AT, RIFF_SIZE_AT, DATA_SIZE_AT, DATA_AT = 20, 4, 40, 44  # bytes of a plain 16-bit wav


def sine(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


def encoded(samples: np.ndarray, rate: int = RATE, kind: str = "wav", subtype=None) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format=kind, subtype=subtype)
    return data.getvalue()


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def loudest_hertz(samples: np.ndarray, rate: int = RATE) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def refusal(source: AudioSource) -> str:
    """The one line by which a source is refused."""
    with pytest.raises(AudioError) as caught:
        read_audio(source, RATE)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(files.source_name(source))
    return message


@pytest.mark.parametrize("kind", LOSSLESS + CODED)
def test_every_format_reads(tmp_path: Path, kind: str):
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, sine(), RATE)
    heard = read_audio(path, RATE)
    assert heard.dtype == np.float32 and heard.shape == sine().shape
    assert np.abs(heard - sine()).max() <= (LOSSY if kind in CODED else PCM_STEP)


def test_a_flac_named_wav_reads(tmp_path: Path):
    path = tmp_path / "really_flac.wav"
    path.write_bytes(encoded(sine(), kind="flac"))
    assert np.abs(read_audio(path, RATE) - sine()).max() <= PCM_STEP
    probe(path)


@pytest.mark.parametrize("channels", [2, 8])
def test_channels_are_averaged(channels: int):
    sound = np.stack([sine(hertz=200.0 * (i + 1)) for i in range(channels)], axis=1)
    heard = read_audio(encoded(sound, subtype="FLOAT"), RATE)
    np.testing.assert_allclose(heard, sound.mean(axis=1), atol=1e-6)  # float32 sums of 8
    np.testing.assert_array_equal(heard, read_audio((sound, RATE), RATE))


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 192_000])
def test_other_rates_keep_length_pitch_and_loudness(rate: int):
    heard = read_audio((sine(1.0, rate), rate), RATE)
    assert abs(len(heard) - RATE) <= 1  # rounding of the last sample
    assert loudest_hertz(heard) == pytest.approx(440.0, abs=RATE / len(heard))  # one bin
    middle = slice(RATE // 4, RATE // 2)
    wanted = sine(1.0)[middle]
    assert np.abs(heard[middle] - wanted).max() <= RESAMPLED * 0.5


def test_a_pitch_above_the_new_band_is_removed_not_folded():
    heard = read_audio((sine(0.5, 48_000, hertz=12_000.0), 48_000), RATE)
    assert np.abs(heard[500:-500]).max() < 0.005  # -40 dB; naive decimation leaves all of it


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("block", [1, 997])
def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch, rate: int, block: int):
    sound = np.stack([sine(0.2, rate), sine(0.2, rate, 600.0)], axis=1)
    data = encoded(sound, rate)
    whole = read_audio(data, RATE)
    monkeypatch.setattr(files, "BLOCK", block)
    np.testing.assert_array_equal(read_audio(data, RATE), whole)
    as_array = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    np.testing.assert_array_equal(read_audio((as_array, rate), RATE), whole)


def test_bytes_path_text_and_array_give_the_same(tmp_path: Path):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(sine(), subtype="FLOAT"))
    sources: list[AudioSource] = [path, str(path), path.read_bytes(), (sine(), RATE)]
    for source in sources:
        np.testing.assert_array_equal(read_audio(source, RATE), sine())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arrays_of_every_float_type_read(dtype: str):
    heard = read_audio((sine().astype(dtype), RATE), RATE)
    assert heard.dtype == np.float32
    np.testing.assert_allclose(heard, sine(), atol=1e-3)  # float16 has 11 bits


@pytest.mark.parametrize("size", [b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80"])
def test_a_streamed_wav_that_does_not_know_its_size_reads(size: bytes):
    data = encoded(sine())
    data = patched(patched(data, RIFF_SIZE_AT, size), DATA_SIZE_AT, size)
    np.testing.assert_array_equal(read_audio(data, RATE), read_audio(encoded(sine()), RATE))


def test_a_wav_without_samples_is_no_sound():
    assert read_audio(encoded(sine()[:0]), RATE).size == 0


def test_an_array_without_samples_is_no_sound():
    assert read_audio((np.zeros(0, np.float32), RATE), RATE).size == 0


BROKEN = {
    "empty": b"",
    "text": b"this is a shopping list, not a sound\n" * 20,
    "short text": b"RIFF",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "wav cut in the samples": encoded(sine())[:4000],
    "wav cut by one byte": encoded(sine())[:-1],
    "wav cut after the header": encoded(sine())[:DATA_AT],
    "wav cut in the header": encoded(sine())[:30],
    "aiff cut": encoded(sine(), kind="aiff")[:4000],
    "flac cut": encoded(sine(), kind="flac")[:-100],
    "flac cut in the header": encoded(sine(), kind="flac")[:30],
    "wav of unknown coding": patched(encoded(sine()), FORMAT_AT, b"\x77\x77"),
    "wav of a coding that cannot seek": patched(encoded(sine()), FORMAT_AT, b"\x40\0"),
    "wav without channels": patched(encoded(sine()), 22, b"\0\0"),
    "wav without a rate": patched(encoded(sine()), 24, bytes(4)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_line_that_names_it(tmp_path: Path, name: str):
    path = tmp_path / "broken.wav"
    path.write_bytes(BROKEN[name])
    refusal(path)
    refusal(BROKEN[name])


def test_a_truncated_wav_is_called_truncated(tmp_path: Path):
    assert "truncated" in refusal(BROKEN["wav cut in the samples"])


def test_what_is_no_file_is_refused_by_name(tmp_path: Path):
    assert "no such file" in refusal(tmp_path / "missing.wav")
    assert "folder" in refusal(tmp_path)
    assert "no such file" in refusal(str(tmp_path / "no" / "where.wav"))
    refusal("a" * 5000)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_one_sample_that_is_not_finite_is_refused(bad: float, rate: int):
    sound = sine(rate=rate)
    sound[777] = bad
    assert "not finite" in refusal((sound, rate))
    assert "not finite" in refusal(encoded(sound, rate, subtype="FLOAT"))


ARRAYS = {
    "whole numbers": (np.zeros(800, np.int16), RATE),
    "complex": (np.zeros(800, np.complex64), RATE),
    "words": (np.array(["a", "b"]), RATE),
    "a single number": (np.array(0.5), RATE),
    "three axes": (np.zeros((10, 2, 2), np.float32), RATE),
    "no channels": (np.zeros((800, 0), np.float32), RATE),
    "beyond float32": (np.full(800, 1e300), RATE),
    "beyond float32 once summed": (np.full((800, 2), 3e38, np.float32), RATE),
    "infinities that meet": (np.full((800, 2), [np.inf, -np.inf]), RATE),
    "rate 0": (sine(), 0),
    "rate below 0": (sine(), -16_000),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_bad_array_is_refused(name: str):
    refusal(ARRAYS[name])


def test_a_pipe_is_read_or_refused_in_one_line(monkeypatch: pytest.MonkeyPatch):
    """`lfm transcribe <(some command)` hands over such a path."""
    reader, writer = os.pipe()
    os.write(writer, encoded(sine(0.1)))
    os.close(writer)
    try:
        with contextlib.suppress(AudioError):
            assert read_audio(f"/dev/fd/{reader}", RATE).size == 1600
    finally:
        os.close(reader)


def test_a_name_that_no_file_can_have_is_refused():
    refusal("a\0b.wav")


def test_probe_refuses_the_hopeless(tmp_path: Path):
    for name in ("empty", "text", "wav cut in the samples", "wav cut in the header", "aiff cut"):
        path = tmp_path / "broken.wav"
        path.write_bytes(BROKEN[name])
        with pytest.raises(AudioError, match=r"broken\.wav"):
            probe(path)
    with pytest.raises(AudioError, match="no such file"):
        probe(tmp_path / "missing.wav")
    with pytest.raises(AudioError, match="folder"):
        probe(str(tmp_path))


@pytest.mark.parametrize("kind", LOSSLESS + CODED)
def test_probe_passes_the_good(tmp_path: Path, kind: str):
    path = tmp_path / "good"
    path.write_bytes(encoded(sine(), kind=kind))
    probe(path)


def samples_or_refusal(data: bytes) -> None:
    """Samples, all finite, or an AudioError; at another rate too."""
    with contextlib.suppress(AudioError):
        assert np.isfinite(read_audio(data, RATE)).all()


@settings(max_examples=150)
@given(
    head=st.sampled_from([b"", b"RIFF", b"FORM", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b".snd"]),
    rest=st.binary(max_size=300),
)
def test_arbitrary_bytes_give_samples_or_an_audio_error(head: bytes, rest: bytes):
    samples_or_refusal(head + rest)


SOUNDS = {
    "pcm": encoded(sine(0.05)),
    "float": encoded(sine(0.05), subtype="FLOAT"),
    "stereo": encoded(np.stack([sine(0.05), sine(0.05)], axis=1), 44_100, subtype="FLOAT"),
    "flac": encoded(sine(0.05), kind="flac"),
    "aiff": encoded(sine(0.05), kind="aiff"),
}
# A rate of a few hertz is legal and makes a long sound of a short file; not what is tried here.
MUTABLE = [at for at in range(200) if at not in range(24, 28)]


@settings(max_examples=200)
@given(
    name=st.sampled_from(sorted(SOUNDS)),
    changes=st.lists(st.tuples(st.sampled_from(MUTABLE), st.binary(min_size=1, max_size=1))),
    keep=st.one_of(st.none(), st.integers(0, 600)),
)
def test_mutated_files_give_samples_or_an_audio_error(
    name: str, changes: list[tuple[int, bytes]], keep: int | None
):
    data = SOUNDS[name]
    for at, new in changes:
        data = patched(data, at, new)
    samples_or_refusal(data[:keep])


# Writing.


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_written_file_holds_what_was_written(tmp_path: Path, kind: str):
    path = tmp_path / f"a.{kind}"
    with writing(path, 24_000) as put:
        for start in range(0, 12_000, 1000):
            put(sine(0.5, 24_000)[start : start + 1000])
    heard, rate = soundfile.read(path, dtype="float32")
    assert rate == 24_000 and soundfile.info(path).channels == 1
    assert np.abs(heard - sine(0.5, 24_000)).max() <= PCM_STEP
    assert soundfile.info(path).format == kind.upper()


@pytest.mark.parametrize("kind", ["mp3", "ogg", "opus", "aif", "WAV"])
def test_other_extensions_are_written_in_their_format(tmp_path: Path, kind: str):
    path = tmp_path / f"a.{kind}"
    with writing(path, 24_000) as put:
        put(sine(0.5, 24_000))
    heard = read_audio(path, 24_000)
    assert abs(len(heard) - 12_000) <= 1152  # a frame of mp3
    assert loudest_hertz(heard, 24_000) == pytest.approx(440.0, abs=4.0)  # two bins


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_loud_sound_is_clipped_not_wrapped(tmp_path: Path, kind: str):
    loud = np.array([0.0, 1.0, 1.5, 40.0, -1.0, -1.5, -40.0], np.float32)
    path = tmp_path / f"loud.{kind}"
    with writing(path, 24_000) as put:
        put(loud)
    heard, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(heard, np.clip(loud, -1, 1), atol=PCM_STEP)


def test_loud_sound_is_clipped_where_the_format_would_keep_it(tmp_path: Path):
    """Vorbis holds any loudness; libsndfile itself clips only whole numbers."""
    path = tmp_path / "loud.ogg"
    with writing(path, 24_000) as put:
        put(80 * sine(0.5, 24_000))
    heard, _ = soundfile.read(path, dtype="float32")
    assert 0.9 < np.abs(heard).max() < 2  # a coded square wave overshoots; unclipped it is 40


def test_nothing_appears_under_the_name_before_the_end(tmp_path: Path):
    path = tmp_path / "a.wav"
    with writing(path, 24_000) as put:
        put(sine())
        assert not path.exists()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_after_an_exception_nothing_is_left(tmp_path: Path, error: type[BaseException]):
    with pytest.raises(error), writing(tmp_path / "a.wav", 24_000) as put:
        put(sine())
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_survives_an_exception_and_yields_to_success(tmp_path: Path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"the old one")
    with pytest.raises(RuntimeError), writing(path, 24_000) as put:
        put(sine())
        raise RuntimeError
    assert path.read_bytes() == b"the old one"
    with writing(path, 24_000) as put:
        put(sine())
    assert soundfile.info(path).frames == sine().size
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.raw", ".wav", "no/such/folder/a.wav"])
def test_what_cannot_be_written_is_an_audio_error(tmp_path: Path, name: str):
    with pytest.raises(AudioError) as caught, writing(tmp_path / name, 24_000) as put:
        put(sine())
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_rate_that_the_format_lacks_is_an_audio_error(tmp_path: Path):
    with pytest.raises(AudioError, match=r"a\.mp3"), writing(tmp_path / "a.mp3", 192_000) as put:
        put(sine())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_under_the_name_is_an_audio_error(tmp_path: Path):
    path = tmp_path / "a.wav"
    path.mkdir()
    with pytest.raises(AudioError, match=r"a\.wav"), writing(path, 24_000) as put:
        put(sine())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_umask_decides_who_may_read(tmp_path: Path, mask: int):
    path = tmp_path / "a.wav"
    with umask(mask), writing(path, 24_000) as put:
        put(sine())
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    assert os.umask(os.umask(0o022)) != 0o777  # and the process's own is as before
