"""`lfm classify`: which of some labels fits a recording, and how surely."""

from pathlib import Path
from typing import Annotated

import typer

from lfm_cli.backend import open_backend
from lfm_cli.model import ModelOption
from lfm_cli.options import DaemonOption
from lfm_cli.terminal import JsonOption, columns, emit

__all__ = ["classify"]


def classify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sound file.")],
    labels: Annotated[
        str, typer.Option("--labels", "-l", metavar="A,B,...", help="Two labels or more.")
    ],
    question: Annotated[
        str | None,
        typer.Option("--question", help="What is asked, in place of which label fits."),
    ] = None,
    as_json: JsonOption = False,
    model: ModelOption = None,
    daemon: DaemonOption = True,
) -> None:
    """Tell which label fits a recording: the model's own likelihood of answering with each.

    Example: lfm classify call.wav --labels angry,calm,happy
    """
    from lfm2audio_mlx.audio.probe import probe

    names = [label.strip() for label in labels.split(",")]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise typer.BadParameter("--labels takes two labels or more, all different")
    probe(file)
    backend = open_backend(model, daemon)
    shares = backend.classify(file, names, question=question)
    best = sorted(shares.items(), key=lambda item: -item[1])
    if as_json:
        emit(
            "classification",
            file=str(file),
            model=backend.name,
            labels=[{"label": name, "probability": round(share, 6)} for name, share in best],
        )
    else:
        columns([(name, f"{share:.1%}") for name, share in best], right=(1,))
