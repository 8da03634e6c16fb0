"""Log-mel features of speech, as the encoder was trained on them.

Reference: `FilterbankFeatures` in `model/conformer/processor.py` of liquid-audio (NeMo's).
Pre-emphasis, Hann-windowed power spectrum, slaney mel bank, logarithm, and each mel band
normalised over the clip. Computed in float32 whatever the model's dtype; no dither, which is
for training.
"""

from functools import lru_cache

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.config import FeatureConfig
from lfm2audio_mlx.errors import AudioError

__all__ = ["check_speech", "log_mel", "mel_bank"]

PRE_EMPHASIS = 0.97
LOG_GUARD = 2.0**-24
DEVIATION_GUARD = 1e-5


def check_speech(samples: np.ndarray, config: FeatureConfig, name: str) -> None:
    """Refuse what has no features.

    Raises:
        AudioError: shorter than one window, or not finite.
    """
    if samples.size < config.win_length:
        milliseconds = 1000 * samples.size / config.sample_rate
        shortest = 1000 * config.win_length / config.sample_rate
        raise AudioError(
            f"{name}: {milliseconds:.1f} ms of sound, too short to hear; at least "
            f"{shortest:.0f} ms are needed"
        )
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: holds samples that are not finite (NaN or infinity)")


def log_mel(samples: np.ndarray, config: FeatureConfig) -> mx.array:
    """Mono float32 samples at `config.sample_rate` -> [samples // hop + 1, features] float32.

    The last frame is beyond the valid ones: it is zero after normalisation, and still goes to
    the encoder, as in the reference.
    """
    wave = mx.array(samples.astype(np.float32, copy=False))
    wave = mx.concatenate([wave[:1], wave[1:] - PRE_EMPHASIS * wave[:-1]])
    valid = samples.size // config.hop_length
    power = _power_spectrum(wave, config)
    bank = mx.array(mel_bank(config.sample_rate, config.n_fft, config.features))
    logs = mx.log(power @ bank.T + LOG_GUARD)
    heard = logs[:valid]
    mean = heard.mean(axis=0)
    # The divisor is n - 1; a single frame has no deviation (the reference turns its NaN to 0).
    deviation = mx.sqrt(((heard - mean) ** 2).sum(axis=0) / max(1, valid - 1))
    normal = (heard - mean) / (deviation + DEVIATION_GUARD)
    return mx.pad(normal, [(0, logs.shape[0] - valid), (0, 0)])


def _power_spectrum(wave: mx.array, config: FeatureConfig) -> mx.array:
    """[n] -> [n // hop + 1, n_fft // 2 + 1], frames centred on multiples of hop."""
    n_fft, hop = config.n_fft, config.hop_length
    frames = wave.size // hop + 1
    wave = mx.pad(wave, n_fft // 2)
    windows = mx.as_strided(wave, (frames, n_fft), (hop, 1))
    # A symmetric window shorter than the transform, centred in it.
    hann = np.hanning(config.win_length).astype(np.float32)
    before = (n_fft - config.win_length) // 2
    window = np.pad(hann, (before, n_fft - config.win_length - before))
    spectrum = mx.fft.rfft(windows * mx.array(window), axis=-1)
    return mx.square(mx.abs(spectrum))


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
