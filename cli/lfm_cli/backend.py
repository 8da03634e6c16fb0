"""What does the work: the engine in this process. Chosen here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from lfm2audio_mlx.installed import model_name
from lfm_cli.model import choose_model, usable

if TYPE_CHECKING:
    from lfm2audio_mlx.audio.files import AudioSource
    from lfm2audio_mlx.results import EndOfTurn, Exchange, Part, Progress, Sound, Span, Words

__all__ = ["Backend", "Conversation", "open_backend"]


class Conversation(Protocol):
    """A chat that goes on; see `lfm2audio_mlx.conversation.Chat`."""

    @property
    def exchanges(self) -> tuple[Exchange, ...]: ...

    def reply(
        self, *parts: Part, max_tokens: int = 1024
    ) -> Iterator[Words | Sound | EndOfTurn]: ...


class Backend(Protocol):
    """A model at work, wherever it is; see `lfm2audio_mlx.engine.Engine`."""

    @property
    def name(self) -> str: ...

    @property
    def sample_rate(self) -> int: ...

    def spans(
        self, audio: AudioSource, *, prompt: str | None = None, after: float = 0.0
    ) -> Iterator[Span | Progress]: ...

    def hear(self, audio: AudioSource, *, prompt: str | None = None) -> Span: ...

    def say(
        self, text: str, *, voice: str | None = None, raw: bool = False, seed: int | None = None
    ) -> Iterator[Sound]: ...

    def chat(
        self,
        *,
        system: str | None = None,
        mode: Literal["interleaved", "sequential"] = "interleaved",
        history: Sequence[Exchange] = (),
        seed: int | None = None,
    ) -> Conversation: ...

    def classify(
        self, audio: AudioSource, labels: Sequence[str], *, question: str | None = None
    ) -> Mapping[str, float]: ...


def open_backend(model: str | None) -> Backend:
    """Load the model that is wished for.

    Raises:
        ModelError: there is no such model, or it cannot be used.
    """
    folder = choose_model(model)
    from lfm2audio_mlx.engine import Engine

    with usable():
        return Engine.load(folder, name=model_name(folder))
