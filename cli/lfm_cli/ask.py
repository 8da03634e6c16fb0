"""`lfm ask`: a free question about a recording, answered in words."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from lfm2audio_mlx.errors import RequestError
from lfm_cli.backend import open_backend
from lfm_cli.model import ModelOption
from lfm_cli.options import DaemonOption
from lfm_cli.terminal import JsonOption, emit, printable

__all__ = ["ask"]

log = logging.getLogger(__name__)


def ask(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sound file.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to know about it.")],
    system: Annotated[
        str | None, typer.Option("--system", metavar="PROMPT", help="Another system prompt.")
    ] = None,
    as_json: JsonOption = False,
    model: ModelOption = None,
    daemon: DaemonOption = True,
) -> None:
    """Ask a question about a recording; the answer is text.

    The recording is heard as one, so it should not last more than half a minute or so.

    Example: lfm ask call.wav "What does the caller want?"
    """
    from lfm2audio_mlx.audio.probe import probe
    from lfm2audio_mlx.results import EndOfTurn, Words

    if not question.strip():
        raise typer.BadParameter("the question is empty")
    probe(file)
    backend = open_backend(model, daemon)
    text, complete = "", True
    for item in backend.chat(system=system, mode="sequential").reply(file, question):
        if isinstance(item, Words):
            text += item.text
            if not as_json:
                print(printable(item.text), end="", flush=True)
        elif isinstance(item, EndOfTurn):
            complete = item.reason == "end"
    if not text.strip():
        raise RequestError("the model gave no answer; is the question of a kind that it knows?")
    if not as_json:
        print()
    if not complete:
        log.warning("the answer was cut off at its limit")
    if as_json:
        emit(
            "answer",
            question=[str(file), question],
            model=backend.name,
            text=text.strip(),
            complete=complete,
            file=None,
            seconds=0.0,
        )
