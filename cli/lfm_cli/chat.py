"""`lfm chat`: a conversation in words and voice, at the terminal or one question for a script."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from lfm2audio_mlx.errors import RequestError
from lfm_cli.backend import open_backend
from lfm_cli.model import ModelOption
from lfm_cli.options import DaemonOption, OutputOption, SeedOption
from lfm_cli.terminal import JsonOption, emit

__all__ = ["chat"]

log = logging.getLogger(__name__)


def chat(
    once: Annotated[
        str | None,
        typer.Option(
            "--once",
            metavar="QUESTION",
            help="Ask this, a text or the name of a sound file, and leave.",
        ),
    ] = None,
    output: OutputOption = None,
    no_audio: Annotated[
        bool, typer.Option("--no-audio", help="Print answers, play nothing.")
    ] = False,
    system: Annotated[
        str | None, typer.Option("--system", metavar="PROMPT", help="Another system prompt.")
    ] = None,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="NAME", help="Keep the conversation under this name."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="NAME", help="Go on with one that was kept.")
    ] = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    model: ModelOption = None,
    daemon: DaemonOption = True,
) -> None:
    """Talk with the model: type, or speak, and read and hear the answer.

    Inside, /help lists what else there is. Nothing is kept unless asked for.

    Example: lfm chat --once question.wav -o answer.wav
    """
    from lfm_cli import conversations
    from lfm_cli.session import Session, as_part

    if save is not None and resume is not None:
        raise typer.BadParameter("--resume goes on keeping under the same name; --save is for new")
    if resume is not None and system:
        raise typer.BadParameter("a conversation that is resumed has its system prompt already")
    if (output or as_json) and once is None:
        raise typer.BadParameter("-o and --json are for one answer: --once QUESTION")
    if output:
        from lfm2audio_mlx.audio.files import check_output

        check_output(output)
    question = (as_part(once) or once) if once is not None else None
    if isinstance(question, str) and not question.strip():
        raise RequestError("there is nothing to answer: the question is empty")
    voice = not no_audio and not (as_json and output is None)
    if save is not None:
        conversations.check_new(save)
    if resume is not None and model is None:
        model = conversations.find(resume).model
    backend = open_backend(model, daemon)
    session = Session(backend, system, seed, voice, output, quiet=as_json)
    if resume is not None:
        session.resume(resume)
    elif save is not None:
        session.save(save)
    if question is None:
        from lfm_cli.repl import converse

        converse(session)
        return
    answer = session.ask([question])
    if not answer.complete:
        log.warning("the answer was cut off at its limit")
    if not answer.text.strip() and answer.sound is None:
        raise RequestError("the model gave no answer; is the question of a kind that it knows?")
    if as_json:
        emit(
            "answer",
            question=[once],
            model=backend.name,
            text=answer.text.strip(),
            complete=answer.complete,
            file=str(output) if output else None,
            seconds=round(answer.seconds, 3),
        )
