"""Options and checks that several commands share."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DaemonOption", "KeepAliveOption", "OutputOption", "SeedOption", "one_of"]

OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Keep the sound in a file (wav, flac, mp3, m4a...)."
    ),
]

DaemonOption = Annotated[
    bool,
    typer.Option(
        "--daemon/--no-daemon",
        envvar="LFM_DAEMON",
        help="Have the resident service do it, or load the model for this once.",
    ),
]

KeepAliveOption = Annotated[
    str | None,
    typer.Option(
        "--keep-alive",
        metavar="TIME",
        help="How long a model stays in memory without use: 5m unless told otherwise; 0, or -1 "
        "for ever.",
    ),
]

SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="The same seed gives the same sound.")
]


def one_of(names: Collection[str]) -> Callable[[str | None], str | None]:
    """A check that an option's value is one of some names."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in names:
            raise typer.BadParameter(f"'{value}' is none of {', '.join(names)}")
        return value

    return check
