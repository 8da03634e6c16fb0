"""The sampler: greedy is exact, top-k keeps k, and frequencies are the probabilities."""

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.generation.sampling import GREEDY, Sampling, sample

LOGITS = mx.array([[0.0, 2.0, 1.0, -1.0, 1.5]])


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(0.0, 5), Sampling(1.3, 1)])
def test_greedy_takes_the_largest_without_a_key(sampling: Sampling):
    assert sampling.greedy
    assert sample(LOGITS, sampling, None).tolist() == [1]


def draws(sampling: Sampling, count: int) -> np.ndarray:
    many = mx.broadcast_to(LOGITS, (count, LOGITS.shape[1]))
    return np.array(sample(many, sampling, mx.random.key(7)))


def test_top_k_never_draws_another():
    assert set(draws(Sampling(2.0, 3), 2000).tolist()) == {1, 2, 4}


def test_values_that_tie_with_the_kth_stay():
    tied = mx.broadcast_to(mx.array([[1.0, 1.0, 0.0, 1.0]]), (500, 4))
    drawn = np.array(sample(tied, Sampling(1.0, 2), mx.random.key(0)))
    assert set(drawn.tolist()) == {0, 1, 3}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_the_softmax(temperature: float):
    """Chi-square with 4 degrees of freedom: 18.5 is passed by chance once in a thousand keys."""
    count = 20_000
    weights = np.exp(np.array(LOGITS[0], np.float64) / temperature)
    expected = count * weights / weights.sum()
    seen = np.bincount(draws(Sampling(temperature), count), minlength=5)
    assert ((seen - expected) ** 2 / expected).sum() < 18.5


def test_the_same_key_draws_the_same():
    assert np.array_equal(draws(Sampling(1.0), 100), draws(Sampling(1.0), 100))


@pytest.mark.parametrize("bad", [(-0.1, 0), (float("nan"), 0), (float("inf"), 0), (1.0, -1)])
def test_a_setting_without_meaning_is_refused(bad: tuple[float, int]):
    with pytest.raises(RequestError):
        Sampling(*bad)
