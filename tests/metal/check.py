"""Proof of the Metal kernels without Metal, each run thread for thread (`make metal-check`).

Exits with 1 on any fault, any result out of its tolerance, and any step that launches more than it
should. A depth frame and a backbone step run at the very shapes of LFM2-Audio-1.5B.
"""

import sys
import time
from itertools import groupby
from pathlib import Path

import mlx.core as mx
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "scripts")]

from cases import CASES, Case, Maker  # noqa: E402
from harness import Machine, compare, expected, on_machine, tolerance  # noqa: E402
from lfm2audio_mlx.config import ModelConfig  # noqa: E402
from lfm2audio_mlx.engine import Engine  # noqa: E402
from lfm2audio_mlx.generation.cursor import Cursor  # noqa: E402
from lfm2audio_mlx.generation.prompt import TextIds  # noqa: E402
from lfm2audio_mlx.generation.steps import Steps  # noqa: E402
from lfm2audio_mlx.kernels.metal import FLOATS, launching  # noqa: E402
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio  # noqa: E402
from lfm2audio_mlx.sampling import Sampling  # noqa: E402
from lfm2audio_mlx.tokens import Modality  # noqa: E402
from lfm2audio_mlx.weights import Checkpoint  # noqa: E402
from lfm_cli.costs import costs  # noqa: E402
from lfm_cli.launches import launches  # noqa: E402
from machine import KernelFault  # noqa: E402
from small import deep_config, packed_model, published_config  # noqa: E402

SEEDS = range(3)
NOT_COMPILED = {"rel_pos_attention", "short_conv", "glu_conv"}
"""Kernels of hearing and of prompts, whose lengths differ."""
MOST_LAUNCHES = {"backbone step": 110, "depth frame": 300}
LEAST_SAVED = {"encode 4 s": 170}
STEP_TOLERANCE = 2e-5
"""Relative, in float32, through all layers of a step."""

console = Console(width=100)


def main() -> int:
    config = Engine.load().config
    faults = kernels()
    faults += steps(config)
    faults += counts(config)
    for fault in faults:
        console.print(f"[red]FAILED[/] {fault}", highlight=False)
    return int(bool(faults))


def kernels() -> list[str]:
    """A line for each kernel: all of its shapes, in all types, in several orders."""
    table = Table("kernel", "shapes", "seeds", *[_name(t) for t in FLOATS], "launches saved")
    faults: list[str] = []
    for kernel, cases in groupby(CASES, lambda case: case.kernel):
        group = list(cases)
        worst = dict.fromkeys(FLOATS, 0.0)
        for case in group:
            for dtype in FLOATS:
                for seed in SEEDS:
                    error, fault = _try(case, dtype, seed)
                    worst[dtype] = max(worst[dtype], error)
                    faults += [f"{kernel}, {case.shape}, {_name(dtype)}: {fault}"] if fault else []
        saved = [_saved(case) for case in group if case.published]
        shown = f"{min(saved)}" if min(saved) == max(saved) else f"{min(saved)} to {max(saved)}"
        errors = (f"{error:.1e}" for error in worst.values())
        table.add_row(kernel, str(len(group)), str(len(SEEDS)), *errors, shown)
    console.print(table)
    return faults


def _try(case: Case, dtype: mx.Dtype, seed: int) -> tuple[float, str]:
    """The error, and what is wrong if anything is."""
    try:
        results, launched = on_machine(case, dtype, seed)
    except KernelFault as fault:
        return float("inf"), str(fault)
    error, most = compare(results, expected(case, dtype, seed)), tolerance(case, dtype)
    if error > most:
        return error, f"error {error:.1e}, at most {most:.1e}"
    if launched.copies:
        return error, "MLX would copy an input"
    return error, ""


def _saved(case: Case) -> int:
    """Launches that one of the kernel saves: in a step that is compiled as a whole, or in hearing
    and taking in a prompt, which are not."""
    make = Maker(mx.bfloat16, 0)
    mx.eval(case.call(make))

    def call(*given: mx.array) -> list[mx.array]:
        return list(case.call(make.of(given)))

    def count(own: bool) -> int:
        run = call if case.kernel in NOT_COMPILED else mx.compile(call)
        return launches(lambda: run(*make.arrays), own).total()

    return (count(own=False) - count(own=True)) // case.launches


def steps(config: ModelConfig) -> list[str]:
    """A depth frame and a backbone step with every kernel forced, beside the same without."""
    model = packed_model(published_config(config), mx.float32)
    faults: list[str] = []
    table = Table("one step, published shapes, float32", "kernels run", "result", "seconds")
    for title, step, judge in (
        ("depth frame", _depth_frame, _codes_equal),
        ("backbone step", _backbone_step, _close),
    ):
        start, machine = time.perf_counter(), Machine(0)
        try:
            with launching(machine):
                ours = step(model)
                mx.eval(ours)
            said, right = judge(ours, step(model))
        except KernelFault as fault:
            said, right = str(fault), False
        faults += [] if right else [f"{title}: {said}"]
        seconds = f"{time.perf_counter() - start:.0f}"
        table.add_row(title, str(len(machine.launches)), said, seconds)
    console.print(table)
    return faults


def _depth_frame(model: Lfm2Audio) -> mx.array:
    hidden = mx.random.normal((1, model.lfm.embedding_norm.weight.size), key=mx.random.key(1))
    return Steps(model).frame(hidden, Sampling(1.0, 4), mx.random.key(5))


def _backbone_step(model: Lfm2Audio) -> mx.array:
    cursor = Cursor(1000, pending=[TextIds((1,))])
    cursor.advance(model)
    return cursor.step_ahead(Steps(model), Modality.TEXT, mx.array([7]))


def _codes_equal(ours: mx.array, wanted: mx.array) -> tuple[str, bool]:
    right = np.array_equal(ours, wanted)
    return f"{'all codes equal' if right else 'codes differ'}: {np.array(ours)[0].tolist()}", right


def _close(ours: mx.array, wanted: mx.array) -> tuple[str, bool]:
    error = compare([ours], [wanted])
    return f"error {error:.1e}, at most {STEP_TOLERANCE:.0e}", error <= STEP_TOLERANCE


def counts(config: ModelConfig) -> list[str]:
    """Launches of each step, for a model with all layers of LFM2-Audio-1.5B."""
    nano = Engine.load()
    model = packed_model(deep_config(config), mx.bfloat16)
    engine = Engine(Checkpoint(deep_config(config), model, nano.codec), nano.tokenizer)
    table = Table("launches", "with our kernels", "without", "wanted")
    faults: list[str] = []
    for cost in costs(engine)[:-1]:  # the codec has no kernels of ours
        wanted, right = "", True
        if most := MOST_LAUNCHES.get(cost.name):
            wanted, right = f"at most {most}", cost.launches <= most
        if least := LEAST_SAVED.get(cost.name):
            wanted, right = f"{least} fewer", cost.launches_without - cost.launches >= least
        table.add_row(cost.name, str(cost.launches), str(cost.launches_without), wanted)
        faults += [] if right else [f"{cost.name}: {cost.launches} launches, wanted {wanted}"]
    console.print(table)
    return faults


def _name(dtype: mx.Dtype) -> str:
    return str(dtype).rpartition(".")[2]


if __name__ == "__main__":
    sys.exit(main())
