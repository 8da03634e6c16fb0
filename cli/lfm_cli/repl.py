"""The interactive part of `lfm chat`: lines and slash commands, until ctrl-D."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lfm2audio_mlx.errors import LfmError, RequestError
from lfm_cli.session import Session, as_part, heard
from lfm_cli.terminal import read_line

if TYPE_CHECKING:
    from lfm2audio_mlx.ahead import Ahead
    from lfm2audio_mlx.results import Part
    from lfm_cli.backend import Conversation

__all__ = ["converse"]

log = logging.getLogger(__name__)

HELP = """\
Type a question, or the name of a sound file, or Enter alone to speak.
/record          speak; a pause ends it (as Enter alone)
/attach FILE     send a sound along with the next question
/voice on|off    hear answers, or only read them
/save NAME       keep this conversation, from its beginning
/reset           begin a new one
/help            this list
/quit            leave (as ctrl-D); ctrl-C stops an answer"""


class Quit(Exception):
    """The user has had enough."""


def converse(session: Session) -> None:
    """Answer what is typed or said; a fault is told and the conversation goes on.

    Lines that come from a pipe are questions too, one each.

    Raises:
        LfmError: the first fault, where the lines come from a pipe.
    """
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        importlib.import_module("readline")  # gives `input` its editing and history

        log.info("/help lists what you can do; ctrl-D leaves")
    attached: list[Part] = []
    while True:
        try:
            line = read_line(interactive).strip()
            _step(session, line, attached, interactive)
        except KeyboardInterrupt:
            if not interactive:
                raise
            print()
            log.info("ctrl-D leaves")
        except (EOFError, Quit):
            if interactive:
                print()
            return
        except LfmError as error:
            if not interactive:
                raise
            log.error("%s", error)


def _step(session: Session, line: str, attached: list[Part], interactive: bool) -> None:
    """One line."""
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    match command:
        case "/help":
            print(HELP)
        case "/quit" | "/bye" | "/exit":
            raise Quit
        case "/reset":
            session.reset()
            attached.clear()
            log.info("a new conversation; nothing of it is kept")
        case "/voice":
            if rest not in ("on", "off"):
                raise RequestError("/voice on, or /voice off")
            session.voice = rest == "on"
        case "/save":
            if not rest:
                raise RequestError("/save NAME: under which name?")
            if rest != session.name:
                session.save(rest)
            log.info("kept as '%s', from the beginning", rest)
        case "/attach":
            attached.append(_sound(rest))
            log.info("%s goes with the next question", rest)
        case "/record":
            _listen(session, attached)
        case "" if interactive:
            _listen(session, attached)
        case "":
            pass
        case _ if command.startswith("/") and "/" not in command[1:]:
            raise RequestError(f"there is no {command}; /help lists what there is")
        case _:
            _ask(session, [*attached, as_part(line) or line], attached)


def _listen(session: Session, attached: list[Part]) -> None:
    """Ask what is said; its answer is begun while the pause at its end is waited for."""
    with session.ahead() as ahead:
        _ask(session, [*attached, _spoken(ahead, attached)], attached, ahead)


def _ask(
    session: Session,
    parts: list[Part],
    attached: list[Part],
    ahead: Ahead[Conversation] | None = None,
) -> None:
    before = session.asked
    try:
        answer = session.ask(parts, ahead)
    finally:
        if session.asked > before:
            attached.clear()
    if not answer.text.strip() and answer.sound is None:
        raise RequestError("the model gave no answer; is the question of a kind that it knows?")
    if not answer.complete:
        log.warning("the answer was cut off at its limit")


def _sound(name: str) -> Part:
    if not name:
        raise RequestError("/attach FILE: which file?")
    return as_part(name) or heard(Path(name))


def _spoken(ahead: Ahead[Conversation], attached: list[Part]) -> Part:
    """What is said into the microphone, until a pause or ctrl-C. Whenever it may be all of it, it
    is taken for the question that goes with what is attached.

    Raises:
        AudioError: there is no microphone.
        RequestError: nobody spoke.
    """
    from lfm2audio_mlx.audio.vad import SAMPLE_RATE, SpeechCutter
    from lfm_cli.microphone import listening
    from lfm_cli.signals import stopped_by_interrupt

    cutter = SpeechCutter()
    with (
        stopped_by_interrupt() as stop,
        listening(SAMPLE_RATE, stop, meanwhile=ahead.step) as blocks,
    ):
        log.info("listening...")
        for block in blocks:
            if spoken := cutter.push(block):
                return spoken[0].samples, SAMPLE_RATE
            if maybe := cutter.pausing:
                ahead.guess(*attached, (maybe.samples, SAMPLE_RATE))
            else:
                ahead.forget()
    if spoken := cutter.finish():
        return spoken[0].samples, SAMPLE_RATE
    raise RequestError("nobody spoke")
