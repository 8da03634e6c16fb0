"""Which model a command works with: the option that all have, and what stands behind a name."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import lfm2audio_mlx
from lfm2audio_mlx.errors import (
    CheckpointError,
    ConfigError,
    DownloadError,
    ModelError,
    RequestError,
)
from lfm2audio_mlx.home import expanded
from lfm_cli.terminal import confirm, progress_bar
from lfm_convert import store
from lfm_convert.catalogue import DEFAULT

__all__ = [
    "EMBEDDED",
    "ModelOption",
    "choose_model",
    "find_model",
    "model_name",
    "preferred",
    "usable",
]

log = logging.getLogger(__name__)

EMBEDDED = Path(lfm2audio_mlx.__file__).parent / store.EMBEDDED
"""`lfm2audio_mlx.weights.EMBEDDED`, without loading MLX."""

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


def find_model(model: str) -> Path:
    """The folder that a user means: one that exists, or else a model by its name.

    Raises:
        ModelError: it is neither.
    """
    folder = expanded(model)
    if model and folder.is_dir():
        return folder
    if model == store.EMBEDDED:
        return EMBEDDED
    try:
        return store.find(model)
    except RequestError as error:
        raise ModelError(
            f"'{model}' is neither a folder nor an installed model: `lfm list` shows what is "
            "there, `lfm pull` gets more"
        ) from error


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


def model_name(folder: Path) -> str:
    """What finds this model again: its name if it has one, else its folder."""
    if folder == EMBEDDED:
        return store.EMBEDDED
    folder = folder.resolve()
    return folder.name if folder.parent == store.models_folder().resolve() else str(folder)


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


def preferred() -> Path | None:
    """Of the installed models the one that `lfm pull` gets by itself, or else the first."""
    models = {entry.name: entry.folder for entry in store.installed()}
    return models.get(DEFAULT, next(iter(models.values()), None))


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
