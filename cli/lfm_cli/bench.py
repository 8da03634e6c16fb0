"""`lfm bench`: how fast a model is on this machine, stage by stage."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfm2audio_mlx.installed import model_name
from lfm_cli.machine import chip_and_system
from lfm_cli.model import ModelOption, choose_model, usable
from lfm_cli.terminal import JsonOption, columns, emit, megabytes, progress_bar

if TYPE_CHECKING:
    from pathlib import Path

    from lfm_cli.costs import Cost
    from lfm_cli.stages import Figure

__all__ = ["bench"]

DIGITS = {"ms": "{:,.2f} ms", "x": "{:,.1f} x real time"}


def bench(
    model: ModelOption = None,
    repeat: Annotated[
        int, typer.Option("--repeat", metavar="N", min=1, help="How often each stage is measured.")
    ] = 5,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast a model hears, thinks and speaks on this machine.

    Everything else that runs meanwhile slows it down. No recording and no network is needed.

    Example: lfm bench --model nano --repeat 3
    """
    folder = choose_model(model)
    machine = _machine()
    with usable():
        told, figures, counted, peak = _measure(folder, repeat)
    if as_json:
        stages = [asdict(figure) for figure in figures]
        steps = [asdict(cost) for cost in counted]
        emit(
            "bench", machine=machine, model=told, stages=stages, steps=steps, peak_memory_bytes=peak
        )
        return
    header = {**machine, "model": told["name"], "dtype": told["dtype"], "weights": told["weights"]}
    columns([(name, str(value)) for name, value in header.items()])
    print()
    rows = [
        (figure.name, _show(figure.median, figure), _show(figure.best, figure))
        for figure in figures
    ]
    columns([("STAGE", "MEDIAN", "BEST"), *rows], right=(1, 2))
    print()
    steps = [
        (c.name, f"{c.launches:,}", f"{c.launches_without:,}", megabytes(c.weight_bytes))
        for c in counted
    ]
    columns([("STEP", "LAUNCHES", "WITHOUT OURS", "WEIGHTS READ"), *steps], right=(1, 2, 3))
    print(f"\neach run {repeat} times after one to warm up; at most {megabytes(peak)} of memory")


def _measure(folder: Path, repeat: int) -> tuple[dict[str, str], list[Figure], list[Cost], int]:
    """What the model is, the figure of each stage, the cost of each step, and the most memory in
    bytes."""
    import mlx.core as mx

    from lfm_cli.costs import costs
    from lfm_cli.stages import STAGES, load_stage, measure

    with progress_bar("measuring") as progress:
        progress(0, len(STAGES) + 1)
        loading, engine = load_stage(folder, repeat)
        figures = [loading]
        for stage in STAGES:
            progress(len(figures), len(STAGES) + 1)
            figures.append(measure(stage, engine, repeat))
    peak = mx.get_peak_memory()
    dtype = str(engine.dtype).rpartition(".")[2]
    weights = "unpacked" if engine.unpacked else "as stored"
    told = {"name": model_name(folder), "dtype": dtype, "weights": weights}
    return told, figures, costs(engine), peak


def _machine() -> dict[str, Any]:
    """What the figures are of."""
    import mlx.core as mx

    chip, system = chip_and_system()
    return {
        "chip": chip,
        "cores": os.cpu_count(),
        "system": system,
        "python": platform.python_version(),
        "mlx": metadata.version("mlx"),
        "device": str(mx.default_device().type).rpartition(".")[2],
    }


def _show(value: float | None, figure: Figure) -> str:
    return "-" if value is None else DIGITS[figure.unit].format(value)
