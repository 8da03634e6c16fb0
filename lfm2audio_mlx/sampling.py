"""How to choose among words or codes: greedy, or temperature and top-k."""

from dataclasses import dataclass

from lfm2audio_mlx.errors import RequestError

__all__ = ["GREEDY", "Sampling"]


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
