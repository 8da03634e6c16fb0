"""Log-mel features are finite and well formed, whatever is heard and however it is cut up.

That they equal the reference's is the parity suite's matter.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.audio import features
from lfm2audio_mlx.audio.features import check_speech, log_mel, mel_bank
from lfm2audio_mlx.config import FeatureConfig
from lfm2audio_mlx.errors import AudioError

CONFIG = FeatureConfig(sample_rate=16_000, features=128, n_fft=512, win_length=400, hop_length=160)

AREA = 1e-5  # relative; the triangles' float32 rounding
GAIN = 0.01  # of a deviation, on average; the logarithm's guard is heard in the faintest bands


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.mark.parametrize(("rate", "n_fft", "bands"), [(16_000, 512, 128), (16_000, 512, 80)])
def test_each_filter_is_non_negative_and_hears_something(rate: int, n_fft: int, bands: int):
    bank = mel_bank(rate, n_fft, bands)
    assert bank.shape == (bands, n_fft // 2 + 1) and bank.dtype == np.float32
    assert (bank >= 0).all()
    assert (bank.sum(axis=1) > 0).all()


def test_filters_rise_in_order_and_reach_half_the_rate():
    peaks = mel_bank(16_000, 8192, 128).argmax(axis=1)
    assert (np.diff(peaks) > 0).all()
    assert mel_bank(16_000, 8192, 128)[-1, -2] > 0
    assert mel_bank(16_000, 8192, 128)[:, 0].max() == 0  # nothing at 0 Hz


def test_filters_are_of_equal_area():
    fine = 1 << 18  # bins fine enough to integrate a triangle by a sum
    bank = mel_bank(16_000, fine, 40).astype(np.float64)
    areas = bank.sum(axis=1) * 16_000 / fine
    np.testing.assert_allclose(areas, 1.0, rtol=AREA)


def test_the_scale_is_linear_below_1_khz_and_logarithmic_above():
    peaks = mel_bank(16_000, 1 << 18, 128).argmax(axis=1) * 16_000 / (1 << 18)
    low, high = peaks[peaks < 950], peaks[peaks > 1050]
    np.testing.assert_allclose(np.diff(low), np.diff(low)[0], rtol=0.01)  # bins of 0.06 Hz
    np.testing.assert_allclose(high[1:] / high[:-1], high[1] / high[0], rtol=0.001)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-30])
def test_silence_has_finite_features(value: float):
    mel = log_mel(np.full(16_000, value, np.float32), CONFIG)
    assert np.isfinite(mel).all()


def test_loudness_hardly_matters():
    quiet, loud = (log_mel(noise(16_000) * gain, CONFIG) for gain in (1.0, 10.0))
    assert np.abs(quiet - loud).mean() <= GAIN


def test_each_band_is_normalised_over_the_valid_frames():
    valid = log_mel(noise(16_000), CONFIG)[:-1]
    np.testing.assert_allclose(valid.mean(axis=0), 0, atol=1e-5)  # float32
    np.testing.assert_allclose(valid.std(axis=0, ddof=1), 1, atol=1e-4)  # the guard is 1e-5


@pytest.mark.parametrize("samples", [400, 479, 480, 16_000, 16_001, 16_159])
def test_there_is_a_frame_for_each_hop_and_one_more_that_is_zero(samples: int):
    mel = log_mel(noise(samples), CONFIG)
    assert mel.shape == (samples // 160 + 1, 128) and mel.dtype == np.float32
    assert not mel[-1].any()
    assert mel[:-1].any(axis=1).all()


@pytest.mark.parametrize("block", [1, 7, 100])
def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch, block: int):
    whole = log_mel(noise(16_000), CONFIG)
    monkeypatch.setattr(features, "BLOCK", block)
    # Not exactly: a matrix product of other shape sums float64 in another order.
    np.testing.assert_allclose(log_mel(noise(16_000), CONFIG), whole, atol=1e-6)


def test_a_tone_is_loudest_in_its_own_band():
    time = np.arange(32_000) / 16_000
    tone = np.where(time < 1, 0, np.sin(2 * np.pi * 2000 * time)).astype(np.float32)
    bank = mel_bank(16_000, 512, 128)
    powers = np.exp(np.log(features._mel_power(tone.astype(np.float64), CONFIG)[150] + 1e-9))
    assert abs(int(powers.argmax()) - int(bank[:, 64].argmax())) <= 1  # bin 64 is 2 kHz


def test_what_is_shorter_than_a_window_is_refused_by_name_and_length():
    with pytest.raises(AudioError, match=r"^a\.wav: 24\.9 ms .* at least 25 ms"):
        check_speech(noise(399), CONFIG, "a.wav")
    with pytest.raises(AudioError, match=r"^a\.wav: 0\.0 ms"):
        check_speech(noise(0), CONFIG, "a.wav")
    check_speech(noise(400), CONFIG, "a.wav")


def test_one_valid_frame_alone_is_finite():
    one_hop = dataclasses.replace(CONFIG, hop_length=300)
    mel = log_mel(noise(400), one_hop)
    assert mel.shape == (2, 128)
    assert np.isfinite(mel).all()


@settings(max_examples=40)
@given(samples=st.integers(400, 3000), scale=st.sampled_from([1e-20, 1e-6, 1.0, 1e6]))
def test_finite_sound_has_finite_features(samples: int, scale: float):
    assert np.isfinite(log_mel(noise(samples) * np.float32(scale), CONFIG)).all()
