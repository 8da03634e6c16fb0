"""`lfm convert`: an original checkpoint in, a folder for the engine out."""

from pathlib import Path
from typing import Annotated

import typer

from lfm_cli.options import one_of
from lfm_cli.terminal import JsonOption, emit, megabytes, progress_bar
from lfm_convert.prompts import PROMPTS
from lfm_convert.recipes import RECIPES, SHORT_NAMES

__all__ = ["convert"]


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="An original LFM2-Audio or LFM2.5-Audio folder, or one that mlx-audio or this "
            "command converted; what was rounded there stays rounded.",
        ),
    ],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="|".join(RECIPES),
            callback=one_of(RECIPES),
            help="How many bits each part gets; 4bit unless told otherwise.",
        ),
    ] = None,
    bits: Annotated[
        str | None,
        typer.Option(
            "--bits",
            metavar="|".join(SHORT_NAMES),
            callback=one_of(SHORT_NAMES),
            help="The same by bits a weight; 16 is bfloat16, 32 float32.",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="DIR",
            help="Recordings to run through the model first: what they use most is kept best.",
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Print bits, bytes and errors of each part.")
    ] = False,
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            metavar="|".join(PROMPTS),
            callback=one_of(PROMPTS),
            help="The prompts it was trained with, if not those its decoder suggests.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert a checkpoint so that `--model` can load it.

    Example: lfm convert LFM2-Audio-1.5B lfm2-audio-4bit --recipe 4bit --report
    """
    from lfm_convert.calibrate import measure_importance, recordings_in
    from lfm_convert.convert import LayerReport, check_request
    from lfm_convert.convert import convert as run
    from lfm_convert.report import compare_models, print_models, print_parts

    if recipe and bits:
        raise typer.BadParameter("--recipe and --bits say the same; give one of them")
    if report and as_json:
        raise typer.BadParameter("--report is a table for people; --json has no place for it")
    recipe = SHORT_NAMES[bits] if bits else recipe or "4bit"
    check_request(target, recipe, prompts)
    recordings = recordings_in(calibrate) if calibrate else []
    importance = measure_importance(source, prompts, recordings) if recordings else None
    layers: list[LayerReport] = []
    with progress_bar("converting") as progress:
        folder = run(
            source,
            target,
            recipe,
            prompts,
            importance=importance,
            report=layers.append,
            progress=progress,
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    if as_json:
        emit("converted", folder=str(folder), bytes=size, recipe=recipe)
        return
    print(f"{folder}: {megabytes(size)}")
    if report:
        print_parts(layers, recipe, weighted=bool(recordings))
        if recordings:
            print_models(compare_models(source, folder, prompts, recordings))
