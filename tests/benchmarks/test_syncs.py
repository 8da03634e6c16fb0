"""Counting how often the host waits for the device."""

import mlx.core as mx
import numpy as np
import pytest

from benchmarks.compare.workers.syncs import counted


def test_what_takes_a_value_out_is_a_sync():
    with counted() as syncs:
        for take in (int, float, bool, np.array, np.asarray, mx.array.item, mx.array.tolist):
            take(mx.array(3) + 1)
        assert syncs.total == 7
        mx.eval(mx.array(1) + 1, [mx.array(2) + 1])
        assert syncs.total == 8
    assert any("test_syncs.py" in place for place in syncs.places)


def test_what_does_not_wait_is_none():
    with counted() as syncs:
        x = mx.array([1, 2]) + 1
        mx.async_eval(x)
        np.array([1, 2])
        assert x.shape == (2,) and syncs.total == 0
        mx.eval(x)
        assert x.tolist() == [2, 3] and np.array(x).sum() == 5
        assert syncs.total == 1
        mx.eval(x, x * 2)
        assert syncs.total == 2


def test_afterwards_all_is_as_before():
    functions = (mx.eval, mx.array.item, np.array)
    with pytest.raises(RuntimeError), counted():
        raise RuntimeError
    assert functions == (mx.eval, mx.array.item, np.array)
