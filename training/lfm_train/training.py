"""A training run: AdamW on a schedule, losses in a CSV, and checkpoints that it goes on from.

A run's folder holds `losses.csv` and `state-N.safetensors`, weights and optimiser after N steps.
Batches are functions of a step's number, and so is chance: a run that was interrupted, and is
started again, ends where it would have without, if its batches are the same to the bit.
"""

import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten, tree_map, tree_unflatten
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lfm2audio_mlx.kernels.metal import without_kernels
from lfm2audio_mlx.weights import open_tensors

__all__ = ["Batches", "Loss", "Plan", "resume", "streams", "train"]

Batches = Callable[[int], Sequence[Sequence[Any]]]
"""From a step's number, the batches of `Plan.group` steps, each in one or more pieces."""
Loss = Callable[[Any, Any], tuple[mx.array, dict[str, mx.array]]]
"""What is minimised over a piece, and figures to be written down."""


@dataclass(frozen=True)
class Plan:
    """`least`: the share of the learning rate that is left at the end of the cosine; `group`: steps
    whose batches are made together; `clip`: the largest norm of a step's gradient."""

    steps: int
    learning_rate: float
    warmup: int = 100
    least: float = 0.02
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    group: int = 1
    save_every: int = 200
    name: str = "training"

    def rate(self, step: int) -> float:
        """The learning rate: a linear rise, then a cosine."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (
            self.least + (1 - self.least) * (1 + math.cos(math.pi * done)) / 2
        )


def train(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    plan: Plan,
    folder: Path,
) -> None:
    """Train a model's trainable parameters in place, from the folder's last checkpoint on."""
    folder.mkdir(parents=True, exist_ok=True)
    optimiser = optim.AdamW(
        plan.learning_rate, betas=list(plan.betas), weight_decay=plan.weight_decay
    )
    optimiser.init(model.trainable_parameters())
    step = resume(model, folder, optimiser)
    gradient = _in_pieces(nn.value_and_grad(model, loss))
    model.train()
    with without_kernels(), _progress() as progress, (folder / "losses.csv").open("a") as file:
        rows, bar = csv.writer(file), progress.add_task(plan.name, total=plan.steps, completed=step)
        for batch in _ahead(batches, step, plan):
            start = time.perf_counter()
            mx.random.seed(step)  # chance, too, is to be what it would have been
            figures, gradients = gradient(model, batch)
            gradients, norm = optim.clip_grad_norm(gradients, plan.clip)
            optimiser.learning_rate = mx.array(plan.rate(step))
            optimiser.update(model, gradients)
            mx.eval(model.parameters(), optimiser.state, figures, norm)
            step += 1
            seen = {name: round(value.item(), 4) for name, value in figures.items()}
            took = round(time.perf_counter() - start, 3)
            rows.writerow([step, *(f"{n}={v}" for n, v in seen.items()), norm.item(), took])
            said = " ".join(f"{name} {value:.3f}" for name, value in seen.items())
            progress.update(bar, completed=step, description=f"{plan.name} {said}")
            if step % plan.save_every == 0 or step == plan.steps:
                file.flush()
                _save(model, optimiser, folder, step)
    model.eval()


def streams() -> list[mx.Stream]:
    """Where pieces are computed in turn: on a CPU, where MLX has most operations on one core, there
    are two, so that two are under way at once."""
    device = mx.default_device()
    found = [mx.default_stream(device)]
    if device == mx.Device(mx.cpu):
        found.append(mx.new_stream(device))
    return found


def _in_pieces(gradient: Callable[[nn.Module, Any], Any]) -> Callable[[nn.Module, Any], Any]:
    """The mean of the pieces' gradients, and their figures; of one name the last piece's."""
    places = streams()

    def mean(model: nn.Module, pieces: Sequence[Any]) -> tuple[dict[str, mx.array], Any]:
        figures: dict[str, mx.array] = {}
        found: list[Any] = []
        for piece, stream in zip(pieces, cycle(places), strict=False):
            with mx.stream(stream):
                (_, more), gradients = gradient(model, piece)
                figures |= more
                found.append(gradients)
        share = 1 / len(found)
        return figures, tree_map(lambda *parts: share * sum(parts), *found)

    return mean


def _ahead(batches: Batches, step: int, plan: Plan) -> Iterator[Any]:
    """The batches of all steps from `step` on; the next are made meanwhile."""
    if step >= plan.steps:
        return
    start = step - step % plan.group
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(batches, start)
        while start < plan.steps:
            group = coming.result()
            start += plan.group
            if start < plan.steps:
                coming = pool.submit(batches, start)
            for batch in group[max(0, step - (start - plan.group)) :][: plan.steps - step]:
                step += 1
                yield batch


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )


def _states(folder: Path) -> list[Path]:
    """Checkpoints, oldest first."""
    return sorted(folder.glob("state-*.safetensors"), key=lambda path: int(path.stem[6:]))


def resume(model: nn.Module, folder: Path, optimiser: optim.Optimizer | None = None) -> int:
    """Take up the last checkpoint; the number of its step."""
    if not (states := _states(folder)):
        return 0
    arrays = open_tensors(states[-1])
    weights = [(k[6:], v) for k, v in arrays.items() if k.startswith("model.")]
    model.update(tree_unflatten(weights))
    if optimiser is not None:
        moments = [(k[10:], v) for k, v in arrays.items() if k.startswith("optimiser.")]
        optimiser.state = tree_unflatten(moments)
    return int(states[-1].stem[6:])


def _save(model: nn.Module, optimiser: optim.Optimizer, folder: Path, step: int) -> None:
    """Write a checkpoint in one move; the one before the last goes."""
    arrays: dict[str, Any] = {f"model.{k}": v for k, v in tree_flatten(model.parameters())}
    arrays |= {f"optimiser.{k}": v for k, v in tree_flatten(optimiser.state)}
    unfinished = folder / "unfinished.safetensors"
    mx.save_safetensors(str(unfinished), arrays)
    unfinished.rename(folder / f"state-{step}.safetensors")
    for old in _states(folder)[:-2]:
        old.unlink()
