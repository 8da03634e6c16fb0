"""What the command shows: results on stdout, messages and progress on stderr, JSON on request.

Messages go through `logging`, so `--quiet` and `--verbose` are its levels. The schema of the JSON
documents is docs/schema.json.
"""

import json
import logging
import sys
import unicodedata
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import SCHEMA

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = [
    "JsonOption",
    "columns",
    "confirm",
    "emit",
    "insist",
    "megabytes",
    "printable",
    "progress_bar",
    "read_line",
    "waiting",
]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON (docs/json.md has the schema).")
]

log = logging.getLogger(__name__)


def emit(kind: str, schema: str = SCHEMA, **fields: Any) -> None:
    """Print one result as a JSON document in one line."""
    document = {"schema": schema, "kind": kind, **fields}
    # ASCII only: no terminal is steered by it, and no locale changes it.
    print(json.dumps(document, allow_nan=False), flush=True)


def printable(text: str) -> str:
    """Text of a model as a terminal may have it: no control characters but line ends and tabs."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char)[0] != "C")


def megabytes(size: int) -> str:
    """A size in bytes for people."""
    return f"{size / 1e6:,.1f} MB"


def columns(rows: Sequence[Sequence[str]], right: tuple[int, ...] = ()) -> None:
    """Print columns for people, by Rich where there is a terminal; `right`: those aligned so."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for column in range(len(rows[0])):
            table.add_column(justify="right" if column in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        Console(markup=False, highlight=False).print(table)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def insist(question: str, command: str) -> None:
    """Ask before something is deleted; "no" ends the command.

    Raises:
        RequestError: nobody is there to answer.
    """
    if not sys.stdin.isatty():
        raise RequestError(f"`{command}` asks first, and nobody is there to answer; --yes does not")
    if not _answered(question):
        raise typer.Exit(1)


def read_line(prompt: bool) -> str:
    """A line of stdin, with a prompt if somebody sees it.

    Raises:
        EOFError: there is none.
        RequestError: it is no text.
    """
    try:
        return input("> " if prompt else "")
    except ValueError as error:
        raise RequestError("stdin: is no text in UTF-8") from error


def confirm(question: str) -> bool:
    """Ask on the terminal; no, if nobody is there to answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return _answered(question)


def _answered(question: str) -> bool:
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:  # ctrl-C, or ctrl-D
        raise KeyboardInterrupt from None


def shows_progress() -> bool:
    """Is somebody watching who wants to see it?"""
    return sys.stderr.isatty() and log.isEnabledFor(logging.INFO)


@contextmanager
def waiting(what: str) -> Generator[None]:
    """Says on stderr what is waited for, if that takes its time and somebody watches."""
    if not shows_progress():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield


class Bar:
    """How much of all is done, if somebody watches; and a way to print meanwhile."""

    def __init__(self, progress: "Progress | None" = None, task: "TaskID | None" = None):
        self._progress, self._task = progress, task

    def __call__(self, done: float, total: float) -> None:
        if self._progress is None or self._task is None:
            return
        elapsed = self._progress.tasks[0].elapsed or 0.0
        speed = f"{done / elapsed:.1f}x" if elapsed > 0.5 else ""
        self._progress.update(self._task, completed=done, total=total, speed=speed)

    @contextmanager
    def aside(self) -> Generator[None]:
        """Makes way for lines that are printed."""
        if self._progress:
            self._progress.stop()
        try:
            yield
        finally:
            if self._progress:
                self._progress.start()


@contextmanager
def progress_bar(task: str, unit: str = "bytes") -> Generator["Bar"]:
    """Shows how much of all is done on stderr, if that is a terminal and has a cursor. For
    "seconds" of sound also the time that has passed and is left, and the speed (x real time)."""
    if not shows_progress():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    parts = [TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()]
    if unit == "seconds":
        parts += [TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
        parts += [TextColumn("{task.fields[speed]}")]
    else:
        parts += [TimeRemainingColumn()]
    with Progress(
        *parts,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # see `Bar.aside`: Rich would break long lines
    ) as progress:
        yield Bar(progress, progress.add_task(task, total=None, speed=""))
