"""What a line of a conversation means: words, or the name of a recording."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from questions import SPEECH

from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.errors import AudioError
from lfm_cli.session import LISTENING_RATE, as_part, heard


def test_a_recording_is_heard_as_the_model_hears_it(tmp_path: Path):
    samples = np.random.default_rng(0).normal(0, 0.1, (44_100, 2)).astype(np.float32)
    path = tmp_path / "a.flac"
    soundfile.write(path, samples, 44_100)
    part = heard(path)
    assert isinstance(part, tuple)
    assert part[1] == LISTENING_RATE == 16_000
    assert (part[0].dtype, part[0].shape) == (np.float32, (16_000,))
    assert np.array_equal(part[0], read_audio(path, 16_000))


@pytest.mark.parametrize(
    "words", ["hello", "what is in a.wav", "and in missing file.wav?", "1.5", "...", "hello\0", "."]
)
def test_words_are_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str):
    monkeypatch.chdir(tmp_path)
    assert as_part(words) is None


@pytest.mark.parametrize("name", ["a.wav", "A.WAV", "no ending", "with spaces.wav", "ä ö.wav"])
def test_the_name_of_a_recording_is_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    (tmp_path / name).write_bytes(SPEECH.read_bytes())
    monkeypatch.chdir(tmp_path)
    for word in (name, f"./{name}", str(tmp_path / name)):
        part = as_part(word)
        assert isinstance(part, tuple)
        assert part[1] == LISTENING_RATE


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("missing.wav", None, "no such file"),
        ("missing.M4A", None, "no such file"),
        ("empty.wav", b"", "is empty"),
        ("words.wav", b"hello", "not a sound file"),
        ("words.txt", b"hello", "not a sound file"),
        ("some words.wav", b"hello", "not a sound file"),
    ],
)
def test_the_name_of_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, part: str
):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=part) as caught:
        as_part(name)
    assert name in str(caught.value)


def test_a_folder_by_the_name_of_a_recording_is_told(tmp_path: Path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(AudioError, match="is a folder"):
        as_part(str(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    "words", ["what is in " * 30 + "a.wav", "日" * 100], ids=["a name at the end", "wide letters"]
)
def test_words_too_long_for_a_name_are_words(words: str):
    assert as_part(words) is None


@pytest.mark.parametrize("form", ["{0}/my\\ file.wav", "'{0}/my file.wav'", '"{0}/my file.wav"'])
def test_a_name_as_a_terminal_writes_a_dropped_file_is_that_file(tmp_path: Path, form: str):
    """Dragged from the Finder, a file's name comes with backslashes; other terminals quote it."""
    (tmp_path / "my file.wav").write_bytes(SPEECH.read_bytes())
    assert isinstance(as_part(form.format(tmp_path)), tuple)


def test_home_is_known_inside_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.wav").write_bytes(SPEECH.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert isinstance(as_part("~/a.wav"), tuple)
