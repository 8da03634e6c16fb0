"""Attention by content and distance, against its definition."""

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.kernels.rel_pos_attention import _relative_shift, rel_pos_attention


@pytest.mark.parametrize(("rows", "keys"), [(1, 1), (2, 2), (7, 7), (3, 7), (1, 5)])
def test_the_shift_gives_each_key_the_score_of_its_distance(rows: int, keys: int):
    """Rows are queries in a row; the first column is the last query's distance to key 0."""
    scores = mx.random.normal((2, 3, rows, keys + rows - 1), key=mx.random.key(0))
    shifted = np.array(_relative_shift(scores))
    for row in range(rows):
        for key in range(keys):
            column = (rows - 1 - row) + key
            assert np.array_equal(shifted[..., row, key], np.array(scores)[..., row, column])


def test_it_is_what_its_formula_says():
    B, T, H, D = 2, 5, 3, 4
    qkv = mx.random.normal((B, T, 3, H, D), key=mx.random.key(0))
    distances = mx.random.normal((2 * T - 1, H, D), key=mx.random.key(1))
    u, v = (mx.random.normal((H, D), key=mx.random.key(seed)) for seed in (2, 3))
    y = np.array(rel_pos_attention(qkv, distances, u, v))
    q, k, values = (np.array(qkv)[:, :, n] for n in range(3))
    p = np.array(distances)
    for b in range(B):
        for h in range(H):
            for i in range(T):
                scores = [
                    (q[b, i, h] + u[h]) @ k[b, j, h] + (q[b, i, h] + v[h]) @ p[T - 1 - i + j, h]
                    for j in range(T)
                ]
                weights = np.exp(np.array(scores) / np.sqrt(D))
                wanted = weights @ values[b, :, h] / weights.sum()
                assert np.abs(y[b, i, h] - wanted).max() < 1e-5  # float32
