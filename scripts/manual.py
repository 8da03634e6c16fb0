"""Prints docs/lfm.1: the manual page of `lfm`, from the commands themselves. A test holds the file
to it; `make manual` writes it anew.

The macros are those of man(7), which both groff and mandoc (macOS) have.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from commands import HEAD as TABLES
from lfm2audio_mlx import __version__
from lfm_cli.app import COMMANDS, app

DOCS = Path(__file__).parents[1] / "docs"

DESCRIPTION = """\
Liquid AI's LFM2-Audio on Apple silicon, offline. One small model hears, thinks and speaks: it
writes down recordings of any length, speaks texts of any length, and talks.

Results go to standard output and nothing else does; messages and progress go to standard error.
The first command that needs a model starts a daemon that keeps it in memory for the next ones.
"""

FILES = {
    "~/Library/Application Support/lfm2audio-mlx": "models, conversations, configuration and the "
    "daemon's socket, on a Mac",
    "~/Library/Logs/lfm2audio-mlx": "the daemon's log, on a Mac",
    "~/.local/share/lfm2audio-mlx": "models and conversations, on Linux",
    "~/.config/lfm2audio-mlx": "the configuration, on Linux",
    "~/.local/state/lfm2audio-mlx/log": "the daemon's log, on Linux",
}

EXAMPLES = {
    "Get the usual model, once": "lfm pull",
    "Write down what a recording says, with times": "lfm transcribe talk.m4a -f srt",
    "Speak a text": 'lfm say "lights off"',
    "Talk, typed or by voice": "lfm chat",
    "See what is wrong": "lfm doctor",
}

SHARED = frozenset({"quiet", "verbose", "debug", "help"})
"""Options that every command has; they are told of once."""


def escaped(text: str) -> str:
    """Text that stands for itself in roff: no escapes, no requests, dashes as they are typed."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga")
    text = text.replace("'", r"\(aq").replace("^", r"\(ha").replace("~", r"\(ti")
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)


def paragraph(text: str) -> Iterator[str]:
    """A text as filled paragraphs, parted where an empty line parts them."""
    for number, part in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        yield escaped(textwrap.fill(part, 72, break_on_hyphens=False))


def entry(term: str, told: str) -> list[str]:
    """A term in bold and what it means, indented below."""
    return [".TP", rf"\fB{escaped(term)}\fR", *(paragraph(told) if told else [r"\&"])]


def options(command: Any, context: Any, besides: frozenset[str]) -> Iterator[str]:
    """A command's arguments and options as its help has them, without those named `besides`."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name not in besides:
            yield from entry(*record)


def opened(command: Any, path: str, parent: Any = None) -> Any:
    """The context in which a command tells of itself."""
    context = command.make_context(path, [], parent=parent, resilient_parsing=True)
    context.info_name = path.split()[-1]
    return context


def pages(command: Any, path: str, parent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """Each command below one, with its full name and its context's parent."""
    context = opened(command, path, parent)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        child = command.get_command(context, name)
        yield f"{path} {name}", child, context
        yield from pages(child, f"{path} {name}", context)


def section(path: str, command: Any, parent: Any) -> Iterator[str]:
    """A command: how it is called, what it does, its options."""
    context = opened(command, path, parent)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f'.SS "{escaped(path.removeprefix("lfm "))}"'
    yield rf"\fB{escaped(path)}\fR {escaped(pieces)}"
    yield ".PP"
    text, _, example = (command.help or "").partition("Example:")
    yield from paragraph(text)
    if example.strip():
        yield ".PP"
        yield f"Example: {escaped(example.strip())}"
    yield from options(command, context, SHARED)


def rows(document: str, heading: str) -> list[tuple[str, str]]:
    """The two columns of the first table after a heading (or any text) of a document."""
    table = document[document.index(heading) :]
    block = re.search(r"(?:^\|.*\n)+", table, re.MULTILINE)
    assert block is not None, heading
    cells = [line.strip("|").split("|", 1) for line in block[0].splitlines()[2:]]
    return [(term.strip().strip("`"), told.strip().replace("`", "")) for term, told in cells]


def document() -> str:
    """The page as roff."""
    command = typer.main.get_command(app)
    configuration = (DOCS / "configuration.md").read_text("utf-8")
    lines = [
        r".\" Made by scripts/manual.py (`make manual`).",
        f'.TH LFM 1 "" "lfm {__version__}" "User Commands"',
        ".SH NAME",
        r"lfm \- hear, think and speak with LFM2\-Audio, offline",
        ".SH SYNOPSIS",
        r"\fBlfm\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]",
        ".SH DESCRIPTION",
        *paragraph(DESCRIPTION),
        ".SH OPTIONS",
        r"\fB\-\-quiet\fR, \fB\-\-verbose\fR and \fB\-\-debug\fR may stand after a command too.",
        *options(command, opened(command, "lfm"), frozenset()),
        ".SH COMMANDS",
    ]
    groups = {name: title for title, group in COMMANDS.items() for name in group}
    title = None
    for path, each, parent in pages(command, "lfm"):
        if groups[path.split()[1]] != title:
            title = groups[path.split()[1]]
            lines += [*([".PP"] if lines[-1] != ".SH COMMANDS" else []), rf"\fI{escaped(title)}\fR"]
        lines += section(path, each, parent)
    lines += [".SH EXIT STATUS"]
    for code, told in rows(TABLES, "## Exit codes"):
        lines += entry(code, told)
    lines += [".SH ENVIRONMENT"]
    for name, told in rows(configuration, "| variable |"):
        lines += entry(name, told)
    lines += [".SH FILES"]
    for place, told in FILES.items():
        lines += entry(place, told)
    lines += [".SH EXAMPLES"]
    for told, line in EXAMPLES.items():
        lines += [".TP", escaped(told), rf"\fB{escaped(line)}\fR"]
    lines += [".SH SEE ALSO", r"\fBsay\fR(1), \fBafconvert\fR(1), \fBlaunchctl\fR(1)"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
