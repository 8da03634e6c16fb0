"""Two workers measured in turn, so that what else the machine does meets both."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.compare.talk import Failed, Lacks, Worker

__all__ = ["Samples", "alternate", "take_turns"]

FEWEST = 3


@dataclass
class Samples:
    """What a worker's runs took, in ms; or why there are none."""

    runs: list[float] = field(default_factory=list[float])
    missing: str = ""
    failed: bool = False


def alternate(
    runs: Sequence[Callable[[], float]], rounds: int, seconds: float
) -> list[list[float]]:
    """Each of `runs` in turn, `rounds` times over; from the third on, while `seconds` last."""
    taken: list[list[float]] = [[] for _ in runs]
    start = time.monotonic()
    for done in range(rounds):
        each = (time.monotonic() - start) / done if done else 0.0
        if done >= FEWEST and time.monotonic() - start + each > seconds:
            break
        for run, figures in zip(runs, taken, strict=True):
            figures.append(run())
    return taken


def take_turns(
    workers: Sequence[Worker], stage: str, rounds: int, seconds: float
) -> dict[str, Samples]:
    """A stage on those workers that can do it; a failure of one leaves the others' runs."""
    samples = {worker.name: Samples() for worker in workers}
    standing = list(workers)

    def runner(worker: Worker) -> Callable[[], float]:
        def run() -> float:
            try:
                return worker.run(stage)
            except (Lacks, Failed) as error:
                standing.remove(worker)
                samples[worker.name].missing = str(error)
                samples[worker.name].failed = isinstance(error, Failed)
                raise

        return run

    while standing:
        try:
            taken = alternate([runner(worker) for worker in standing], rounds, seconds)
        except (Lacks, Failed):
            continue  # again, without the one that fell
        for worker, runs in zip(standing, taken, strict=True):
            samples[worker.name].runs = runs
        break
    return samples
