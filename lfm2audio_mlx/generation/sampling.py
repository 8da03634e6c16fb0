"""One sampler for words and codes: greedy, or temperature and top-k."""

from dataclasses import dataclass

import mlx.core as mx

from lfm2audio_mlx.errors import RequestError

__all__ = ["GREEDY", "Sampling", "sample"]


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
    """Choose from logits [B, N] -> [B]; `key` is not needed when greedy.

    As the reference, top-k keeps every value that ties with the k-th.
    """
    if sampling.greedy:
        return mx.argmax(logits, axis=-1)
    logits = logits.astype(mx.float32) / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        least = mx.topk(logits, sampling.top_k, axis=-1).min(axis=-1, keepdims=True)
        logits = mx.where(logits < least, -mx.inf, logits)
    return mx.random.categorical(logits, key=key)
