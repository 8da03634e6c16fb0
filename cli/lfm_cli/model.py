"""Which model a command works with: the option that all have, and what stands behind a name."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lfm2audio_mlx.errors import CheckpointError, ConfigError, DownloadError, ModelError
from lfm2audio_mlx.installed import DEFAULT, EMBEDDED, find_model, preferred
from lfm_cli.terminal import confirm, progress_bar

__all__ = [
    "ModelOption",
    "choose_model",
    "usable",
]

log = logging.getLogger(__name__)

NOTE = (
    "nano is a toy that ships with lfm: it knows home and car commands and numbers, nothing else; "
    "`lfm pull` gets the real model"
)

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A name that `lfm list` shows, a folder that `lfm convert` made, or nano, the tiny "
        "checkpoint in the package.",
        envvar="LFM_MODEL",
    ),
]


def choose_model(model: str | None) -> Path:
    """The folder of the model to use; without a wish, of an installed one. Where none is and
    somebody is there to answer, offers to get one.

    Raises:
        ModelError: there is no such model, or none at all.
    """
    if model is None:
        return _installed()
    folder = find_model(model)
    if folder == EMBEDDED:
        log.info(NOTE)
    return folder


@contextmanager
def usable() -> Generator[None]:
    """A model that is at fault is one that is missing, to scripts.

    Raises:
        ModelError: in place of a ConfigError or CheckpointError.
    """
    try:
        yield
    except (ConfigError, CheckpointError) as error:
        raise ModelError(str(error)) from error


def _installed() -> Path:
    if folder := preferred():
        return folder
    if confirm(f"No model is installed yet. Download {DEFAULT} now (some 3 GB, 1 GB to keep)?"):
        from lfm_convert.pull import pull

        try:
            return pull(DEFAULT, recipe="4bit", tell=log.info, progress=progress_bar)
        except DownloadError as error:
            raise ModelError(str(error)) from error
    raise ModelError(
        "no model is installed: `lfm pull` gets one, `--model nano` uses the tiny one in the "
        "package"
    )
