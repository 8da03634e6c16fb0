"""Caches are values: appending gives what concatenation would, and old states stay as they were."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.models.cache import GROWTH, KVCache, WindowCache

sizes = st.lists(st.integers(1, 300), min_size=1, max_size=5)


def random_keys(length: int, seed: int = 0) -> tuple[mx.array, mx.array]:
    shape = (1, 2, length, 4)
    keys = mx.random.split(mx.random.key(seed))
    return mx.random.normal(shape, key=keys[0]), mx.random.normal(shape, key=keys[1])


def pieces(sizes: list[int], keys: mx.array, values: mx.array):
    start = 0
    for size in sizes:
        yield keys[:, :, start : start + size], values[:, :, start : start + size]
        start += size


@given(sizes)
@settings(max_examples=25)
def test_appending_is_concatenation_and_grows_in_few_steps(sizes: list[int]):
    keys, values = random_keys(sum(sizes))
    cache: KVCache | None = None
    offset = 0
    for new_keys, new_values in pieces(sizes, keys, values):
        cache = KVCache.append(cache, new_keys, new_values, offset)
        offset += new_keys.shape[2]
        assert cache.capacity % GROWTH == 0
    assert cache is not None
    filled = cache.first(offset)
    assert np.array_equal(filled.keys, keys)
    assert np.array_equal(filled.values, values)


@pytest.mark.parametrize("places", [[3], [3, 0, 9]])
def test_each_row_has_its_own_place(places: list[int]):
    rows = len(places)
    whole = KVCache(mx.ones((rows, 2, 10, 4)), mx.ones((rows, 2, 10, 4)))
    new = 2 * mx.ones((rows, 2, 1, 4))
    put = whole.put(new, new + 1, mx.array(places))
    for arrays, value in ((put.keys, 2), (put.values, 3)):
        for row, place in enumerate(places):
            wanted = np.ones((2, 10, 4))
            wanted[:, place] = value
            assert np.array_equal(arrays[row], wanted)


def test_two_futures_of_one_past_do_not_touch_each_other():
    keys, values = random_keys(10)
    past = KVCache.append(None, keys, values, 0)
    before = np.array(past.keys)
    one = KVCache.append(past, *random_keys(3, seed=1), 10)
    other = KVCache.append(past, *random_keys(3, seed=2), 10)
    mx.eval(one.keys, other.keys)
    assert np.array_equal(past.keys, before)
    assert np.array_equal(one.first(13).keys[:, :, 10:], random_keys(3, seed=1)[0])
    assert np.array_equal(other.first(13).keys[:, :, 10:], random_keys(3, seed=2)[0])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 12))
@settings(max_examples=50)
def test_a_window_shows_each_query_its_last_positions_and_no_other(sizes: list[int], window: int):
    total = sum(sizes)
    # The key of position p is p itself, so that what a query sees can be read off.
    keys = mx.arange(total).astype(mx.float32).reshape(1, 1, total, 1)
    cache: WindowCache | None = None
    position = 0
    for new, _ in pieces(sizes, keys, keys):
        seen, _, mask, cache = WindowCache.append(cache, new, new, window)
        for row in range(new.shape[2]):
            visible = np.array(seen[0, 0, :, 0])[np.array(mask[row])]
            first = max(0, position - window + 1)
            assert visible.tolist() == list(range(first, position + 1))
            position += 1
        assert cache.offset == position
        assert cache.keys.shape[2] == min(position, window - 1)
