"""`lfm transcribe`: recordings in, text out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lfm2audio_mlx.errors import LfmError
from lfm_cli.model import ModelOption, open_engine

__all__ = ["transcribe"]


def transcribe(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", readable=False, help="Sound files: wav, flac, mp3, ogg, ..."
        ),
    ],
    model: ModelOption = None,
) -> None:
    """Write down what recordings say, one line each.

    Example: lfm transcribe talk.flac memo.wav
    """
    from lfm2audio_mlx.audio.files import probe

    failed: list[LfmError] = []
    good: list[Path] = []
    for file in files:
        try:
            probe(file)
            good.append(file)
        except LfmError as error:
            failed.append(error)
    engine = open_engine(model) if good else None
    for file in good:
        assert engine is not None
        try:
            transcript = engine.transcribe(file)
        except LfmError as error:
            failed.append(error)
            continue
        print(f"{file}: {transcript.text}" if len(files) > 1 else transcript.text, flush=True)
        if not transcript.complete:
            print(f"lfm: {file}: the text was cut off at its limit", file=sys.stderr)
    for error in failed:
        print(f"lfm: {error}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)
