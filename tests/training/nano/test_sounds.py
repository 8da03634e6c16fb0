"""Sounds without words are about as loud as they say, finite, and drawn again the same."""

import random

import numpy as np
import pytest

from lfm_train.nano.sounds import KINDS, RATE, music, noise, silence

SECONDS = 0.7


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("make", [silence, noise, music])
def test_a_sound_has_its_length_and_only_numbers(make):
    for seed in range(20):
        samples = make(random.Random(seed), SECONDS)
        assert samples.shape == (int(SECONDS * RATE),) and samples.dtype == np.float32
        assert np.isfinite(samples).all()


@pytest.mark.parametrize("make", [silence, noise, music])
def test_it_is_drawn_again_the_same(make):
    first, again, other = (make(random.Random(seed), SECONDS) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert make is silence or not np.array_equal(first, other)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_as_loud_as_it_says(kind: str):
    assert rms(noise(random.Random(0), SECONDS, kind)) == pytest.approx(0.05, rel=1e-3)  # float32


def test_music_is_about_as_loud_as_speech():
    levels = [rms(music(random.Random(seed), SECONDS)) for seed in range(20)]
    assert 0.0299 < min(levels) < max(levels) < 0.1201


def test_silence_is_nearly_none():
    levels = {round(rms(silence(random.Random(seed), SECONDS)), 6) for seed in range(20)}
    assert 0 in levels and max(levels) < 1.1e-3


def test_coloured_noise_falls_with_the_frequency():
    """Power above 2 kHz, as a share: white has most, brown nearly none."""
    shares = []
    for kind in ("white", "pink", "brown"):
        power = np.abs(np.fft.rfft(noise(random.Random(0), 2.0, kind))) ** 2
        shares.append(power[len(power) // 4 :].sum() / power.sum())
    assert shares[0] == pytest.approx(0.75, abs=0.02)
    assert shares[0] > 2 * shares[1] > 4 * shares[2]


def test_no_sound_lasts_no_time():
    assert noise(random.Random(0), 0.01, "pink").size == RATE // 100


@pytest.mark.parametrize("make", [silence, noise, music])
def test_as_many_samples_as_were_meant(make):
    """32,638 / 16,000 seconds times 16,000 is a little less than 32,638."""
    assert len(make(random.Random(0), 32_638 / RATE)) == 32_638
