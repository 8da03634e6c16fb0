"""How unlike two sounds are: spectra at several resolutions.

Log-mel distances as in Défossez et al. 2022 (https://arxiv.org/abs/2210.13438, section 3.4) and
linear magnitudes relative to the original's (spectral convergence, Arik et al. 2018,
https://arxiv.org/abs/1808.06719).
"""

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.audio.features import mel_bank

__all__ = ["spectral_losses"]

WINDOWS = {256: 24, 512: 40, 1024: 64, 2048: 80}
"""Samples of a window, a quarter of which is the step, and mel bands."""
FLOOR = 1e-4
"""Of magnitudes, where a loud sine has 1: what is fainter than -80 dB counts no more, or all would
be about how silent a silence is."""
RATE = 24_000


def magnitudes(samples: mx.array, window: int) -> mx.array:
    """[B, N] -> [B, frames, window // 2 + 1], without padding."""
    step = window // 4
    pieces = samples[:, : samples.shape[1] // step * step].reshape(len(samples), -1, step)
    count = pieces.shape[1] - 3
    frames = mx.concatenate([pieces[:, i : i + count] for i in range(4)], axis=-1)
    hann = mx.array((np.hanning(window + 1)[:-1] * 4 / window).astype(np.float32))
    spectrum = mx.fft.rfft(frames * hann)
    return mx.sqrt(mx.square(spectrum.real) + mx.square(spectrum.imag) + 1e-10)


def _bank(window: int, bands: int) -> np.ndarray:
    """Mel filters [window // 2 + 1, bands] that average what they see."""
    filters = mel_bank(RATE, window, bands)
    return (filters / filters.sum(axis=1, keepdims=True)).T


def spectral_losses(made: mx.array, original: mx.array) -> tuple[mx.array, mx.array]:
    """Of samples [B, N] at 24 kHz: the mean log-mel distance, and that of linear magnitudes."""
    mel, linear = mx.array(0.0), mx.array(0.0)
    for window, bands in WINDOWS.items():
        bank = mx.array(_bank(window, bands))
        ours, theirs = magnitudes(made, window), magnitudes(original, window)
        difference = mx.abs(mx.log(ours @ bank + FLOOR) - mx.log(theirs @ bank + FLOOR))
        mel = mel + difference.mean()
        linear = linear + mx.abs(ours - theirs).sum() / theirs.sum()
    return mel / len(WINDOWS), linear / len(WINDOWS)
