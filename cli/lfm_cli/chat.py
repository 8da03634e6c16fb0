"""`lfm chat`: a question in words or voice, an answer in words and voice."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from lfm2audio_mlx.errors import AudioError, RequestError
from lfm_cli.model import ModelOption, open_engine
from lfm_cli.options import OutputOption, SeedOption

__all__ = ["chat"]


def chat(
    once: Annotated[
        str,
        typer.Option("--once", metavar="QUESTION", help="A text, or the name of a sound file."),
    ],
    output: OutputOption = None,
    no_audio: Annotated[
        bool, typer.Option("--no-audio", help="Print the answer, play nothing.")
    ] = False,
    system: Annotated[
        str | None, typer.Option("--system", metavar="PROMPT", help="Another system prompt.")
    ] = None,
    seed: SeedOption = None,
    model: ModelOption = None,
) -> None:
    """Ask one question and get one answer, in text and voice.

    Example: lfm chat --once question.wav -o answer.wav
    """
    from lfm2audio_mlx.audio.files import check_output
    from lfm_cli.sound import sound_sink

    if output:
        check_output(output)
    question = _question(once)
    engine = open_engine(model)
    answer = engine.chat(system=system, seed=seed).reply(question)
    silent = no_audio and output is None
    sink = nullcontext(None) if silent else sound_sink(output, engine.codec.sample_rate)
    with sink as play:
        from lfm2audio_mlx.engine import Sound, Words

        answered = False
        for item in answer:
            if isinstance(item, Words):
                print(item.text, end="", flush=True)
                answered = answered or bool(item.text)
            elif isinstance(item, Sound):
                answered = True
                if play:
                    play(item.samples)
            elif item.reason != "end":
                print("\nlfm: the answer was cut off at its limit", file=sys.stderr)
        if not answered:
            raise RequestError("the model gave no answer; is the question of a kind that it knows?")
    print()


def _question(once: str) -> str | Path:
    """A file's name means the recording; anything else is what it says.

    Raises:
        AudioError: it looks like a sound file's name, but there is none or it cannot be read.
    """
    from lfm2audio_mlx.audio.files import SUFFIXES, probe

    path = Path(once)
    if path.suffix.lower() not in SUFFIXES and not (len(once) < 256 and path.is_file()):
        return once
    try:
        probe(path)
    except AudioError:
        if " " in once and not path.exists():
            return once
        raise
    return path
