"""The option that every command with a model has, and the engine behind it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lfm2audio_mlx.engine import Engine

__all__ = ["ModelOption", "open_engine"]

ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        metavar="DIR",
        help="A folder made by `lfm convert`; without it, the tiny embedded checkpoint.",
        envvar="LFM_MODEL",
    ),
]


def open_engine(model: Path | None) -> "Engine":
    """Load the model in this process.

    Raises:
        ConfigError: the folder's configuration is at fault.
        CheckpointError: a weight file is.
    """
    from lfm2audio_mlx.engine import Engine
    from lfm2audio_mlx.weights import EMBEDDED

    return Engine.load(model or EMBEDDED)
