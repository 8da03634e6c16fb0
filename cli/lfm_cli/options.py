"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["OutputOption", "SeedOption"]

OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Keep the sound in a file (wav, flac, mp3, ...)."
    ),
]

SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="The same seed gives the same sound.")
]
