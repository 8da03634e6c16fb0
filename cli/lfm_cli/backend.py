"""What does the work: the daemon, or the engine in this process. Chosen here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

from lfm2audio_mlx.errors import DaemonError
from lfm2audio_mlx.installed import model_name
from lfm_cli.model import choose_model, usable
from lfm_cli.terminal import waiting

if TYPE_CHECKING:
    from lfm2audio_mlx.audio.files import AudioSource
    from lfm2audio_mlx.results import EndOfTurn, Exchange, Part, Progress, Sound, Span, Words

__all__ = ["Backend", "Conversation", "open_backend"]

log = logging.getLogger(__name__)


class Conversation(Protocol):
    """A chat that goes on; see `lfm2audio_mlx.conversation.Chat`."""

    @property
    def exchanges(self) -> tuple[Exchange, ...]: ...

    def fork(self) -> Self: ...

    def reply(
        self, *parts: Part, max_tokens: int = 1024
    ) -> Generator[Words | Sound | EndOfTurn]: ...


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


def open_backend(model: str | None, daemon: bool = True) -> Backend:
    """Have the model that is wished for ready to work: in the daemon, which is started if need be,
    or in this process, where it cannot be had or is not wished for.

    Raises:
        ModelError: there is no such model, or it cannot be used.
    """
    folder = choose_model(model).resolve()
    if daemon:
        try:
            with usable():
                return _resident(folder)
        except DaemonError as error:
            log.warning("%s; this once it goes without", error)
    from lfm2audio_mlx.engine import Engine

    with usable():
        return Engine.load(folder, name=model_name(folder))


def _resident(folder: Path) -> Backend:
    """The daemon, with this model.

    Raises:
        DaemonError: it cannot be started or does not serve.
    """
    from lfm_cli.daemon import ensure_daemon
    from lfm_daemon.client import Daemon

    ensure_daemon()
    with waiting(f"loading {folder.name}"):
        return Daemon(folder, model_name(folder))
