"""What counts as unlike: nothing between equals, more with more noise, and a number for silence."""

import mlx.core as mx
import numpy as np

from lfm_train.codec.spectral import RATE, WINDOWS, magnitudes, spectral_losses

LENGTH = 4 * max(WINDOWS)


def tone(frequency: float = 440.0, loudness: float = 0.5) -> mx.array:
    time = np.arange(LENGTH) / RATE
    return mx.array((loudness * np.sin(2 * np.pi * frequency * time))[None].astype(np.float32))


def noise(level: float) -> mx.array:
    return level * mx.random.normal((1, LENGTH), key=mx.random.key(0))


def losses(made: mx.array, original: mx.array) -> tuple[float, float]:
    mel, linear = spectral_losses(made, original)
    return float(np.array(mel)), float(np.array(linear))


def total(made: mx.array, original: mx.array) -> mx.array:
    mel, linear = spectral_losses(made, original)
    return mel + linear


def test_equal_sounds_are_not_unlike():
    assert losses(tone(), tone()) == (0.0, 0.0)


def test_more_noise_is_more_unlike():
    found = [losses(tone() + noise(level), tone()) for level in (0.001, 0.01, 0.1)]
    assert found == sorted(found) and 0 < found[0][0] < found[-1][0]
    linear = [linear for _, linear in found]
    assert linear == sorted(linear) and linear[0] > 0


def test_another_pitch_is_more_unlike_than_another_loudness():
    assert losses(tone(880), tone())[0] > 2 * losses(tone(loudness=0.4), tone())[0]


def test_a_loud_tone_has_a_magnitude_of_one():
    """In the bin of its frequency, at each resolution: the floor is 80 dB below that."""
    for window in WINDOWS:
        spectrum = magnitudes(tone(8 * RATE / window, 1.0), window)
        assert spectrum.shape == (1, LENGTH * 4 // window - 3, window // 2 + 1)
        # The square root's floor of 1e-10, and float32.
        assert np.allclose(spectrum[0, :, 8], 1.0, atol=1e-4)


def test_what_is_fainter_than_the_floor_counts_little():
    loud = losses(noise(1e-2), noise(1e-3))[0]
    assert losses(noise(1e-4), noise(1e-5))[0] < 0.05 * loud


def test_silence_is_unlike_by_a_number():
    silence = mx.zeros((1, LENGTH))
    for made, original in ((silence, tone()), (tone(), silence), (silence, silence)):
        found, gradient = mx.value_and_grad(lambda x, o=original: total(x, o))(made)
        assert np.isfinite(np.array(found))
        assert np.isfinite(np.array(gradient)).all()


def test_the_gradient_leads_to_the_original():
    made, original = tone() + noise(0.1), tone()
    sooner, gradient = mx.value_and_grad(lambda x: spectral_losses(x, original)[0])(made)
    step = 1e-3 * gradient / mx.abs(gradient).max()
    assert losses(made - step, original)[0] < np.array(sooner)
