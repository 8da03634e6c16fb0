"""Speech encoded piece by piece is the same sound as encoded at once, and none of it waits long."""

import gc
import io
import os
import shutil
import struct
import subprocess
import sys
import wave
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.audio.files import read_audio, writing
from lfm_daemon.encoding import FORMATS, Encoder, _Outlet

RATE = 24_000  # of the real model; small ones have 16 kHz
RATES = (16_000, RATE)
FRAME = 1920  # samples that the codec gives at a time, 80 ms of sound

PCM_STEP = 2.0**-15  # libsndfile's conversion to 16 bits rounds down, so up to a whole step
LOSSY = 0.05  # mp3 of a sine at half scale: heard as the same, not equal
HARD_START = 0.15  # opus of the same, which takes some milliseconds to settle; later it is 0.05
MP3_DELAY = 576 + 576 + 529  # a frame without sound where Xing would be, LAME's delay, a decoder's
MP3_FRAME = 576
OPUS_REST = 0.04  # seconds of silence that end a stream

BEGINNINGS = {"wav": b"RIFF", "flac": b"fLaC", "mp3": b"\xff\xf3", "opus": b"OggS"}
HELD_BACK = {"wav": 0.0, "pcm": 0.0, "flac": 0.06, "mp3": 0.13, "opus": 0.1}
"""Seconds of sound that may wait: a block of flac is 48 ms, LAME looks ahead by two of its frames
and shares bytes between them, and a page of ogg closes after 60 ms."""

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def sine(seconds: float = 1.1, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype("f4")


def speechlike(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Silence, then syllables of a gliding tone with a little noise."""
    time = np.arange(int(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * (300 * time + 20 * np.sin(5 * time)))
    tone += 0.05 * np.random.default_rng(0).standard_normal(len(time))
    return (0.4 * tone * (0.5 + 0.5 * np.sin(9 * time)) * (time > 0.2)).astype("f4")


def encoded(
    form: str, samples: np.ndarray, rate: int = RATE, sizes: Sequence[int] = ()
) -> list[bytes]:
    """What each push gave, the last of them of all that `sizes` leave, and what the end gave."""
    encoder = Encoder(form, rate)
    pieces = [encoder.push(piece) for piece in np.split(samples, np.cumsum(sizes, dtype=int))]
    return [*pieces, encoder.finish()]


def frames(count: int) -> list[int]:
    return [FRAME] * (count // FRAME)


def whole(form: str, samples: np.ndarray, rate: int = RATE, sizes: Sequence[int] = ()) -> bytes:
    return b"".join(encoded(form, samples, rate, sizes))


def with_length(flac: bytes, samples: int) -> bytes:
    """The same with its length in its head, without which soundfile reads no flac to its end.

    STREAMINFO begins at byte 8; the length is the low 36 bits of its eight bytes from 10 on.
    """
    (field,) = struct.unpack(">Q", flac[18:26])
    assert field % 2**36 == 0, "a stream does not know its length"
    return flac[:18] + struct.pack(">Q", field + samples) + flac[26:]


def tolerance(form: str) -> float:
    return {"mp3": LOSSY, "opus": HARD_START}.get(form, PCM_STEP)


def decoded(form: str, data: bytes, samples: int, rate: int = RATE) -> np.ndarray:
    """What libsndfile hears."""
    if form == "pcm":
        return np.frombuffer(data, "<i2").astype("f4") / 2**15
    if form == "flac":
        data = with_length(data, samples)
    heard, found = soundfile.read(io.BytesIO(data), dtype="float32")
    assert found == rate and heard.ndim == 1
    return heard


def aligned(form: str, heard: np.ndarray, samples: int, rate: int = RATE) -> np.ndarray:
    """Without the silence that mp3 puts before and after, up to whole frames, and opus after."""
    more = len(heard) - samples
    if form == "mp3":
        assert MP3_DELAY <= more < MP3_DELAY + 2 * MP3_FRAME
        return heard[MP3_DELAY:][:samples]
    assert more == (int(OPUS_REST * rate) if form == "opus" else 0)
    return heard[:samples]


def test_the_formats_and_their_content_types():
    assert FORMATS == {
        "wav": "audio/wav",
        "flac": "audio/flac",
        "mp3": "audio/mpeg",
        "opus": "audio/ogg",
        "pcm": "audio/pcm",
    }


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_stream_is_the_sound_that_was_pushed(form: str, rate: int):
    sound = sine(rate=rate)
    data = whole(form, sound, rate, frames(len(sound)))
    assert data.startswith(BEGINNINGS.get(form, b""))
    heard = aligned(form, decoded(form, data, len(sound), rate), len(sound), rate)
    assert np.abs(heard - sound).max() <= tolerance(form)


@pytest.mark.parametrize("form", ["wav", "pcm"])
def test_plain_samples_are_those_of_a_file_that_the_command_writes(form: str, tmp_path: Path):
    """To the bit, since both leave the conversion to libsndfile."""
    with writing(tmp_path / "a.wav", RATE) as write:
        write(speechlike())
    file = (tmp_path / "a.wav").read_bytes()
    assert whole(form, speechlike())[44 if form == "wav" else 0 :] == file[44:]


def test_a_wav_is_that_of_a_file_but_for_its_sizes(tmp_path: Path):
    with writing(tmp_path / "a.wav", RATE) as write:
        write(sine())
    head = bytearray((tmp_path / "a.wav").read_bytes()[:44])
    head[4:8] = head[40:44] = b"\xff" * 4
    data = whole("wav", sine(), sizes=frames(len(sine())))
    assert data[:44] == head
    with wave.open(io.BytesIO(data)) as reader:
        assert (reader.getnchannels(), reader.getsampwidth(), reader.getframerate()) == (1, 2, RATE)
        assert reader.readframes(reader.getnframes()) == data[44:]


@pytest.mark.parametrize("rate", RATES)
def test_an_mp3_has_64_kbit_a_second(rate: int):
    """By which players find its length: exactly, but for half a frame of rounding."""
    data = whole("mp3", speechlike(rate=rate), rate)
    samples = len(decoded("mp3", data, 0, rate))
    assert abs(len(data) * 8 / 64_000 - samples / rate) < MP3_FRAME / 2 / rate


@pytest.mark.parametrize("rate", [8_000, 12_000, 16_000, 24_000, 48_000])
def test_opus_takes_every_rate_that_it_knows(rate: int):
    sound = sine(rate=rate)
    heard = decoded("opus", whole("opus", sound, rate), len(sound), rate)
    assert np.abs(aligned("opus", heard, len(sound), rate) - sound).max() <= HARD_START


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("beyond", [0.0, 0.003, 0.0101, 0.0163])
def test_opus_does_not_click_at_its_end(beyond: float, rate: int):
    """Wherever in a packet a loud sound ends. What libsndfile does by itself is off by 0.2 to 1."""
    sound = sine(1.0 + beyond, rate)
    heard = decoded("opus", whole("opus", sound, rate), len(sound), rate)
    silent = np.pad(sound, (0, len(heard) - len(sound)))
    assert np.abs(heard - silent)[-int(0.08 * rate) :].max() <= HARD_START


@pytest.mark.parametrize("form", ["wav", "mp3", "opus"])
def test_the_engine_reads_it(form: str):
    """But not flac, whose length it wants to know (nor pcm, which does not say what it is)."""
    sound = sine()
    heard = aligned(form, read_audio(whole(form, sound), RATE), len(sound))
    assert np.abs(heard - sound).max() <= tolerance(form)


@needs_ffmpeg
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("form", FORMATS)
def test_ffmpeg_reads_it_from_a_pipe_without_complaint(form: str, rate: int):
    sound = speechlike(rate=rate)
    data = whole(form, sound, rate, frames(len(sound)))
    told = ["-f", "s16le", "-ar", str(rate)] if form == "pcm" else []
    command = ["ffmpeg", "-v", "error", *told, "-i", "-", "-f", "s16le", "-"]
    result = subprocess.run(command, input=data, capture_output=True, check=True)
    assert result.stderr == b""
    heard = np.frombuffer(result.stdout, "<i2").astype("f4") / 2**15
    if form == "opus":
        seconds = len(sound) / rate + OPUS_REST
        assert len(heard) == round(48_000 * seconds)  # the only rate that ffmpeg decodes to
    elif form == "mp3":
        # Both decoders follow the standard, which allows them some steps; the delay is the same.
        ours = decoded(form, data, len(sound), rate)
        np.testing.assert_allclose(heard, ours, atol=4 * PCM_STEP)
    else:
        np.testing.assert_array_equal(heard, decoded(form, data, len(sound), rate))


@given(sizes=st.lists(st.integers(0, 5_000), max_size=12))
@settings(max_examples=25)
@pytest.mark.parametrize("form", ["wav", "pcm", "flac", "mp3"])
def test_pieces_make_no_difference(form: str, sizes: list[int]):
    sound = speechlike(0.5)
    assert whole(form, sound, sizes=sizes) == whole(form, sound)


@pytest.mark.parametrize("sizes", [[1], [0, 7, 0, 5_000, 333], [FRAME] * 12, [23_999]])
def test_pieces_make_no_difference_to_how_opus_sounds(sizes: list[int]):
    """Its bytes differ, as every ogg stream has a number of its own."""
    sound = speechlike(1.0)
    heard = [decoded("opus", whole("opus", sound, sizes=s), len(sound)) for s in (sizes, [])]
    np.testing.assert_array_equal(heard[0], heard[1])


@pytest.mark.parametrize("form", FORMATS)
def test_sound_is_handed_over_while_it_is_made(form: str):
    """As many of all bytes as of the sound was pushed, but for a moment that the codec keeps.

    The sound is even, and so are its bytes over time; what precedes it is not counted.
    """
    sound = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype("f4")
    *pushed, last, end = encoded(form, sound, sizes=frames(len(sound)))
    assert pushed[0]
    total = sum(map(len, pushed)) + len(last) + len(end)
    for count, given_so_far in enumerate(np.cumsum([len(piece) for piece in pushed]), start=1):
        seconds = count * FRAME / RATE
        assert given_so_far / total * 2 >= seconds - HELD_BACK[form] - 1e-3


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_too_loud_is_clipped(form: str):
    loud, clipped = 4 * sine(), np.clip(4 * sine(), -1, 1)
    count = len(loud)
    heard = [decoded(form, whole(form, sound), count) for sound in (loud, clipped)]
    np.testing.assert_array_equal(heard[0], heard[1])
    # And never wrapped round to the other side. Lossy codecs overshoot edges as steep as these.
    heard = aligned(form, heard[0], count)
    assert np.abs(heard - clipped).max() <= (0.5 if form in ("mp3", "opus") else PCM_STEP)


@pytest.mark.parametrize("pushes", [0, 2])
@pytest.mark.parametrize("form", FORMATS)
def test_a_stream_of_nothing_is_a_moment_of_silence(form: str, pushes: int):
    encoder = Encoder(form, RATE)
    data = b"".join(encoder.push(np.zeros(0, np.float32)) for _ in range(pushes))
    data += encoder.finish()
    assert data.startswith(BEGINNINGS.get(form, b""))
    if form == "pcm":
        assert data == bytes(2)
    else:
        heard = read_audio(data, RATE)
        assert len(heard) == (OPUS_REST * RATE if form == "opus" else 1)
        assert np.abs(heard).max() <= PCM_STEP  # opus does not keep an exact zero


def test_what_was_not_handed_over_yet_is_still_corrected():
    """So the flac and mp3 of nothing know their length."""
    flac = Encoder("flac", RATE).finish()
    assert struct.unpack(">Q", flac[18:26])[0] % 2**36 == 1
    assert b"Info" in Encoder("mp3", RATE).finish()[:100]


steps = st.one_of(
    st.binary(max_size=9),
    st.tuples(st.integers(0, 2**16), st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])),
    st.none(),
)


@given(head=st.binary(max_size=5), steps=st.lists(steps, max_size=20))
def test_libsndfile_writes_to_a_file_whose_beginning_is_gone(
    head: bytes, steps: list[bytes | tuple[int, int] | None]
):
    """To itself it is a file as any other; what was taken of it stays as it was then."""
    outlet, file, taken, expected = _Outlet(head), io.BytesIO(), b"", head
    seen = 0  # of the file
    for step in [*steps, None]:
        if isinstance(step, bytes):
            assert outlet.write(step) == file.write(step) == len(step)
        elif step is None:
            taken += outlet.take()
            expected += file.getvalue()[seen:]
            seen = len(file.getvalue())
            assert taken == expected
        else:
            place, whence = step
            here, end = file.tell(), len(file.getvalue())
            start = {os.SEEK_SET: 0, os.SEEK_CUR: here, os.SEEK_END: end}[whence]
            offset = place % (end + 1) - start  # never beyond the end
            file.seek(start + offset)
            outlet.seek(offset, whence)
        assert outlet.tell() == file.tell()


@pytest.mark.parametrize("form", ["wav", "pcm"])
def test_plain_samples_do_not_wait(form: str):
    first, *middle, last, end = encoded(form, sine(), sizes=frames(len(sine())))
    assert len(first) == 2 * FRAME + (44 if form == "wav" else 0)
    assert {len(piece) for piece in middle} == {2 * FRAME}
    assert len(last) == 2 * (len(sine()) % FRAME) and end == b""


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"'aac' is not a sound format; there are wav, flac, mp3"):
        Encoder("aac", RATE)


@pytest.mark.parametrize(("form", "rate"), [("opus", 44_100), ("mp3", 1_000)])
def test_a_rate_that_a_format_does_not_know_is_refused(form: str, rate: int):
    with pytest.raises(ValueError, match=rf"^{form} cannot hold sound of {rate} Hz$"):
        Encoder(form, rate)


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_not_a_number_is_refused_and_the_stream_goes_on(form: str):
    encoder = Encoder(form, RATE)
    start = encoder.push(sine())
    with pytest.raises(ValueError, match="not numbers"):
        encoder.push(np.array([0.0, np.nan], np.float32))
    data = start + encoder.finish()
    assert len(aligned(form, decoded(form, data, len(sine())), len(sine()))) == len(sine())


@pytest.mark.parametrize("form", FORMATS)
def test_a_stream_that_nobody_finishes_leaves_nothing(
    form: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    closed: list[bool] = []
    close = soundfile.SoundFile.close
    monkeypatch.setattr(
        soundfile.SoundFile, "close", lambda sound: (close(sound), closed.append(sound.closed))
    )
    gc.disable()  # dropping it is enough
    try:
        encoder = Encoder(form, RATE)
        encoder.push(sine())
        gone = weakref.ref(encoder)
        del encoder
        assert gone() is None and closed == [True]
    finally:
        gc.enable()
    assert capfd.readouterr() == ("", "")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_streams_that_are_open_when_the_process_ends_say_nothing():
    result = python("""
import numpy
from lfm_daemon.encoding import FORMATS, Encoder
encoders = [Encoder(form, 24000) for form in FORMATS]
for encoder in encoders:
    encoder.push(numpy.zeros(5000, numpy.float32))
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_module_costs_nothing_until_there_is_something_to_encode():
    result = python("""
import sys
from lfm_daemon.encoding import Encoder
assert not {"mlx", "numpy", "soundfile"} & sys.modules.keys()
Encoder("wav", 24000).finish()
assert "soundfile" in sys.modules and "mlx" not in sys.modules
""")
    assert result.returncode == 0, result.stderr
