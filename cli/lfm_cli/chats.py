"""`lfm chats`: the conversations that were kept, to look at, to take away and to remove."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from lfm2audio_mlx.errors import RequestError
from lfm_cli import conversations
from lfm_cli.conversations import Kept, Saved
from lfm_cli.terminal import JsonOption, columns, emit, insist, printable
from lfm_cli.transcripts import write_text

if TYPE_CHECKING:
    import numpy as np

__all__ = ["chats", "export", "list_chats", "remove", "show"]

PAUSE = 0.3
"""Seconds of silence between two turns in an exported recording."""

SPEAKERS = {"user": "You", "assistant": "LFM"}

"""Control characters, with which a text could steer the terminal that it is printed on."""

Recording: TypeAlias = "tuple[np.ndarray, int]"
"""Mono samples [n] with their rate."""

log = logging.getLogger(__name__)

chats = typer.Typer(add_completion=False, rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A name that `lfm chats` shows.")]


@chats.callback(invoke_without_command=True)
def list_chats(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the conversations that were kept, or show, export or remove one.

    Example: lfm chats
    """
    if context.invoked_subcommand:
        return
    kept = conversations.listed()
    if as_json:
        emit("chats", conversations=[_glance(saved) for saved in kept])
        return
    if not kept:
        log.info("no conversation is kept; `lfm chat --save NAME` keeps one")
        return
    rows = [("NAME", "CHANGED", "EXCHANGES", "SOUND", "MODEL")]
    for saved in kept:
        sound = f"{saved.seconds:,.1f} s" if saved.seconds else "-"
        count = f"{saved.exchanges:,}"
        rows.append((saved.name, _local(saved.changed), count, sound, printable(saved.model)))
    columns(rows, right=(2, 3))


@chats.command()
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Print what was said in a conversation.

    Example: lfm chats show kitchen
    """
    with conversations.reading(name) as (saved, exchanges):
        turns = _turns(exchanges)
        if as_json:
            told = [{"role": t.role, "text": t.text, "seconds": round(t.seconds, 3)} for t in turns]
            emit("chat", **_glance(saved), turns=told)
            return
        for turn in turns:
            # Further lines are set in, so that none looks like another turn.
            print(f"{SPEAKERS[turn.role]}: {turn.line}".replace("\n", "\n     "))


@chats.command()
def export(
    name: NameArgument,
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to; else here.")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a conversation to NAME.md, and what sound it has to NAME.wav.

    Example: lfm chats export kitchen
    """
    from lfm2audio_mlx.audio.files import writing

    rate = _rate(name)
    text, sound = folder / f"{name}.md", folder / f"{name}.wav"
    paths = [text, sound] if rate else [text]
    for path in paths:
        if path.exists() and not force:
            raise RequestError(f"{path}: is there already; --force replaces it")
    with conversations.reading(name) as (saved, exchanges):
        turns = _turns(exchanges)
        if rate:
            folder.mkdir(parents=True, exist_ok=True)
            with writing(sound, rate) as write:
                write_text(text, _document(saved, _recorded(turns, rate, write)))
        else:
            write_text(text, _document(saved, turns))
    if as_json:
        emit("exported", name=name, transcript=str(text), sound=str(sound) if rate else None)
        return
    for path in paths:
        print(path)


@chats.command("rm")
def remove(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names that `lfm chats` shows.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete conversations for good.

    Example: lfm chats rm kitchen --yes
    """
    for name in names:
        conversations.find(name)
    if not yes:
        insist(f"Delete {', '.join(names)}?", "lfm chats rm")
    for name in dict.fromkeys(names):
        conversations.remove(name)
        if not as_json:
            print(f"{name}: removed")
    if as_json:
        emit("removed", names=list(dict.fromkeys(names)))


@dataclass(frozen=True)
class Turn:
    """What one side said. `role` is "user" or "assistant", `text` the words of it, `line` also
    tells what was said without words, `sounds` are its recordings."""

    role: str
    text: str
    line: str
    sounds: tuple[Recording, ...]

    @property
    def seconds(self) -> float:
        """How long the recordings last."""
        return sum(len(samples) / rate for samples, rate in self.sounds)


def _turns(exchanges: Iterable[Kept]) -> Iterator[Turn]:
    for kept in exchanges:
        words: list[str] = []
        told: list[str] = []
        sounds: list[Recording] = []
        for part in kept.exchange.said:
            if isinstance(part, str):
                words.append(printable(part).strip())
                told.append(words[-1])
            elif isinstance(part, tuple):
                sounds.append(part)
                told.append(_voice(part))
        yield Turn("user", " ".join(words), " ".join(told), tuple(sounds))
        answer = printable(kept.text).strip()
        spoken = (kept.sound,) if kept.sound else ()
        yield Turn(
            "assistant", answer, answer or " ".join(map(_voice, spoken)) or "[nothing]", spoken
        )


def _voice(sound: Recording) -> str:
    samples, rate = sound
    return f"[voice, {len(samples) / rate:,.1f} s]"


def _glance(saved: Saved) -> dict[str, Any]:
    return {**asdict(saved), "seconds": round(saved.seconds, 3)}


def _local(moment: str) -> str:
    """A moment in UTC as people here write it."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")


# Export


def _rate(name: str) -> int | None:
    """The sample rate of the first answer that was spoken, or else of a question; in Hz."""
    rate = None
    with conversations.reading(name) as (saved, exchanges):
        if not saved.seconds:
            return None
        for kept in exchanges:
            if kept.sound:
                return kept.sound[1]
            for part in kept.exchange.said:
                if isinstance(part, tuple):
                    rate = rate or part[1]
    return rate


def _recorded(
    turns: Iterable[Turn], rate: int, write: Callable[[np.ndarray], None]
) -> Iterator[Turn]:
    """The turns; the sound of each is written as it passes, so that memory holds no more."""
    import numpy as np

    from lfm2audio_mlx.audio.files import read_audio

    begun = False
    for turn in turns:
        if turn.seconds and begun:
            write(np.zeros(round(PAUSE * rate), np.float32))
        for sound in turn.sounds:
            write(read_audio(sound, rate))
        begun = begun or bool(turn.seconds)
        yield turn


def _document(saved: Saved, turns: Iterable[Turn]) -> str:
    """A transcript in Markdown."""
    head = [f"# {saved.name}", f"{_local(saved.created)}, {printable(saved.model)}"]
    return "\n\n".join([*head, *(f"**{SPEAKERS[t.role]}:** {t.line}" for t in turns)]) + "\n"
