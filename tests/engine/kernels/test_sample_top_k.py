"""The sampler: greedy is exact, top-k keeps k, and frequencies are the probabilities."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from lfm2audio_mlx.kernels.sample_top_k import Draws, Offer, sample_and_embed, sample_top_k
from lfm2audio_mlx.sampling import GREEDY, Sampling

LOGITS = mx.array([[0.0, 2.0, 1.0, -1.0, 1.5]])
ALL = Offer(5)


def sample(logits: mx.array, sampling: Sampling, seed: int = 7) -> np.ndarray:
    draws = Draws(sampling, mx.random.key(seed), (1, *logits.shape))
    return np.array(sample_top_k(logits, draws, 0, Offer(logits.shape[1])))


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(0.0, 5), Sampling(1.3, 1)])
def test_greedy_takes_the_largest_without_a_key(sampling: Sampling):
    assert sample_top_k(LOGITS, Draws(sampling, None, (1, 1, 5)), 0, ALL).tolist() == [1]


def draws(sampling: Sampling, count: int) -> np.ndarray:
    return sample(mx.broadcast_to(LOGITS, (count, LOGITS.shape[1])), sampling)


def test_top_k_never_draws_another():
    assert set(draws(Sampling(2.0, 3), 2000).tolist()) == {1, 2, 4}


def test_values_that_tie_with_the_kth_stay():
    tied = mx.broadcast_to(mx.array([[1.0, 1.0, 0.0, 1.0]]), (500, 4))
    assert set(sample(tied, Sampling(1.0, 2), seed=0).tolist()) == {0, 1, 3}


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


def test_choices_of_one_frame_do_not_share_their_noise():
    frame = Draws(Sampling(1.0), mx.random.key(0), (2, 200, 5))
    flat = mx.zeros((200, 5))
    first, second = (np.array(sample_top_k(flat, frame, place, ALL)) for place in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, np.array(sample_top_k(flat, frame, 0, ALL)))


def test_only_what_is_offered_is_chosen():
    logits = mx.array([[0.0, 1.0, 9.0, 8.0, 7.0]])
    greedy = Draws(GREEDY, None, (1, 1, 5))
    assert sample_top_k(logits, greedy, 0, Offer(2)).tolist() == [1]
    assert sample_top_k(logits, greedy, 0, Offer(2, also=4)).tolist() == [4]
    assert sample_top_k(-logits, greedy, 0, Offer(2, also=4)).tolist() == [0]
    many = mx.broadcast_to(logits, (200, 5))
    hot = Draws(Sampling(50.0, 0), mx.random.key(0), (1, 200, 5))
    assert set(np.array(sample_top_k(many, hot, 0, Offer(2, also=4))).tolist()) == {0, 1, 4}


def test_the_chosen_row_is_added():
    table = nn.Embedding(5, 3)
    x = mx.random.normal((1, 3), key=mx.random.key(0))
    code, y = sample_and_embed(LOGITS, Draws(GREEDY, None, (1, 1, 5)), 0, ALL, table, x)
    assert code.tolist() == [1]
    assert np.array_equal(y, x + table.weight[1:2])
