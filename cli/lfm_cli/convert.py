"""`lfm convert`: an original checkpoint in, a folder for the engine out."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["convert"]


class Bits(StrEnum):
    """Names of `lfm_convert.recipes.RECIPES`."""

    FOUR = "4"
    EIGHT = "8"
    SIXTEEN = "16"
    THIRTY_TWO = "32"


class Prompts(StrEnum):
    """Names of `lfm_convert.prompts.PROMPTS`."""

    V1 = "v1"
    V25 = "v2.5"
    V25_JP = "v2.5-jp"


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="An original LFM2-Audio or LFM2.5-Audio folder, or one from `--bits 16`.",
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.")],
    bits: Annotated[
        Bits, typer.Option("--bits", help="4, 8, 16 (bfloat16) or 32 (float32) bits a weight.")
    ] = Bits.FOUR,
    prompts: Annotated[
        Prompts | None,
        typer.Option("--prompts", help="The prompts it was trained with, if not as usual."),
    ] = None,
) -> None:
    """Convert a checkpoint so that `--model` can load it.

    Example: lfm convert LFM2-Audio-1.5B lfm2-audio-4bit --bits 4
    """
    from lfm_convert.convert import convert as run

    folder = run(source, target, bits.value, prompts.value if prompts else None)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:,.1f} MB")
