"""Log-mel features of speech, as the encoder was trained on them.

Reference: `FilterbankFeatures` in `model/conformer/processor.py` of liquid-audio (NeMo's).
Pre-emphasis, Hann-windowed power spectrum, slaney mel bank, logarithm, and each mel band
normalised over the clip; no dither, which is for training.

Computed on the host in double precision: in near silence the logarithm magnifies the rounding of
a float32 transform (the reference is off by 1.5e-4 from itself there), and a few milliseconds of
CPU leave the GPU free.
"""

from functools import lru_cache

import numpy as np

from lfm2audio_mlx.config import FeatureConfig
from lfm2audio_mlx.errors import AudioError

__all__ = ["check_speech", "log_mel", "mel_bank"]

PRE_EMPHASIS = 0.97
LOG_GUARD = 2.0**-24
DEVIATION_GUARD = 1e-5
BLOCK = 4096
"""Frames that are transformed at once, which bounds the memory of a long recording."""


def check_speech(samples: np.ndarray, config: FeatureConfig, name: str) -> None:
    """Refuse what has no features.

    Raises:
        AudioError: shorter than one window.
    """
    if samples.size < config.win_length:
        milliseconds = 1000 * samples.size / config.sample_rate
        shortest = 1000 * config.win_length / config.sample_rate
        raise AudioError(
            f"{name}: {milliseconds:.1f} ms of sound, too short to hear; at least "
            f"{shortest:.0f} ms are needed"
        )


def log_mel(samples: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Mono samples [n] at `config.sample_rate` -> [n // hop + 1, features] float32.

    The last frame is beyond the valid ones: it is zero after normalisation, and still goes to
    the encoder, as in the reference.
    """
    logs = np.log(_mel_power(samples.astype(np.float64), config) + LOG_GUARD)
    valid = samples.size // config.hop_length
    heard = logs[:valid]
    # The divisor is n - 1; a single frame has no deviation (the reference turns its NaN to 0).
    deviation = heard.std(axis=0, ddof=1) if valid > 1 else 0.0
    features = np.zeros(logs.shape, np.float32)
    features[:valid] = (heard - heard.mean(axis=0)) / (deviation + DEVIATION_GUARD)
    return features


def _mel_power(wave: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """[n] -> [n // hop + 1, features], frames centred on multiples of hop."""
    n_fft, win_length = config.n_fft, config.win_length
    frames = wave.size // config.hop_length + 1
    wave = np.concatenate([wave[:1], wave[1:] - PRE_EMPHASIS * wave[:-1]])
    wave = np.pad(wave, n_fft // 2)
    windows = np.lib.stride_tricks.sliding_window_view(wave, n_fft)[:: config.hop_length]
    # A symmetric window shorter than the transform, centred in it.
    before = (n_fft - win_length) // 2
    hann = np.pad(np.hanning(win_length), (before, n_fft - win_length - before))
    bank = mel_bank(config.sample_rate, n_fft, config.features).astype(np.float64)
    power = np.empty((frames, config.features))
    for start in range(0, frames, BLOCK):
        block = slice(start, min(start + BLOCK, frames))
        spectrum = np.fft.rfft(windows[block] * hann)
        power[block] = (spectrum.real**2 + spectrum.imag**2) @ bank.T
    return power


@lru_cache(maxsize=4)
def mel_bank(sample_rate: int, n_fft: int, features: int) -> np.ndarray:
    """Triangular filters [features, n_fft // 2 + 1] on Slaney's mel scale, of equal area.

    Slaney 1998, "Auditory Toolbox": linear below 1 kHz (200/3 Hz a mel), logarithmic above
    (27 mels for a factor of 6.4); each filter is scaled by 2 / its width in Hz.
    """
    edges = _hertz(np.linspace(0.0, _mel(sample_rate / 2), features + 2))
    bins = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    widths = np.diff(edges)
    ramps = edges[:, None] - bins
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


_HERTZ_PER_MEL = 200.0 / 3.0
_BREAK_HERTZ = 1000.0
_BREAK_MEL = _BREAK_HERTZ / _HERTZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def _mel(hertz: float) -> float:
    if hertz < _BREAK_HERTZ:
        return hertz / _HERTZ_PER_MEL
    return _BREAK_MEL + float(np.log(hertz / _BREAK_HERTZ)) / _LOG_STEP


def _hertz(mels: np.ndarray) -> np.ndarray:
    logarithmic = _BREAK_HERTZ * np.exp(_LOG_STEP * (mels - _BREAK_MEL))
    return np.where(mels < _BREAK_MEL, mels * _HERTZ_PER_MEL, logarithmic)
