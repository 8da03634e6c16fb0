"""Choosing from logits: greedy, or temperature, top-k and Gumbel noise, in one launch.

The noise is computed where it is needed, and is what `mx.random.gumbel` draws from the same key,
number for number: threefry counts, so any of them can be had by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.kernels.metal import Grid, Kernel, Outputs, Template, usable
from lfm2audio_mlx.kernels.packed import packed
from lfm2audio_mlx.sampling import Sampling

__all__ = ["Draws", "Offer", "sample_and_embed", "sample_top_k"]

FEW = 4096
"""Logits up to which a smaller threadgroup does: there is more waiting than work."""

_inputs = ("logits", "temperature", "key", "settings")
_sample = Kernel("sample_top_k", _inputs, ("code",), ("draw",))
_sample_and_embed = Kernel(
    "sample_and_embed",
    (*_inputs, "x", "words", "scales", "biases"),
    ("code", "y"),
    ("draw", "packed"),
)


@dataclass(frozen=True)
class Draws:
    """How to choose, `count` times from rows of logits [B, N]; all noise comes from one key.

    `key` is not needed when greedy.
    """

    sampling: Sampling
    key: mx.array | None
    shape: tuple[int, ...]
    """count, B, N"""

    @cached_property
    def noise(self) -> mx.array:
        """All of it, [count, B, N]."""
        return mx.random.gumbel(self.shape, key=self.key)


@dataclass(frozen=True)
class Offer:
    """Which of the logits may be chosen: those below `limit`, and `also` if there is one."""

    limit: int
    also: int = -1


def sample_top_k(logits: mx.array, draws: Draws, place: int, offer: Offer) -> mx.array:
    """Choice number `place`, from logits [B, N] -> [B]."""
    if not usable(logits):
        return _ops(logits, draws, place, offer)
    (code,) = _run(_sample, logits, draws, place, offer, (), {}, ())
    return code


def sample_and_embed(
    logits: mx.array, draws: Draws, place: int, offer: Offer, table: nn.Module, x: mx.array
) -> tuple[mx.array, mx.array]:
    """Choice number `place` [B], and x [B, K] with its row of the table added."""
    matrix = packed(table)
    if matrix is None or not usable(logits, x, matrix.scales):
        code = sample_top_k(logits, draws, place, offer)
        return code, x + cast(Any, table)(code)
    inputs, outputs = (x, *matrix.arrays), ((x.shape, x.dtype),)
    code, y = _run(_sample_and_embed, logits, draws, place, offer, inputs, matrix.template, outputs)
    return code, y


def _run(
    kernel: Kernel,
    logits: mx.array,
    draws: Draws,
    place: int,
    offer: Offer,
    inputs: Sequence[mx.array],
    template: Template,
    outputs: Outputs,
) -> list[mx.array]:
    B, N = logits.shape
    sampling, threads = draws.sampling, 256 if N <= FEW else 512
    settings = [place, draws.shape[0], offer.limit, offer.also, sampling.top_k]
    key = mx.array([0, 0], mx.uint32) if draws.key is None else draws.key
    return kernel(
        (logits, mx.array([sampling.temperature]), key, mx.array(settings), *inputs),
        {**template, "T": logits.dtype, "GREEDY": sampling.greedy},
        Grid((threads, B, 1), (threads, 1, 1)),
        [((B,), mx.uint32), *outputs],
    )


def _ops(logits: mx.array, draws: Draws, place: int, offer: Offer) -> mx.array:
    """The largest of noisy logits is a draw from their softmax (Gumbel 1954). As the reference,
    top-k keeps every value that ties with the k-th."""
    offered = logits[:, : offer.limit]
    if offer.also >= 0:
        last = logits[:, offer.also : offer.also + 1]
        offered = mx.concatenate([offered, last], axis=1)
    code = _choose(offered, draws, place)
    return mx.where(code == offer.limit, offer.also, code) if offer.also >= 0 else code


def _choose(logits: mx.array, draws: Draws, place: int) -> mx.array:
    sampling = draws.sampling
    if sampling.greedy:
        return mx.argmax(logits, axis=-1)
    noise = draws.noise[place : place + 1, :, : logits.shape[-1]].squeeze(0)
    noisy = logits.astype(mx.float32) / sampling.temperature + noise
    if 0 < sampling.top_k < logits.shape[-1]:
        least = mx.topk(logits, sampling.top_k, axis=-1).min(axis=-1, keepdims=True)
        noisy = mx.where(logits < least, -mx.inf, noisy)
    return mx.argmax(noisy, axis=-1)
