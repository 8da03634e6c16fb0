"""One comparison from beginning to end: ours, then each peer in turn with ours."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.compare.environments import Unavailable, environment
from benchmarks.compare.figures import Figures, Results
from benchmarks.compare.peers import OURS, Entry
from benchmarks.compare.rounds import take_turns
from benchmarks.compare.talk import Failed, Lacks, Worker

__all__ = ["Options", "compare"]

ROOT = Path(__file__).parents[2]
STAGES = (
    *("load", "log-mel of 4 s", "encode 4 s", "prefill 75 positions", "text token"),
    *("backbone step", "depth frame", "codec frame", "first audio"),
    "first audio, nothing prepared",
)
"""Those that are compared; the names are those of `lfm bench` and one more."""


@dataclass(frozen=True)
class Options:
    """What to measure: see `__main__`. `pythons` are environments that are there already."""

    original: Path
    converted: Path
    folder: Path
    peers: Sequence[Entry]
    stages: Sequence[str] | None = None
    rounds: int = 5
    seconds: float = 60.0
    pythons: dict[str, Path] = field(default_factory=dict[str, Path])
    counts: bool = True
    ours: Entry = OURS
    turns: Path = ROOT / "benchmarks" / "turns.py"

    @property
    def chosen(self) -> Sequence[str]:
        """Stages in the order in which an answer goes through them."""
        return STAGES if self.stages is None else self.stages


def compare(options: Options, keep: Callable[[Results], object] | None = None) -> Results:
    """Measure all; a peer that fails is told of in the results, and so is a figure of ours.

    `keep` is given what there is after each peer: a run takes long, and may be ended early.
    """
    results = Results(Figures("ours"))
    if not (options.folder / "heard.npz").exists():
        _say("writing what is heard")
        command = [options.original, options.converted, options.folder]
        module = [sys.executable, "-m", "benchmarks.compare.material"]
        subprocess.run([*module, *map(str, command)], check=True, cwd=Path.cwd())
    ours = start(options, options.ours, Path(sys.executable), "timed")
    results.ours.about = ours.about
    try:
        for entry in options.peers:
            figures = results.peers[entry.name] = Figures(entry.name)
            try:
                _beside(options, entry, ours, results)
            except (Unavailable, Failed) as error:
                figures.reason = str(error)
            if keep:
                keep(results)
        _alone(options, ours, results)
    finally:
        ours.close()
    if options.counts:
        _counted(options, options.ours, Path(sys.executable), results.ours)
        _memory(options, results.ours)
        _turns(options.turns, results.ours)
    return results


def start(options: Options, entry: Entry, python: Path, mode: str) -> Worker:
    """A worker of an engine in one of the modes of `serve.Place`."""
    cache = options.folder / "weights" / entry.name
    cache.mkdir(parents=True, exist_ok=True)
    paths = [options.original, options.converted, cache, options.folder, mode]
    command = [str(python), str(entry.script), *map(str, paths)]
    return Worker(entry.name, command, options.folder / f"{entry.name}-{mode}.log")


def _beside(options: Options, entry: Entry, ours: Worker, results: Results) -> None:
    """A peer's stages, each in turn with ours; then what is counted of it."""
    figures = results.peers[entry.name]
    _say(f"{entry.name}: its environment")
    python = options.pythons.get(entry.name)
    python = python or environment(entry, options.folder / "venvs" / entry.name)
    worker = start(options, entry, python, "timed")
    try:
        figures.about = worker.about
        for stage in options.chosen:
            if stage in worker.stages:
                _say(f"{entry.name}: {stage}")
                _measure(options, [ours, worker], stage, results)
        if figures.failed and not figures.values:
            raise Failed(next(iter(figures.missing.values())))
        if options.counts:
            wanted = [what for what in entry.counts if what in ("syncs", "cores")]
            _keep(worker, figures, [*wanted, "memory"])
    finally:
        worker.close()
    if options.counts:
        _counted(options, entry, python, figures)


def _measure(options: Options, workers: list[Worker], stage: str, results: Results) -> None:
    samples = take_turns(workers, stage, options.rounds, options.seconds)
    for worker in workers:
        figures = results.ours if worker.name == "ours" else results.peers[worker.name]
        found = samples[worker.name]
        figures.add(stage, found.runs)
        if found.missing:
            figures.missing[stage] = found.missing
            figures.failed |= found.failed
        elif worker.name != "ours" and samples["ours"].runs:
            pair = median(samples["ours"].runs), median(found.runs)
            results.pairs[worker.name, stage] = pair


def _alone(options: Options, ours: Worker, results: Results) -> None:
    """What no peer has, and what is counted in the same process as the times."""
    for stage in options.chosen:
        if stage not in results.ours.values and stage not in results.ours.missing:
            _say(f"ours: {stage}")
            _measure(options, [ours], stage, results)
    if options.counts:
        _keep(ours, results.ours, ["syncs", "memory", "batch"])


def _counted(options: Options, entry: Entry, python: Path, figures: Figures) -> None:
    """Launches and bytes, from graphs in bfloat16 in a process of their own."""
    wanted = [what for what in entry.counts if what in ("launches", "bytes")]
    if not wanted:
        return
    _say(f"{entry.name}: {' and '.join(wanted)}")
    try:
        worker = start(options, entry, python, "counted")
    except Failed as error:
        figures.missing[wanted[0]], figures.failed = str(error), True
        return
    try:
        _keep(worker, figures, wanted)
    finally:
        worker.close()


def _memory(options: Options, figures: Figures) -> None:
    """MLX's peak with weights in 4 bits, as a GPU has them, behind 2,000 positions."""
    name = "peak memory, quantised mode, GB"
    _say("ours: memory in quantised mode")
    try:
        worker = start(options, options.ours, Path(sys.executable), "counted")
        try:
            figures.values[name] = worker.count("resident") / 1e9
        finally:
            worker.close()
    except (Failed, Lacks) as error:
        figures.missing[name] = str(error)
        figures.failed |= isinstance(error, Failed)


def _turns(script: Path, figures: Figures) -> None:
    """`benchmarks/turns.py --json`, whose last line has the share "nothing_left"."""
    name = "turns with nothing left to compute"
    if not script.exists():
        figures.missing[name] = "it is not there yet"
        return
    _say("ours: turns")
    done = subprocess.run([sys.executable, script, "--json"], capture_output=True, text=True)
    try:
        figures.values[name] = json.loads(done.stdout.strip().splitlines()[-1])["nothing_left"]
    except (LookupError, ValueError):
        figures.missing[name] = (done.stderr.strip().splitlines() or ["it printed no figure"])[-1]


def _keep(worker: Worker, figures: Figures, wanted: Sequence[str]) -> None:
    """Put a worker's counts among its figures."""
    for what in wanted:
        _say(f"{worker.name}: {what}")
        try:
            found = worker.count(what)
        except (Lacks, Failed) as error:
            figures.missing[what] = str(error)
            figures.failed |= isinstance(error, Failed)
            continue
        figures.details[what] = found
        figures.values |= _named(what, found)


def _named(what: str, found: Any) -> dict[str, float]:
    if what == "launches":
        return {f"launches, {step}": count for step, count in found.items()}
    if what == "bytes":
        return {f"weights read, {step}, GB": size / 1e9 for step, size in found.items()}
    if what == "syncs":
        return {"host syncs per audio frame": found["per frame"]}
    if what == "memory":
        return {"peak memory, GB": found / 1e9}
    if what == "batch":
        return {"transcription, batch 8 over batch 1": found["times"]}
    return {"cores kept busy": found}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
