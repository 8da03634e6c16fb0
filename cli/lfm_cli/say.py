"""`lfm say`: text in, speech out, to a file or the loudspeaker."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lfm2audio_mlx.errors import RequestError
from lfm_cli.backend import open_backend
from lfm_cli.model import ModelOption
from lfm_cli.options import DaemonOption, OutputOption, SeedOption
from lfm_cli.terminal import JsonOption, columns, emit, progress_bar, read_line

if TYPE_CHECKING:
    from lfm2audio_mlx.results import Sound
    from lfm_cli.backend import Backend

__all__ = ["say"]

log = logging.getLogger(__name__)

LIST = "?"
NO_TEXT = "is no text in UTF-8"
NOTHING = "the model spoke nothing; is the text of a kind that it knows?"


def say(
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", show_default=False, help="What to say; - is stdin."),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="Say what is in a text file; - is stdin."
        ),
    ] = None,
    output: OutputOption = None,
    voice: Annotated[
        str | None,
        typer.Option(
            "--voice",
            "-v",
            metavar="VOICE",
            help="For example us-female; ? lists them. LFM2-Audio-1.5B takes a description too.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--audio-device",
            "-a",
            metavar="DEVICE",
            help="A loudspeaker's number or name; ? lists.",
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            "--rate",
            "-r",
            metavar="WPM",
            min=50,
            max=500,
            help="Words a minute; a sentence is then heard when it is made.",
        ),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Say each line of stdin as it comes.")
    ] = False,
    progress: Annotated[bool, typer.Option("--progress", help="Show how far it is.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Read numbers, abbreviations and markdown as they stand.")
    ] = False,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    model: ModelOption = None,
    daemon: DaemonOption = True,
) -> None:
    """Speak a text of any length aloud, or into a file.

    It is heard while the rest is being made; ctrl-C stops it, and a file then holds what was
    spoken so far.

    Example: lfm say "turn on the kitchen light" -o light.wav
    """
    if device == LIST:
        return _list_devices(as_json)
    if voice == LIST:
        return _list_voices(model, as_json)
    if interactive and (text or file):
        raise typer.BadParameter("-i says what you type: it takes no text and no file")
    if output:
        from lfm2audio_mlx.audio.files import check_output

        check_output(output)
    texts = _lines() if interactive else iter([_text(text or [], file)])
    backend = open_backend(model, daemon)
    from lfm_cli.sound import sound_sink

    seconds = 0.0
    instead = "-a '?' lists what there is, -o FILE keeps the sound"
    with sound_sink(output, backend.sample_rate, device, instead=instead) as play:
        for each in texts:
            try:
                spoken = 0
                for sound in _sounds(backend, each, voice, raw, seed, rate, progress):
                    play(sound.samples)
                    spoken += len(sound.samples)
                if not spoken:
                    raise RequestError(NOTHING)
                seconds += spoken / backend.sample_rate
            except RequestError as error:
                if not interactive:
                    raise
                log.error("%s", error)
    if as_json:
        emit(
            "speech",
            file=str(output) if output else None,
            model=backend.name,
            voice=voice,
            seconds=round(seconds, 3),
            sample_rate=backend.sample_rate,
        )


def _text(words: list[str], file: str | None) -> str:
    """All that is to be said.

    Raises:
        BadParameter: nothing was given, or two things.
        RequestError: the file cannot be read.
    """
    if words and file:
        raise typer.BadParameter("give a text or a file, not both")
    if words and words != ["-"]:
        return " ".join(words)
    if file in (None, "-"):
        if not words and file is None and sys.stdin.isatty():
            raise typer.BadParameter("what should be said? TEXT, -f FILE, - for stdin, or -i")
        try:
            return sys.stdin.buffer.read().decode("utf-8-sig")
        except ValueError as error:
            raise RequestError(f"stdin: {NO_TEXT}") from error
    assert file is not None
    try:
        return Path(file).read_text("utf-8-sig")
    except OSError as error:
        raise RequestError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RequestError(f"{file}: {NO_TEXT}") from error


def _lines() -> Iterator[str]:
    """What is typed, line by line; a prompt only where somebody sees it."""
    prompt = sys.stdin.isatty() and sys.stdout.isatty()
    while True:
        try:
            line = read_line(prompt)
        except EOFError:
            if prompt:
                print()
            return
        if line.strip():
            yield line


def _sounds(
    backend: Backend,
    text: str,
    voice: str | None,
    raw: bool,
    seed: int | None,
    rate: int | None,
    progress: bool,
) -> Iterator[Sound]:
    """The speech, at the pace that is wished for, and how far it is if that is."""
    sounds = backend.say(text, voice=voice, raw=raw, seed=seed)
    if rate:
        from lfm_cli.pace import paced

        sounds = paced(sounds, rate)
    return _shown(sounds) if progress else sounds


def _shown(sounds: Iterator[Sound]) -> Iterator[Sound]:
    with progress_bar("speaking", "sentences") as show:
        for sound in sounds:
            show(sound.sentence, sound.sentences)
            yield sound


def _list_voices(model: str | None, as_json: bool) -> None:
    from lfm2audio_mlx.config import read_config
    from lfm_cli.model import choose_model, usable

    folder = choose_model(model)
    with usable():
        prompts = read_config(folder).prompts
    if as_json:
        emit("voices", voices=list(prompts.voices), described=bool(prompts.described_voice))
        return
    for name in prompts.voices:
        print(name)
    if prompts.described_voice:
        log.info('or a description in quotes, such as "An old man whispers."')


def _list_devices(as_json: bool) -> None:
    from lfm_cli.sound import devices

    found = devices("output")
    if as_json:
        entries = [{"number": n, "name": name, "default": chosen} for n, name, chosen in found]
        emit("devices", devices=entries)
    elif found:
        columns([(str(n), name, "default" if chosen else "") for n, name, chosen in found])
    else:
        log.info("there is no loudspeaker here; -o FILE keeps the sound")
