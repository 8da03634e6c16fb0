"""What tests of `lfm chat` share: what is kept of it, and a conversation at a terminal."""

import subprocess
from collections.abc import Callable
from typing import Any

import pexpect
import soundfile
from questions import SPEECH

from lfm_cli import conversations

Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]
Terminal = Callable[..., "pexpect.spawn[str]"]
SECONDS = soundfile.info(SPEECH).duration
PROMPT = "\n> "
AT_ONCE = 1.0
"""Seconds in which ctrl-C must have stopped an answer: a person would press it again."""


def kept() -> dict[str, int]:
    """How many exchanges are kept, by name."""
    return {saved.name: saved.exchanges for saved in conversations.listed()}


def turns(name: str) -> list[tuple[str, float, str, bool]]:
    """Of each exchange that is kept: the words that were asked, how many seconds of sound, the
    words of the answer, and whether it had sound."""
    found: list[tuple[str, float, str, bool]] = []
    for each in conversations.load(name)[1]:
        words = [part for part in each.exchange.said if isinstance(part, str)]
        sounds = [part for part in each.exchange.said if isinstance(part, tuple)]
        seconds = sum(len(samples) / rate for samples, rate in sounds)
        found.append((" ".join(words), seconds, each.text, each.sound is not None))
    return found


def shown(child: "pexpect.spawn[str]", line: str) -> str:
    """What comes after a line has been typed, up to the next prompt."""
    child.sendline(line)
    child.expect_exact(f"{line}\r")
    child.expect_exact(PROMPT)
    return (child.before or "").replace("\r", "").strip("\n")


def leave(child: "pexpect.spawn[str]") -> None:
    """ctrl-D."""
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, child.signalstatus) == (0, None)
