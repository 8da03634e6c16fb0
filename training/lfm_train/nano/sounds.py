"""Sounds without words: silence, noises, simple music. All at 16 kHz, about as loud as speech."""

import random

import numpy as np

__all__ = ["RATE", "music", "noise", "silence"]

RATE = 16_000
KINDS = ("white", "pink", "brown", "hum", "rattle")


def silence(draw: random.Random, seconds: float) -> np.ndarray:
    """Nothing, or the least that a microphone gives."""
    generator = np.random.default_rng(draw.getrandbits(32))
    level = draw.choice((0.0, 1e-5, 1e-4, 1e-3))
    return (level * generator.standard_normal(round(seconds * RATE))).astype(np.float32)


def noise(draw: random.Random, seconds: float, kind: str = "") -> np.ndarray:
    """Coloured noise, a mains hum or a rattle, at a root mean square of 0.05."""
    generator = np.random.default_rng(draw.getrandbits(32))
    kind, count = kind or draw.choice(KINDS), round(seconds * RATE)
    white = generator.standard_normal(count)
    if kind == "hum":
        time = np.arange(count) / RATE
        base = draw.choice((50, 60, 100, 120))
        made = sum(np.sin(2 * np.pi * base * n * time + n) / n for n in range(1, 6))
        made = made + 0.1 * white
    elif kind == "rattle":
        gate = np.repeat(generator.random(count // 800 + 1) < 0.3, 800)[:count]
        made = white * gate
    else:
        # Power falls with the frequency to this: white, pink, brown.
        slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind]
        spectrum = np.fft.rfft(white)
        spectrum /= np.maximum(np.arange(len(spectrum)), 20) ** slope
        made = np.fft.irfft(spectrum, count)
    return _loud(made, 0.05)


def music(draw: random.Random, seconds: float) -> np.ndarray:
    """Chords or a tune of decaying tones, perhaps with a beat."""
    count = round(seconds * RATE)
    made = np.zeros(count)
    beat = RATE * 60 // draw.randint(70, 180)
    scale = (0, 2, 4, 5, 7, 9, 11) if draw.random() < 0.5 else (0, 2, 3, 5, 7, 8, 10)
    root, voices = draw.randint(40, 64), draw.choice((1, 1, 2, 3))
    sharpness, partials = draw.uniform(1.0, 6.0), draw.randint(1, 8)
    for start in range(0, count, beat // draw.choice((1, 2))):
        length = min(count - start, beat * 2)
        time = np.arange(length) / RATE
        envelope = np.exp(-sharpness * time) * np.minimum(1, time * 100)
        for _ in range(voices):
            note = root + 12 * draw.randint(0, 2) + draw.choice(scale)
            frequency = 440.0 * 2 ** ((note - 69) / 12)
            for n in range(1, partials + 1):
                if n * frequency < RATE / 2:
                    tone = np.sin(2 * np.pi * n * frequency * time + draw.random())
                    made[start : start + length] += envelope * tone / n
    if draw.random() < 0.5:
        made += 0.5 * _drum(draw, count, beat)
    return _loud(made, draw.uniform(0.03, 0.12))


def _drum(draw: random.Random, count: int, beat: int) -> np.ndarray:
    """A burst of noise on every beat."""
    generator = np.random.default_rng(draw.getrandbits(32))
    decay = np.exp(-np.arange(beat) / (RATE * 0.03))
    return np.tile(decay, count // beat + 1)[:count] * generator.standard_normal(count)


def _loud(made: np.ndarray, level: float) -> np.ndarray:
    """At a root mean square of `level`."""
    rate = level / max(float(np.sqrt(np.mean(made**2))), 1e-9)
    return (rate * made).astype(np.float32)
