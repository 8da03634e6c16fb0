"""Codebooks find what there is to stand for, and gradients pass them by."""

from itertools import pairwise

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from lfm_train.codec.quantizer import Codebook, ResidualQuantizer, SplitQuantizer

DIM, SIZE = 4, 8
NOISE = 0.05
"""Deviation within a cluster, where centres are about 3 apart."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    mx.random.seed(0)


def centres() -> mx.array:
    """The corners of a cube."""
    corners = np.stack(np.meshgrid(*[(-1.5, 1.5)] * 3, [0.0]), axis=-1).reshape(-1, DIM)
    return mx.array(corners.astype(np.float32))


def clustered(count: int = 400, seed: int = 0) -> mx.array:
    """[count, DIM] around the centres."""
    draw = np.random.default_rng(seed)
    corners = np.array(centres())
    chosen = corners[draw.integers(0, len(corners), count)]
    return mx.array((chosen + NOISE * draw.standard_normal(chosen.shape)).astype(np.float32))


def lost(codebook: Codebook, x: mx.array) -> float:
    """The mean square of what quantisation leaves."""
    return float(np.square(np.array(x - codebook.entries[codebook.nearest(x)])).mean())


def at(entries: mx.array) -> Codebook:
    """A codebook with these entries, each used once."""
    codebook = Codebook(*entries.shape)
    codebook._set(entries, mx.ones(len(entries)))
    return codebook


# One codebook


def test_the_nearest_entry_is_chosen():
    entries, x = mx.random.normal((SIZE, DIM)), mx.random.normal((50, DIM))
    distances = np.linalg.norm(np.array(x)[:, None] - np.array(entries), axis=-1)
    assert np.array_equal(at(entries).nearest(x), distances.argmin(axis=1))


def test_entries_are_sums_over_usage():
    codebook = Codebook(SIZE, DIM)
    sums = mx.random.normal((SIZE, DIM))
    codebook._set(sums, mx.arange(1, SIZE + 1).astype(mx.float32))
    expected = np.array(sums) / np.arange(1, SIZE + 1)[:, None]
    assert np.allclose(codebook.entries, expected, rtol=1e-6)  # one division in float32


def test_beginning_with_what_there_is_loses_less_than_any_of_it():
    """k-means against entries that are some of the data."""
    x = clustered()
    codebook = Codebook(SIZE, DIM)
    codebook.begin(x)
    begun = lost(codebook, x)
    assert begun < 0.5 * lost(at(x[:SIZE]), x)
    assert codebook.cluster_usage.sum().item() == len(x)


def test_as_many_entries_as_clusters_leave_the_noise():
    """Where each centre has an entry nearby, k-means finds the means."""
    codebook, x = at(centres() + 0.6), clustered()
    for _ in range(400):
        codebook.learn(x)
    assert lost(codebook, x) < 1.05 * NOISE**2  # means of 50 each are not all of it
    assert np.abs(np.array(codebook.entries - centres())).max() < 0.05


def test_learning_loses_less():
    codebook, x = Codebook(SIZE, DIM), clustered()
    codebook.begin(clustered(40, seed=1) + 0.5, rounds=2)
    codebook.learn(x)
    losses = [lost(codebook, x)]
    for _ in range(4):
        for _ in range(50):
            codebook.learn(x)
        losses.append(lost(codebook, x))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.5 * losses[0]


def test_a_dead_entry_is_moved_to_where_there_is_something():
    entries = centres()
    entries[3] = 100.0
    codebook, x = at(entries), clustered()
    for _ in range(300):
        codebook.learn(x)
    assert np.abs(np.array(codebook.entries)).max() < 2
    share = np.array(codebook.cluster_usage / codebook.cluster_usage.sum())
    assert share.min() > 0.1 / SIZE


def test_an_entry_that_is_used_stays():
    """A step moves it by a hundredth of the way."""
    codebook, x = at(centres() * 1.1), clustered()
    before = codebook.entries
    codebook.learn(x)
    moved = np.abs(np.array(codebook.entries - before)).max()
    assert 0 < moved < 0.2


# Several


def test_each_codebook_leaves_less():
    """The remainders of the one are what the next begins with."""
    quantizer, x = ResidualQuantizer(DIM, DIM, 3, SIZE), mx.random.normal((300, DIM))
    quantizer.begin(x)
    rest = quantizer.input_proj(x)
    left = [float(np.square(np.array(rest)).mean())]
    for layer in quantizer.layers:
        rest = rest - layer.entries[layer.nearest(rest)]
        left.append(float(np.square(np.array(rest)).mean()))
    assert all(later < 0.8 * sooner for sooner, later in pairwise(left))


def test_what_is_quantised_is_the_sum_of_the_entries_of_the_codes():
    quantizer, latents = begun()
    quantised, codes, _ = quantizer(latents)
    assert codes.shape == (2, 3, 20)
    first, rest = quantizer.rvq_first, quantizer.rvq_rest
    coarse = first.output_proj(first.layers[0].entries[codes[:, 0]])
    fine = rest.output_proj(
        rest.layers[0].entries[codes[:, 1]] + rest.layers[1].entries[codes[:, 2]]
    )
    # Float32 sums in another order.
    assert np.allclose(quantised, coarse + fine, atol=1e-5)


def begun() -> tuple[SplitQuantizer, mx.array]:
    quantizer, latents = SplitQuantizer(6, DIM, 3, SIZE), mx.random.normal((2, 20, 6))
    quantizer.begin(latents)
    return quantizer, latents


def test_the_gradient_passes_straight_through():
    """As if nothing were quantised."""
    quantizer, latents = begun()
    wanted = mx.random.normal(latents.shape)
    through = mx.grad(lambda x: (quantizer(x)[0] * wanted).sum())(latents)
    past = mx.grad(lambda x: (quantizer.unquantised(x) * wanted).sum())(latents)
    assert np.array_equal(through, past)
    assert np.abs(np.array(through)).max() > 0


def test_the_commitment_draws_latents_to_their_entries():
    quantizer, latents = begun()
    pull = mx.grad(lambda x: quantizer(x)[2])(latents)
    before, after = (np.array(quantizer(x)[2]) for x in (latents, latents - 0.1 * pull))
    assert after < before


@pytest.mark.parametrize("learn", [False, True])
def test_codebooks_get_no_gradient_and_move_only_when_they_learn(learn: bool):
    quantizer, _ = begun()
    latents = mx.random.normal((2, 20, 6))
    before = dict(tree_flatten(quantizer.parameters()))

    def loss(quantizer: SplitQuantizer) -> mx.array:
        quantised, _, commitment = quantizer(latents, learn)
        return mx.square(quantised - latents).mean() + commitment

    _, gradients = nn.value_and_grad(quantizer, loss)(quantizer)
    names = {name for name, _ in tree_flatten(gradients)}
    assert names == {
        f"rvq_{half}.{side}put_proj.weight" for half in ("first", "rest") for side in ("in", "out")
    }
    after = dict(tree_flatten(quantizer.parameters()))
    moved = {name for name in before if not mx.array_equal(before[name], after[name])}
    assert moved == ({name for name in before if "layers" in name} if learn else set())
