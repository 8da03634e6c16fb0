"""The encoder's training: it learns to name words by itself, before there is a language model.

CTC over whole words, since a position lasts 80 ms and letters come faster; and, since who speaks
tells where each word is, the word of each position besides: by CTC alone it takes thousands of
steps to find out where words are. Both heads are thrown away.
"""

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.kernels.depthwise import centred
from lfm2audio_mlx.models.conformer import Conformer, ConvolutionModule
from lfm_train.ctc import ctc_loss, ctc_read
from lfm_train.initial import initialise
from lfm_train.nano.grammar import CLASSES, vocabulary
from lfm_train.nano.hearing import Listener
from lfm_train.training import Plan, train

__all__ = ["Recogniser", "read", "train_encoder"]


class NormedConvolution(ConvolutionModule):
    """The conformer's convolution with its batch norm apart, which learns as it goes. The
    parameters are those of the module that it stands for."""

    def __init__(self, module: ConvolutionModule):
        nn.Module.__init__(self)
        for name, child in module.children().items():
            self[name] = child

    def __call__(self, x: mx.array, norm: nn.LayerNorm) -> mx.array:
        conv = self.depthwise_conv
        h = centred(nn.glu(self.pointwise_conv1(norm(x))), conv.weight, conv.bias)
        return x + self.pointwise_conv2(nn.silu(self["batch_norm"](h)))


class Recogniser(nn.Module):
    """The encoder, a head for words by CTC, another for the word of each position; class 0 is
    none."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.conformer = Conformer(config.conformer)
        self.words = vocabulary()
        self.head = nn.Linear(config.conformer.d_model, len(self.words) + 1)
        self.place_head = nn.Linear(config.conformer.d_model, len(self.words) + 1)
        for layer in self.conformer.layers:
            layer.conv = NormedConvolution(layer.conv)

    def __call__(self, mels: mx.array) -> mx.array:
        """Log-mel [B, T, features] -> logits [B, ceil(T / 8), words + 1]."""
        return self.head(self.conformer(mels))


Batch = tuple[mx.array, mx.array, mx.array, mx.array]
"""Log-mel [B, T, features], labels [B, L] and their lengths [B], the label of each position
[B, ceil(T / 8)], -1 where it is not known."""


def loss(model: Recogniser, batch: Batch) -> tuple[mx.array, Any]:
    """CTC for a word, and cross-entropy for a position."""
    mels, labels, lengths, places = batch
    heard = model.conformer(mels)
    ctc = ctc_loss(model.head(heard), labels, lengths).sum() / mx.maximum(lengths.sum(), 1)
    known = places >= 0
    each = nn.losses.cross_entropy(model.place_head(heard), mx.maximum(places, 0))
    place = mx.where(known, each, 0).sum() / mx.maximum(known.sum(), 1)
    return ctc + place, {"ctc": ctc, "place": place}


def masked(mels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """SpecAugment (Park et al. 2019, https://arxiv.org/abs/1904.08779): bands of frequency and
    spans of time set to the mean, which is 0."""
    made = mels.copy()
    frames, bands = made.shape[1:]
    for mel in made:
        for _ in range(2):
            width = int(generator.integers(0, 22))
            start = int(generator.integers(0, bands - width))
            mel[:, start : start + width] = 0
            length = int(generator.integers(0, max(2, frames // 16)))
            start = int(generator.integers(0, frames - length))
            mel[start : start + length] = 0
    return made


def batches(listener: Listener, step: int, size: int, group: int) -> list[list[Batch]]:
    """What is learnt in `group` steps from `step` on."""
    generator = np.random.default_rng(step)
    made: list[list[Batch]] = []
    for recorded in listener.batches(step, size, group):
        rows = [[CLASSES[word] for word in item.text.split()] for item in recorded]
        labels = np.zeros((len(rows), max(1, *map(len, rows))), np.int32)
        for line, row in zip(labels, rows, strict=True):
            line[: len(row)] = row
        mels = masked(np.stack([item.mel for item in recorded]), generator)
        lengths = mx.array([len(row) for row in rows])
        places = mx.array(np.stack([item.classes() for item in recorded]))
        made.append([(mx.array(mels), mx.array(labels), lengths, places)])
    return made


def read(model: Recogniser, mels: np.ndarray) -> list[str]:
    """What it hears in log-mel [B, T, features]."""
    found = ctc_read(model(mx.array(mels)))
    return [" ".join(model.words[label - 1] for label in row) for row in found]


def train_encoder(config: ModelConfig, plan: Plan, size: int, folder: Path) -> Recogniser:
    """The encoder of `config`, trained on batches of `size`."""
    mx.random.seed(1)
    model, listener = Recogniser(config), Listener(config.features)
    initialise(model)
    train(model, loss, lambda step: batches(listener, step, size, plan.group), plan, folder)
    return model
