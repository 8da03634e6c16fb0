"""A conversation at the terminal: what is asked and attached, answered, heard and kept."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lfm2audio_mlx.errors import AudioError, RequestError
from lfm2audio_mlx.results import Sound, Words
from lfm_cli.signals import uninterrupted
from lfm_cli.terminal import printable

if TYPE_CHECKING:
    import numpy as np

    from lfm2audio_mlx.ahead import Ahead, Reply
    from lfm2audio_mlx.results import Part
    from lfm_cli.backend import Backend, Conversation
    from lfm_cli.sound import Play

__all__ = ["Answer", "Session", "as_part", "heard"]

LISTENING_RATE = 16_000
"""Hz; what the model hears at, so that a kept question is what it heard."""
SHORTEST_SECONDS = 0.025
"""A window of the model's features."""


@dataclass
class Answer:
    """An answer as it comes: its words, its sound [n] in pieces, and whether it is whole."""

    sample_rate: int
    words: list[str] = field(default_factory=list[str])
    pieces: list[np.ndarray] = field(default_factory=list["np.ndarray"])
    complete: bool = False

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def sound(self) -> tuple[np.ndarray, int] | None:
        import numpy as np

        return (np.concatenate(self.pieces), self.sample_rate) if self.pieces else None

    @property
    def seconds(self) -> float:
        return sum(map(len, self.pieces)) / self.sample_rate


class Session:
    """One conversation after the other with one model. `name` is the one under which it is kept,
    or None; `voice` says whether answers are heard."""

    def __init__(
        self,
        backend: Backend,
        system: str | None,
        seed: int | None,
        voice: bool = True,
        output: Path | None = None,
        quiet: bool = False,
    ):
        self.backend, self.voice, self.output = backend, voice, output
        self._system, self._seed, self._quiet = system, seed, quiet
        self.reset()

    def reset(self) -> None:
        """Begin anew, and keep nothing of what comes."""
        self.name: str | None = None
        self._answers: list[Answer] = []
        self._kept: int | None = None
        """How many of them are kept; None before the conversation has a place among the kept."""
        self._chat = self.backend.chat(system=self._system, seed=self._seed)

    @property
    def asked(self) -> int:
        """How many questions the conversation has."""
        return len(self._chat.exchanges)

    def save(self, name: str) -> None:
        """Keep the conversation from its beginning, and what comes as it comes. The name is taken
        with the first exchange.

        Raises:
            RequestError: it cannot be a name, or there is one of that name.
        """
        from lfm_cli import conversations

        conversations.check_new(name)
        self.name, self._kept = name, None
        self._keep()

    def resume(self, name: str) -> None:
        """Go on with a conversation that was kept.

        Raises:
            RequestError: there is none, or it was held with another model.
        """
        from lfm_cli import conversations

        saved, kept = conversations.load(name)
        if saved.model != self.backend.name:
            raise RequestError(
                f"'{name}' was held with the model {saved.model}, this is {self.backend.name}: "
                f"--model {saved.model} goes on with it"
            )
        self._system = saved.system or None
        history = [entry.exchange for entry in kept]
        self._chat = self.backend.chat(system=self._system, history=history, seed=self._seed)
        self._answers = [
            Answer(self.backend.sample_rate, [entry.text], [entry.sound[0]] if entry.sound else [])
            for entry in kept
        ]
        self.name, self._kept = name, len(kept)

    def ahead(self) -> Ahead[Conversation]:
        """The next answer, which may be begun while its question is still being spoken."""
        from lfm2audio_mlx.ahead import Ahead

        return Ahead(self._chat)

    def ask(self, parts: Sequence[Part], ahead: Ahead[Conversation] | None = None) -> Answer:
        """Ask, and give the answer as it comes: words on stdout, sound where it should go. What
        was begun of it `ahead` comes at once.
        ctrl-C ends the answer, not the conversation: what came of it is what the model remembers,
        and so much is kept.

        Raises:
            RequestError, AudioError, ContextError: the question cannot be asked.
            KeyboardInterrupt: after the answer was ended, kept and printed.
        """
        before = self.asked
        try:
            with self._sink() as play, closing(self._reply(parts, ahead)) as reply:
                for item in reply:
                    answer = self._answer()
                    if isinstance(item, Words):
                        answer.words.append(item.text)
                        self._print(item.text)
                    elif isinstance(item, Sound):
                        answer.pieces.append(item.samples)
                        if play:
                            play(item.samples)
                    else:
                        answer.complete = item.reason == "end"
            return self._answer()
        finally:
            if self.asked > before:
                spoke = self._answer().text.strip()
                try:
                    self._keep()
                finally:
                    self._print("\n" if spoke else "")

    def _reply(self, parts: Sequence[Part], ahead: Ahead[Conversation] | None) -> Reply:
        if ahead is None:
            return self._chat.reply(*parts)
        self._chat, reply = ahead.confirm(*parts)
        return reply

    def _answer(self) -> Answer:
        """The answer to the last question; each question has one, whatever happened."""
        while len(self._answers) < self.asked:
            self._answers.append(Answer(self.backend.sample_rate))
        return self._answers[-1]

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(printable(text), end="", flush=True)

    def _sink(self) -> AbstractContextManager[Play | None]:
        from lfm_cli.sound import sound_sink

        if self.output is None and not self.voice:
            return nullcontext(None)
        instead = "--no-audio does without, and inside /voice off"
        return sound_sink(self.output, self.backend.sample_rate, instead=instead)

    def _keep(self) -> None:
        """Keep what is not kept yet, if the conversation is to be kept."""
        if self.name is None or not self._answers:
            return
        from lfm_cli import conversations

        exchanges = self._chat.exchanges
        with uninterrupted():
            if self._kept is None:
                conversations.create(self.name, self.backend.name, self._system or "")
                self._kept = 0
            while self._kept < len(self._answers):
                answer = self._answers[self._kept]
                kept = conversations.Kept(exchanges[self._kept], answer.text, answer.sound)
                conversations.append(self.name, kept)
                self._kept += 1


def as_part(word: str) -> Part | None:
    """A recording, if a word is the name of one.

    Raises:
        AudioError: it looks like a sound file's name, but there is none or it cannot be read.
    """
    from lfm2audio_mlx.audio.probe import SUFFIXES

    for name in _unquoted(word):
        if os.path.exists(name) and not os.path.isdir(name):
            return heard(Path(name))
    if Path(word).suffix.lower() in SUFFIXES and " " not in word:
        return heard(Path(os.path.expanduser(word)))  # which says that there is none
    return None


def _unquoted(word: str) -> list[str]:
    """A name as it is, and as a terminal writes that of a file which is dropped on it."""
    names = [word]
    with suppress(ValueError):
        names += parts if len(parts := shlex.split(word)) == 1 else []
    return [os.path.expanduser(name) for name in names]


def heard(path: Path) -> Part:
    """A recording as samples, so that it can be kept.

    Raises:
        AudioError: it cannot be read, or is too short for the model.
    """
    from lfm2audio_mlx.audio.files import read_audio

    samples = read_audio(path, LISTENING_RATE)
    if len(samples) < SHORTEST_SECONDS * LISTENING_RATE:
        raise AudioError(
            f"{path}: {len(samples) / LISTENING_RATE:.3f} s of sound, too short to hear"
        )
    return samples, LISTENING_RATE
