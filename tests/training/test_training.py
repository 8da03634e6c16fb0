"""A run that is interrupted ends where it would have; nothing half-written is ever taken up."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_flatten

from lfm2audio_mlx.weights import open_tensors
from lfm_train.training import Plan, _in_pieces, train

IN, OUT = 5, 3
PLAN = Plan(steps=11, learning_rate=0.02, warmup=3, group=4, save_every=3)

Pieces = list[tuple[mx.array, mx.array]]


class Network(nn.Module):
    """With what real ones have: layers in a list, chance, and a part that gets no gradient."""

    def __init__(self):
        super().__init__()
        mx.random.seed(0)
        self.layers = [nn.Linear(IN, 8), nn.Dropout(0.3), nn.Linear(8, OUT)]
        self.seen = mx.zeros(())
        self.freeze(keys="seen", recurse=False)

    def __call__(self, x: mx.array) -> mx.array:
        self.seen = mx.stop_gradient(0.9 * self.seen + x.mean())
        for layer in self.layers:
            x = nn.relu(layer(x))
        return x


def loss(model: Network, piece: tuple[mx.array, mx.array]) -> tuple[mx.array, dict[str, mx.array]]:
    x, y = piece
    total = mx.square(model(x) - y).mean()
    return total, {"square": total}


def batches(step: int) -> list[Pieces]:
    """Four steps of two pieces."""
    made: list[Pieces] = []
    for number in range(step, step + PLAN.group):
        draw = np.random.default_rng(number)
        sizes = ((6, IN), (6, OUT), (4, IN), (4, OUT))
        a, b, c, d = (mx.array(draw.standard_normal(s).astype(np.float32)) for s in sizes)
        made.append([(a, b), (c, d)])
    return made


class Outage(Exception):
    """The power is gone."""


def ending_at(last: int):
    """Batches until a group, and then none ever."""

    def until(step: int) -> list[Pieces]:
        if step >= last:
            raise Outage
        return batches(step)

    return until


def flat(tree: Any) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in tree_flatten(tree)}


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    return flat(model.parameters())


def same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[k], theirs[k]) for k in ours)


def rows(folder: Path) -> list[list[str]]:
    with (folder / "losses.csv").open() as file:
        return list(csv.reader(file))


def states(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("state-*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A run that nothing disturbed: its folder, and the weights at its end."""
    folder, model = tmp_path_factory.mktemp("whole"), Network()
    train(model, loss, batches, PLAN, folder)
    return folder, weights(model)


# Interruptions


@pytest.mark.parametrize("last", [4, 8])
def test_an_interrupted_run_ends_where_it_would_have(whole, tmp_path: Path, last: int):
    """Bit for bit, though it goes on in the middle of a group, and has other weights at first."""
    with pytest.raises(Outage):
        train(Network(), loss, ending_at(last), PLAN, tmp_path)
    assert states(tmp_path)[-1] == {4: "state-3.safetensors", 8: "state-6.safetensors"}[last]
    model = Network()
    model.apply(lambda weight: weight + 1)
    mx.random.seed(99)
    train(model, loss, batches, PLAN, tmp_path)
    assert same(weights(model), whole[1])


def test_what_is_done_is_not_done_again(whole, tmp_path: Path):
    """A finished run gives its weights, and changes nothing."""
    train(Network(), loss, batches, PLAN, tmp_path)
    before = (tmp_path / "losses.csv").read_bytes()
    model = Network()
    train(model, loss, ending_at(0), PLAN, tmp_path)
    assert same(weights(model), whole[1])
    assert (tmp_path / "losses.csv").read_bytes() == before


def test_steps_that_are_done_twice_lose_the_same(whole, tmp_path: Path):
    """The seventh and eighth: the checkpoint was of the sixth."""
    with pytest.raises(Outage):
        train(Network(), loss, ending_at(8), PLAN, tmp_path)
    train(Network(), loss, batches, PLAN, tmp_path)
    numbers = [int(row[0]) for row in rows(tmp_path)]
    assert numbers == [*range(1, 9), *range(7, 12)]
    expected = {row[0]: row[1:3] for row in rows(whole[0])}
    assert all(row[1:3] == expected[row[0]] for row in rows(tmp_path))


CRAMPED = """
import resource, sys
from pathlib import Path
from typing import Any
import test_training as t
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
t.train(t.Network(), t.loss, t.batches, t.PLAN, Path(sys.argv[1]))
"""


def test_a_checkpoint_that_is_not_whole_is_never_taken_up(whole, tmp_path: Path):
    """A disk that is full in the middle of one: the one before stays, and is gone on from."""
    with pytest.raises(Outage):
        train(Network(), loss, ending_at(4), PLAN, tmp_path)
    size = (tmp_path / "state-3.safetensors").stat().st_size
    here = Path(__file__).parent
    command = [sys.executable, "-c", CRAMPED, str(tmp_path)]
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, cwd=here, env=os.environ | paths, capture_output=True)
    assert ended.returncode != 0
    assert (tmp_path / "unfinished.safetensors").stat().st_size < size
    assert states(tmp_path) == ["state-3.safetensors"]
    model = Network()
    train(model, loss, batches, PLAN, tmp_path)
    assert same(weights(model), whole[1])


# Checkpoints


def test_the_last_two_are_kept(whole):
    assert states(whole[0]) == ["state-11.safetensors", "state-9.safetensors"]


def test_a_checkpoint_holds_weights_and_optimiser(whole):
    stored = open_tensors(whole[0] / "state-11.safetensors")
    ours = {k.removeprefix("model."): np.array(v) for k, v in stored.items() if "model." in k}
    assert same(ours, whole[1])
    assert stored["optimiser.step"].item() == PLAN.steps
    assert {f"optimiser.layers.0.weight.{moment}" for moment in "mv"} <= stored.keys()


def test_what_is_frozen_is_stored_and_not_optimised(whole):
    """Moving averages, such as codebooks."""
    stored = open_tensors(whole[0] / "state-11.safetensors")
    assert stored["model.seen"].item() != 0
    assert not [name for name in stored if name.startswith("optimiser.seen")]


def test_afterwards_it_is_as_it_is_used(tmp_path: Path):
    """Without what is for learning alone, such as dropout."""
    model = Network()
    train(model, loss, batches, PLAN, tmp_path)
    assert not model.training


# Losses


def test_each_step_is_a_row(whole):
    found = rows(whole[0])
    assert [int(row[0]) for row in found] == list(range(1, 12))
    for row in found:
        name, value = row[1].split("=")
        assert name == "square" and 0 < float(value) < 10
        norm, seconds = map(float, row[2:])
        assert norm > 0 and seconds >= 0


def test_it_learns(tmp_path: Path):
    """The same batch again and again."""
    plan = Plan(steps=60, learning_rate=0.02, warmup=5)
    train(Network(), loss, lambda step: batches(0)[:1], plan, tmp_path)
    found = [float(row[1].split("=")[1]) for row in rows(tmp_path)]
    assert np.mean(found[-5:]) < 0.8 * np.mean(found[:5])


# The schedule


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine():
    plan = Plan(steps=110, learning_rate=2.0, warmup=10, least=0.1)
    assert [plan.rate(step) for step in range(10)] == pytest.approx(np.arange(1, 11) / 5)
    assert plan.rate(10) == pytest.approx(2.0)
    assert plan.rate(60) == pytest.approx(2.0 * 0.55)  # half way between all and a tenth
    assert plan.rate(110) == pytest.approx(0.2)
    falling = [plan.rate(step) for step in range(10, 111)]
    assert falling == sorted(falling, reverse=True)


def test_a_rate_may_stay():
    plan = Plan(steps=50, learning_rate=0.5, warmup=1, least=1.0)
    assert {plan.rate(step) for step in range(50)} == {0.5}


def test_each_step_has_its_rate(whole):
    for step in (9, 11):
        stored = open_tensors(whole[0] / f"state-{step}.safetensors")["optimiser.learning_rate"]
        assert stored.item() == pytest.approx(PLAN.rate(step - 1), rel=1e-6)  # float32


def test_a_step_is_adamw_s(tmp_path: Path):
    """The first, by MLX's own, with the gradient cut to the plan's norm."""
    plan = Plan(steps=1, learning_rate=0.1, warmup=1, clip=0.01, weight_decay=0.2)
    ours, theirs = Network(), Network()
    for model in (ours, theirs):
        model.layers = [layer for layer in model.layers if not isinstance(layer, nn.Dropout)]
    train(ours, loss, lambda step: [batches(0)[0][:1]], plan, tmp_path)
    _, gradients = nn.value_and_grad(theirs, loss)(theirs, batches(0)[0][0])
    gradients, norm = optim.clip_grad_norm(gradients, 0.01)
    assert np.array(norm) > 0.01
    optimiser = optim.AdamW(0.1, betas=list(plan.betas), weight_decay=0.2)
    optimiser.update(theirs, gradients)
    assert same(weights(ours), weights(theirs))


# Pieces


def test_a_step_s_gradient_is_the_mean_of_its_pieces():
    """Also where two are under way at once; bit for bit."""
    model = Network()
    model.eval()
    gradient = nn.value_and_grad(model, loss)
    pieces = [piece for step in batches(0) for piece in step][:3]
    alone = [flat(gradient(model, piece)[1]) for piece in pieces]
    figures, together = _in_pieces(gradient)(model, pieces)
    for name, value in flat(together).items():
        first, second, third = (one[name] for one in alone)
        assert np.array_equal(value, np.float32(1 / 3) * (first + second + third)), name
        assert value.any(), name
    assert mx.array_equal(figures["square"], loss(model, pieces[-1])[0])


def test_figures_of_all_pieces_are_written_down(tmp_path: Path):
    numbers: Iterator[int] = iter(range(10))

    def named(model: Network, piece: tuple[mx.array, mx.array]):
        total, _ = loss(model, piece)
        return total, {f"piece {next(numbers)}": total}

    plan = Plan(steps=1, learning_rate=0.1)
    train(Network(), named, lambda step: batches(0)[:1], plan, tmp_path)
    assert [entry.split("=")[0] for entry in rows(tmp_path)[0][1:3]] == ["piece 0", "piece 1"]
