"""The codec's training: to hear and give back the checkpoint's own voices.

First without quantisation, then with codebooks that begin as the means of what the encoder gives,
then the decoder alone, for codes that stay as they are.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from lfm_train.codec.codec import TrainedCodec
from lfm_train.codec.spectral import spectral_losses
from lfm_train.nano.espeak import Espeak
from lfm_train.nano.speaking import FRAME, speech, text_to_speak
from lfm_train.nano.voices import SPEAKERS
from lfm_train.training import Batches, Plan, train

__all__ = ["Plans", "train_codec"]

SEGMENT = 8
"""Frames of a piece to train on: 0.64 s. Many short pieces tell more than few long ones."""
SEEN_FIRST = 64
"""Batches whose latents the codebooks begin with."""
WAVE, LINEAR, COMMITMENT = 0.1, 0.5, 0.25
"""What these losses count beside the log-mel distance."""


@dataclass(frozen=True)
class Plans:
    """Of the three parts of a training."""

    plain: Plan
    quantised: Plan
    decoder: Plan


def loss(model: TrainedCodec, samples: mx.array) -> tuple[mx.array, Any]:
    """How unlike what comes back is, while everything learns."""
    return _loss(samples, *model(samples, learn=True))


def decoder_loss(model: TrainedCodec, samples: mx.array) -> tuple[mx.array, Any]:
    """The same, while codes stay as they are."""
    return _loss(samples, *model(samples))


def _loss(samples: mx.array, made: mx.array, commitment: mx.array) -> tuple[mx.array, Any]:
    mel, linear = spectral_losses(made, samples)
    wave = mx.abs(made - samples).mean() / mx.abs(samples).mean()
    total = mel + LINEAR * linear + WAVE * wave + COMMITMENT * commitment
    return total, {"mel": mel, "linear": linear, "wave": wave, "commitment": commitment}


def batches(espeak: Espeak, step: int, size: int, group: int) -> list[list[mx.array]]:
    """Twice half of `size` pieces of speech [size / 2, SEGMENT * FRAME], cut out anywhere."""
    draw = random.Random(f"codec {step}")
    made: list[list[mx.array]] = []
    for _ in range(group):
        rows: list[np.ndarray] = []
        for _ in range(size):
            manner = draw.choice(list(SPEAKERS.values()))
            sound = speech(espeak, text_to_speak(draw), manner).samples
            start = draw.randint(0, max(0, len(sound) - SEGMENT * FRAME))
            piece = sound[start : start + SEGMENT * FRAME] * draw.uniform(0.7, 1.0)
            rows.append(np.pad(piece, (0, SEGMENT * FRAME - len(piece))))
        halves = np.split(np.stack(rows).astype(np.float32), 2)
        made.append([mx.array(half) for half in halves])
    return made


def train_codec(model: TrainedCodec, plans: Plans, size: int, folder: Path) -> None:
    """Train in place, on batches of `size` pieces, an even number."""
    espeak = Espeak()

    def drawn(first: int, plan: Plan) -> Batches:
        return lambda step: batches(espeak, first + step, size, plan.group)

    plain, quantised, decoder = plans.plain, plans.quantised, plans.decoder
    train(model, loss, drawn(0, plain), plain, folder / "plain")
    model.quantised = True
    if not any((folder / "quantised").glob("state-*")):
        pieces = batches(espeak, 10**6, size, SEEN_FIRST)
        latents = [model.encode(mx.concatenate(halves)) for halves in pieces]
        mx.eval(latents)
        model.quantizer.begin(mx.concatenate(latents))
    train(model, loss, drawn(plain.steps, quantised), quantised, folder / "quantised")
    model.freeze()
    model.decode.unfreeze()
    first = plain.steps + quantised.steps
    train(model, decoder_loss, drawn(first, decoder), decoder, folder / "decoder")
