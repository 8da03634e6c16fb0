"""`lfm convert`: an original checkpoint in, a folder for the engine out."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated

import typer

from lfm_convert.prompts import PROMPTS
from lfm_convert.recipes import RECIPES

__all__ = ["convert"]


def _one_of(names: Collection[str]) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in names:
            raise typer.BadParameter(f"'{value}' is none of {', '.join(names)}")
        return value

    return check


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="An original LFM2-Audio or LFM2.5-Audio folder, or one from `--bits 16` or 32.",
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.")],
    bits: Annotated[
        str,
        typer.Option(
            "--bits",
            metavar="|".join(RECIPES),
            callback=_one_of(RECIPES),
            help="Bits a weight; 16 is bfloat16, 32 float32.",
        ),
    ] = "4",
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            metavar="|".join(PROMPTS),
            callback=_one_of(PROMPTS),
            help="The prompts it was trained with, if not those its decoder suggests.",
        ),
    ] = None,
) -> None:
    """Convert a checkpoint so that `--model` can load it.

    Example: lfm convert LFM2-Audio-1.5B lfm2-audio-4bit --bits 4
    """
    from lfm_convert.convert import convert as run

    folder = run(source, target, bits, prompts)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:,.1f} MB")
