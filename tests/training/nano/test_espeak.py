"""espeak-ng in this process: sound, the beginnings of words, phonemes."""

import numpy as np
import pytest

from lfm2audio_mlx.errors import RequestError
from lfm_train.nano.espeak import Espeak, Manner
from lfm_train.nano.grammar import vocabulary
from lfm_train.nano.voices import SPEAKERS

TEXT = "turn on the kitchen light"
MANNER = Manner("en-us+edward")


def test_a_text_becomes_sound(espeak: Espeak):
    samples, _ = espeak(TEXT, MANNER)
    assert espeak.rate == 22_050
    assert samples.dtype == np.float32
    assert 0.5 < len(samples) / espeak.rate < 4
    assert 0.05 < np.abs(samples).max() <= 1


def test_words_begin_one_after_the_other(espeak: Espeak):
    samples, starts = espeak("one two three four", MANNER)
    assert len(starts) == 4 and starts[0] >= 0
    assert starts == sorted(set(starts))
    assert starts[-1] < len(samples)


def test_an_end_is_no_word(espeak: Espeak):
    """The library tells of some ends as if they were; with "on the", which it runs together, the
    number of words would be right and each place that of the word before."""
    for word in vocabulary():
        assert len(espeak(word, SPEAKERS["us-male"])[1]) == 1, word
    assert len(espeak("turning on the garage fan", SPEAKERS["us-male"])[1]) == 4


def test_what_was_said_before_is_hardly_heard(espeak: Espeak):
    """Bit for bit it never is the same: the library remembers the phase of a voice's flutter."""
    first, starts = espeak(TEXT, MANNER)
    espeak("something else", Manner("en+f2", speed=190, pitch=80, range=10, gap=4))
    again, others = espeak(TEXT, MANNER)
    assert abs(len(again) - len(first)) < espeak.rate // 20
    assert np.allclose(starts, others, atol=espeak.rate // 50)


@pytest.mark.parametrize(
    "manner",
    [
        Manner("en-gb-x-rp+edward"),
        Manner("en-us+f2"),
        Manner("en-us+edward", speed=120),
        Manner("en-us+edward", pitch=80),
        Manner("en-us+edward", range=90),
        Manner("en-us+edward", gap=6),
    ],
)
def test_each_setting_is_heard(espeak: Espeak, manner: Manner):
    plain, _ = espeak(TEXT, MANNER)
    other, _ = espeak(TEXT, manner)
    assert len(plain) != len(other) or np.abs(plain - other).max() > 0.01


def test_slower_is_longer_and_so_are_pauses(espeak: Espeak):
    length = len(espeak(TEXT, MANNER)[0])
    assert len(espeak(TEXT, Manner("en-us+edward", speed=100))[0]) > 1.2 * length
    assert len(espeak(TEXT, Manner("en-us+edward", gap=10))[0]) > 1.2 * length


def test_an_unknown_voice_is_told(espeak: Espeak):
    with pytest.raises(RequestError, match="no voice 'nobody'"):
        espeak(TEXT, Manner("nobody"))
    with pytest.raises(RequestError, match="no voice 'nobody'"):
        espeak.phonemes(TEXT, "nobody")
    assert len(espeak(TEXT, MANNER)[0])  # and the next is spoken


def test_phonemes_in_brackets_sound_like_their_text(espeak: Espeak):
    phonemes = espeak.phonemes("kitchen", "en-us")
    assert phonemes and " " not in phonemes
    samples, plain = (espeak(text, MANNER)[0] for text in (f"[[{phonemes}]]", "kitchen"))
    assert 0.8 < len(samples) / len(plain) < 1.25


def test_nothing_to_say_is_no_sound(espeak: Espeak):
    samples, _ = espeak("", MANNER)
    assert np.abs(samples).max(initial=0) == 0


def test_two_do_not_take_each_others_sound(espeak: Espeak):
    """The library has one callback."""
    other = Espeak()
    assert len(espeak("seven", Manner("en-us"))[0])
    assert len(other("seven", Manner("en-us"))[0])
    assert len(espeak("seven", Manner("en-us"))[0])


def test_where_it_is_not_installed_that_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setattr("lfm_train.nano.espeak.HOMEBREW", "/nowhere/libespeak-ng.dylib")
    with pytest.raises(RequestError, match="`apt install espeak-ng` or `brew install"):
        Espeak()
