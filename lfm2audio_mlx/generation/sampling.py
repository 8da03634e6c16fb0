"""One sampler for words and codes: greedy, or temperature and top-k."""

from dataclasses import dataclass

import mlx.core as mx

from lfm2audio_mlx.errors import RequestError

__all__ = ["GREEDY", "Sampling", "choose", "noise", "sample"]


@dataclass(frozen=True)
class Sampling:
    """How to choose. `temperature` 0 or `top_k` 1 is greedy; `top_k` 0 keeps all."""

    temperature: float = 0.0
    top_k: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise RequestError(f"temperature {self.temperature} is not a number from 0 up")
        if self.top_k < 0:
            raise RequestError(f"top-k {self.top_k} is negative")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0 or self.top_k == 1


GREEDY = Sampling()


def sample(logits: mx.array, sampling: Sampling, key: mx.array | None) -> mx.array:
    """Choose from logits [B, N] -> [B]; `key` is not needed when greedy."""
    return choose(logits, sampling, noise(logits.shape, sampling, key))


def noise(shape: tuple[int, ...], sampling: Sampling, key: mx.array | None) -> mx.array | None:
    """What `choose` adds, of which many choices can have their part at once; None when greedy."""
    return None if sampling.greedy else mx.random.gumbel(shape, key=key)


def choose(logits: mx.array, sampling: Sampling, noise: mx.array | None) -> mx.array:
    """Choose from logits [B, N] with Gumbel noise [B, N] -> [B].

    The largest of noisy logits is a draw from their softmax (Gumbel 1954). As the reference,
    top-k keeps every value that ties with the k-th.
    """
    if noise is None:
        return mx.argmax(logits, axis=-1)
    noisy = logits.astype(mx.float32) / sampling.temperature + noise
    if 0 < sampling.top_k < logits.shape[-1]:
        least = mx.topk(logits, sampling.top_k, axis=-1).min(axis=-1, keepdims=True)
        noisy = mx.where(logits < least, -mx.inf, noisy)
    return mx.argmax(noisy, axis=-1)
