"""The option that every command with a model has, and the engine behind it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import lfm2audio_mlx
from lfm2audio_mlx.errors import RequestError
from lfm_convert import store

if TYPE_CHECKING:
    from lfm2audio_mlx.engine import Engine

__all__ = ["EMBEDDED", "ModelOption", "find_model", "open_engine"]

EMBEDDED = Path(lfm2audio_mlx.__file__).parent / store.EMBEDDED
"""`lfm2audio_mlx.weights.EMBEDDED`, without loading MLX."""

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A name that `lfm list` shows, or a folder that `lfm convert` made; without it, the "
        "tiny embedded checkpoint.",
        envvar="LFM_MODEL",
    ),
]


def find_model(model: str | None) -> Path:
    """The folder that a user means: one that exists, or else a model by its name.

    Raises:
        RequestError: it is neither.
    """
    if model is None:
        return EMBEDDED
    folder = store.expanded(model)
    if model and folder.is_dir():
        return folder
    if model == store.EMBEDDED:
        return EMBEDDED
    try:
        return store.find(model)
    except RequestError as error:
        raise RequestError(
            f"'{model}' is neither a folder nor an installed model: `lfm list` shows what is "
            "there, `lfm pull` gets more"
        ) from error


def open_engine(model: str | None) -> "Engine":
    """Load the model in this process.

    Raises:
        RequestError: there is no such model.
        ConfigError: the folder's configuration is at fault.
        CheckpointError: a weight file is.
    """
    from lfm2audio_mlx.engine import Engine

    return Engine.load(find_model(model))
