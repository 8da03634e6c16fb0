"""A conversation at the terminal: what is asked and attached, answered, heard and kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lfm2audio_mlx.errors import AudioError, LfmError, RequestError
from lfm2audio_mlx.results import Sound, Words
from lfm_cli.terminal import printable

if TYPE_CHECKING:
    import numpy as np

    from lfm2audio_mlx.results import Part
    from lfm_cli.backend import Backend
    from lfm_cli.sound import Play

__all__ = ["Answer", "Session", "as_part", "heard"]

log = logging.getLogger(__name__)

LISTENING_RATE = 16_000
"""Hz; what the model hears at, so that a kept question is what it heard."""


@dataclass(frozen=True)
class Answer:
    """An answer as it came: its words, its sound if there was any, and whether it is whole."""

    text: str
    sound: tuple[np.ndarray, int] | None
    complete: bool

    @property
    def seconds(self) -> float:
        return len(self.sound[0]) / self.sound[1] if self.sound else 0.0


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
        self.name: str | None = None
        self._system, self._seed, self._quiet = system, seed, quiet
        self._answers: list[Answer] = []
        self._chat = backend.chat(system=system, seed=seed)

    def reset(self) -> None:
        """Begin anew, and keep nothing of what comes."""
        self.name = None
        self._answers = []
        self._chat = self.backend.chat(system=self._system, seed=self._seed)

    def save(self, name: str) -> None:
        """Keep the conversation from its beginning, and what comes as it comes.

        Raises:
            RequestError: there is one of that name.
        """
        from lfm_cli import conversations

        conversations.create(name, self.backend.name, self._system or "")
        self.name = name
        for number in range(len(self._answers)):
            self._keep(number)

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
        self._answers = [Answer(entry.text, entry.sound, True) for entry in kept]
        self.name = name

    def ask(self, parts: Sequence[Part]) -> Answer:
        """Ask, and give the answer as it comes: words on stdout, sound where it should go.
        ctrl-C ends the answer, not the conversation.

        Raises:
            RequestError, AudioError, ContextError: the question cannot be asked.
            KeyboardInterrupt: after the answer was ended, kept and printed.
        """
        words: list[str] = []
        pieces: list[np.ndarray] = []
        complete, failure = False, None
        try:
            with self._sink() as play:
                for item in self._chat.reply(*parts):
                    if isinstance(item, Words):
                        words.append(item.text)
                        self._print(item.text)
                    elif isinstance(item, Sound):
                        pieces.append(item.samples)
                        if play:
                            play(item.samples)
                    else:
                        complete = item.reason == "end"
        except (KeyboardInterrupt, SystemExit, LfmError) as error:
            if len(self._chat.exchanges) == len(self._answers):
                raise  # the question was not even asked
            failure = error
        answer = self._finish(words, pieces, complete)
        if failure:
            raise failure
        return answer

    def _finish(self, words: list[str], pieces: list[np.ndarray], complete: bool) -> Answer:
        """What came of an answer is what the model remembers, so that much is kept."""
        import numpy as np

        text = "".join(words)
        if text.strip():
            self._print("\n")
        sound = (np.concatenate(pieces), self.backend.sample_rate) if pieces else None
        answer = Answer(text, sound, complete)
        self._answers.append(answer)
        if self.name:
            self._keep(len(self._answers) - 1)
        return answer

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(printable(text), end="", flush=True)

    def _sink(self) -> AbstractContextManager[Play | None]:
        from lfm_cli.sound import sound_sink

        if self.output is None and not self.voice:
            return nullcontext(None)
        return sound_sink(self.output, self.backend.sample_rate)

    def _keep(self, number: int) -> None:
        from lfm_cli import conversations

        assert self.name is not None
        answer = self._answers[number]
        exchange = self._chat.exchanges[number]
        conversations.append(self.name, conversations.Kept(exchange, answer.text, answer.sound))


def as_part(word: str) -> Part | None:
    """A recording, if a word is the name of one.

    Raises:
        AudioError: it looks like a sound file's name, but there is none or it cannot be read.
    """
    from lfm2audio_mlx.audio.files import SUFFIXES, probe

    path = Path(word)
    if path.suffix.lower() not in SUFFIXES and not (len(word) < 256 and path.is_file()):
        return None
    try:
        probe(path)
    except AudioError:
        if " " in word and not path.exists():
            return None
        raise
    return heard(path)


def heard(path: Path) -> Part:
    """A recording as samples, so that it can be kept.

    Raises:
        AudioError: it cannot be read.
    """
    from lfm2audio_mlx.audio.files import read_audio

    return read_audio(path, LISTENING_RATE), LISTENING_RATE
