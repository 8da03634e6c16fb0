"""`lfm verify`: is a model on this disk what it was when it was made?"""

from pathlib import Path
from typing import Annotated

import typer

from lfm2audio_mlx.errors import CheckpointError
from lfm_cli.terminal import JsonOption, emit

__all__ = ["verify"]


def verify(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A folder made by `lfm convert`, or its name.")
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="GOLDEN",
            help="Compare each stage with what the reference made of the same weights.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every file of a model against its digest, then run it briefly.

    Example: lfm verify lfm2-audio-4bit
    """
    from lfm2audio_mlx.installed import find_model
    from lfm_convert.verify import is_full_precision
    from lfm_convert.verify import verify as run

    folder = find_model(model)
    faults = 0
    checks: list[dict[str, str]] = []

    def tell(name: str, result: str) -> None:
        checks.append({"name": name, "result": result})
        if not as_json:
            print(f"{name}: {result}", flush=True)

    for check in run(folder):
        tell(check.name, check.fault or "ok")
        faults += bool(check.fault)
    if against and not faults:
        from lfm_convert.golden import compare_with

        # Fewer bits must differ from the reference: there the figures are information.
        strict = is_full_precision(folder)
        for result in compare_with(folder, against):
            tell(str(result), "ok" if result.good else "differs")
            faults += strict and not result.good
    if as_json:
        emit("verification", folder=str(folder), checks=checks, healthy=not faults)
    if faults:
        raise CheckpointError(f"{folder}: {faults} of its checks failed")
