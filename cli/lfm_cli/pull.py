"""`lfm pull`: a model from the hub, or a folder, into the store."""

import logging
from typing import Annotated

import typer

from lfm2audio_mlx.installed import DEFAULT, folder_size
from lfm_cli.options import one_of
from lfm_cli.terminal import JsonOption, emit, megabytes, progress_bar
from lfm_convert.catalogue import CATALOGUE
from lfm_convert.recipes import RECIPES

__all__ = ["pull"]

log = logging.getLogger(__name__)


def pull(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            show_default=DEFAULT,
            help=f"{', '.join(CATALOGUE)}, any OWNER/NAME or OWNER/NAME@REVISION "
            "on the hub, or a folder.",
        ),
    ] = DEFAULT,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="|".join(RECIPES),
            callback=one_of(RECIPES),
            help="How many bits each part gets.",
        ),
    ] = "4bit",
    keep_original: Annotated[
        bool, typer.Option("--keep-original", help="Keep what was downloaded, once converted.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What to call it here, if not its own name."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a model, convert it, and have it ready by its name.

    A cut download goes on where it ended. After this nothing touches the network.

    Example: lfm pull lfm2.5-audio-1.5b
    """
    from lfm_convert.pull import pull as run

    folder = run(
        model,
        recipe=recipe,
        keep_original=keep_original,
        name=name,
        tell=log.info,
        progress=progress_bar,
    )
    size = folder_size(folder)
    if as_json:
        emit("converted", folder=str(folder), bytes=size, recipe=recipe)
    else:
        print(f"{folder.name}: {megabytes(size)} in {folder}")
