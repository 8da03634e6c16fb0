"""LFM2-Audio's loss: cross-entropy of the words and of the frames that are to be learnt.

Reference: `LFM2AudioModel.forward` of liquid-audio. A frame's codes are told to the depthformer as
it goes, coarse to fine, through the very modules that generate.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from lfm2audio_mlx.errors import ConfigError
from lfm2audio_mlx.kernels.depth_attention import Past
from lfm2audio_mlx.models.depthformer import Depthformer
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.weights import open_tensors
from lfm_train.examples import Batch

__all__ = ["Losses", "Weighting", "code_losses", "losses", "read_weighting", "states"]

GUARD = 1e-6
"""Added to counts that are divided by, as in the reference."""


@dataclass(frozen=True)
class Weighting:
    """What counts how much: `codebooks` one weight each, `text` and `audio` a token of each."""

    codebooks: tuple[float, ...]
    text: float = 1.0
    audio: float = 1.0


def read_weighting(folder: Path) -> Weighting:
    """From an original checkpoint: its buffer of weights if it has one, as in the reference, else
    what its `config.json` makes of them.

    Raises:
        ConfigError: a key is missing or holds something unknown.
    """
    path = folder / "config.json"
    data = json.loads(path.read_text("utf-8"))
    multipliers = [data.get(f"{name}_loss_multiplier", 1.0) for name in ("text", "audio")]
    for file in folder.glob("model*.safetensors"):
        if (stored := open_tensors(file).get("audio_loss_weights")) is not None:
            return Weighting(tuple(map(float, np.array(stored.astype(mx.float32)))), *multipliers)
    try:
        count, factor, kind = (
            data[key] for key in ("codebooks", "semantic_codebook_factor", "codebook_weight")
        )
    except KeyError as error:
        raise ConfigError(f"{path}: key {error} is missing, which training needs") from error
    if kind == "log":
        weights = [math.exp(math.log(factor) * (1 - i / (count - 1))) for i in range(count)]
    elif kind == "linear":
        weights = [float(factor)] + [1.0] * (count - 1)
    else:
        raise ConfigError(f"{path}: codebook_weight is {kind!r}, not 'log' or 'linear'")
    return Weighting(tuple(weights), *multipliers)


@dataclass(frozen=True)
class Losses:
    """Means: of all, of a word, of a frame, and of each codebook [codebooks]."""

    total: mx.array
    text: mx.array
    audio: mx.array
    codes: mx.array


def states(model: Lfm2Audio, batch: Batch, heard: Sequence[mx.array] | None = None) -> mx.array:
    """The backbone's states [B * L, hidden]; the batch's clips may be embedded already."""
    x = _embedded(model, batch, heard)
    return model.lfm(x)[0].reshape(-1, x.shape[-1])


def losses(
    model: Lfm2Audio, batch: Batch, weighting: Weighting, hidden: mx.array | None = None
) -> Losses:
    """What is lost on a batch, whose states may be at hand."""
    hidden = states(model, batch) if hidden is None else hidden
    text = _text_losses(model, hidden[batch.text_at], batch.text_labels)
    codes = code_losses(model.depthformer, hidden[batch.frame_at], batch.frame_labels)
    weights = mx.array(weighting.codebooks)
    audio = (codes * weights).sum(axis=-1) / weights.sum()
    count = weighting.text * text.size + weighting.audio * audio.size
    total = weighting.text * text.sum() + weighting.audio * audio.sum()
    return Losses(
        total / (count + GUARD),
        text.sum() / (text.size + GUARD),
        audio.sum() / (audio.size + GUARD),
        codes.sum(axis=0) / (audio.size + GUARD),
    )


def _embedded(model: Lfm2Audio, batch: Batch, heard: Sequence[mx.array] | None = None) -> mx.array:
    """The backbone's inputs [B, L, hidden]."""
    heard = [model.embed_audio(clips) for clips in batch.clips] if heard is None else heard
    tables = [model.embed_text(batch.ids[None])[0]] if batch.ids.size else []
    tables += [model.embed_codes(batch.frames[None])[0]] if batch.frames.size else []
    tables += [clips.reshape(-1, clips.shape[-1]) for clips in heard]
    return mx.concatenate(tables)[batch.order]


def _text_losses(model: Lfm2Audio, hidden: mx.array, ids: mx.array) -> mx.array:
    """Cross-entropies [N] of words [N] after states [N, hidden]."""
    if not ids.size:
        return mx.zeros(0)
    return nn.losses.cross_entropy(model.text_logits(hidden), ids)


def code_losses(model: Depthformer, hidden: mx.array, codes: mx.array) -> mx.array:
    """Cross-entropies [M, codebooks] of frames [M, codebooks] after states [M, hidden]."""
    if not codes.size:
        return mx.zeros((0, model.codebooks))
    inputs = mx.split(model.depth_linear(hidden), model.codebooks, axis=-1)
    past: list[Past | None] = [None] * len(model.layers)
    found: list[mx.array] = []
    told: mx.array | None = None
    for i, codebook in enumerate(model.depth_embeddings):
        x = inputs[i] if told is None else inputs[i] + told
        for n, layer in enumerate(model.layers):
            x, past[n] = layer(x, past[n], i)
        found.append(nn.losses.cross_entropy(codebook.logits(x), codes[:, i]))
        told = codebook.embedding(codes[:, i])
    return mx.stack(found, axis=-1)
