"""Mimi frame by frame: one graph of few kernels, states that are values, windows that go around."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_map

from lfm2audio_mlx.config import CodecTransformerConfig, MimiConfig, SeanetConfig
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.models import mimi
from lfm2audio_mlx.models.compiled import compiling
from lfm2audio_mlx.models.mimi import BLOCK, Mimi, MimiState
from lfm2audio_mlx.models.ring import around, turns
from lfm_cli.launches import launches

TOLERANCE = 1e-5  # relative; the same float32 sums over tensors of other shapes
CODEBOOKS, SIZE = 3, 16
LAYERS, RATIOS = 2, (4, 2)

CONFIG = MimiConfig(
    sample_rate=24000,
    upsample_stride=2,
    transformer=CodecTransformerConfig(
        d_model=8, num_heads=2, num_layers=LAYERS, ff_dim=16, context=9, max_period=10000.0
    ),
    seanet=SeanetConfig(
        dimension=8,
        n_filters=2,
        n_residual_layers=1,
        ratios=RATIOS,
        kernel_size=7,
        residual_kernel_size=3,
        last_kernel_size=3,
        dilation_base=2,
        compress=2,
    ),
)
"""Smaller than any checkpoint, with a window that a few frames go around."""


def made(config: MimiConfig = CONFIG) -> Mimi:
    """A codec with random weights."""
    codec = Mimi(config, CODEBOOKS, SIZE)
    mx.random.seed(0)
    codec.update(tree_map(lambda w: 0.4 * mx.random.normal(w.shape), codec.parameters()))
    codec.prepare()
    mx.eval(codec.parameters())
    return codec


@pytest.fixture(scope="module")
def codec() -> Mimi:
    return made()


def codes_of(frames: int, batch: int = 1, seed: int = 0) -> mx.array:
    rng = np.random.default_rng(seed)
    return mx.array(rng.integers(0, SIZE, (batch, CODEBOOKS, frames)))


def streamed(codec: Mimi, codes: mx.array, sizes: list[int]) -> np.ndarray:
    state, start, pieces = None, 0, []
    for size in sizes:
        samples, state = codec.decode(codes[:, :, start : start + size], state)
        pieces.append(np.array(samples))
        start += size
    return np.concatenate(pieces, axis=1)


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def arrays(state: MimiState) -> list[mx.array]:
    return [state.entries, *state.memories, state.latents]


# The waveform


@given(st.lists(st.integers(1, 2 * BLOCK + 3), min_size=1, max_size=5))
@settings(max_examples=25)
def test_any_split_gives_the_same_waveform(sizes: list[int]):
    codec, codes = made(), codes_of(sum(sizes), batch=2)
    by_frame = streamed(codec, codes, [1] * sum(sizes))
    assert by_frame.shape == (2, sum(sizes) * codec.frame_size)
    assert difference(streamed(codec, codes, sizes), by_frame) < TOLERANCE


def test_rows_of_a_batch_are_streams_of_their_own(codec: Mimi):
    codes = codes_of(7, batch=3)
    together = streamed(codec, codes, [1, 2, 4])
    alone = [streamed(codec, codes[b : b + 1], [1, 2, 4]) for b in range(3)]
    assert difference(together, np.concatenate(alone)) < TOLERANCE


@pytest.mark.parametrize(("stride", "blocks"), [(1, 1), (1, 3), (2, 2), (4, 1)])
def test_whatever_the_network_looks_back_on_is_there(stride: int, blocks: int):
    """Deeper networks than the published one look back further than their first call went."""
    seanet = replace(CONFIG.seanet, n_residual_layers=blocks)
    codec = made(replace(CONFIG, upsample_stride=stride, seanet=seanet))
    codes = codes_of(12)
    whole = streamed(codec, codes, [12])
    assert difference(streamed(codec, codes, [1] * 12), whole) < TOLERANCE


def test_no_frames_are_no_sound(codec: Mimi):
    samples, state = codec.decode(codes_of(0, batch=2))
    assert samples.shape == (2, 0)
    codes = codes_of(3, batch=2)
    after = codec.decode(codes, state)[0]
    assert np.array_equal(after, codec.decode(codes)[0])


def test_a_compiled_step_gives_the_same(codec: Mimi):
    codes = codes_of(7)
    plain = streamed(codec, codes, [1, 1, 1, 4])
    with compiling(True):
        assert difference(streamed(codec, codes, [1, 1, 1, 4]), plain) < TOLERANCE


# The state


def test_an_old_state_stays_good(codec: Mimi):
    _, state = codec.decode(codes_of(5))
    before = [np.array(array) for array in arrays(state)]
    first, later = codec.decode(codes_of(2, seed=1), state)
    codec.decode(codes_of(9, seed=2), later)
    mx.eval(codec.decode(codes_of(2, seed=3), state))
    for array, was in zip(arrays(state), before, strict=True):
        assert np.array_equal(array, was)
    assert np.array_equal(first, codec.decode(codes_of(2, seed=1), state)[0])


def test_a_state_is_of_one_size_from_the_first_frame_on(codec: Mimi):
    state, shapes = None, set()
    for size in (1, 1, 4, 3 * BLOCK):
        _, state = codec.decode(codes_of(size), state)
        shapes.add(tuple(array.shape for array in arrays(state)))
    assert len(shapes) == 1


# What it costs


def test_a_long_decode_needs_no_more_memory_than_its_blocks():
    def peak(frames: int) -> int:
        codes = codes_of(frames)
        mx.eval(codes)
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        mx.eval(codec.decode(codes)[0])
        return mx.get_peak_memory() - before

    wide = replace(CONFIG.seanet, n_filters=16, ratios=(8, 6))
    codec = made(replace(CONFIG, seanet=wide))
    assert peak(24 * BLOCK) < 2 * peak(2 * BLOCK)


def test_a_frame_is_few_kernels():
    """A window that is moved, or positions that are worked out on the device, would show."""
    codec, codes = made(), codes_of(1)
    _, state = codec.decode(codes_of(2))
    mx.eval(codes, arrays(state))
    with compiling(True):
        kernels = launches(lambda: codec.decode(codes, state, checked=True))
    front, layer, latents, ratio, ends = 3, 10, 2, 6, 3
    assert sum(kernels.values()) == front + layer * LAYERS + latents + ratio * len(RATIOS) + ends
    assert kernels["Concatenate"] == 2


def test_checked_codes_are_not_read_back(codec: Mimi, monkeypatch: pytest.MonkeyPatch):
    def read(codes: mx.array, size: int) -> None:
        raise AssertionError("read back")

    monkeypatch.setattr(mimi, "check_codes", read)
    codec.decode(codes_of(1), checked=True)
    with pytest.raises(AssertionError, match="read back"):
        codec.decode(codes_of(1))


@pytest.mark.parametrize("code", [-1, SIZE])
def test_a_code_of_no_table_is_refused(codec: Mimi, code: int):
    codes = codes_of(2)
    codes[0, 1, 1] = code
    with pytest.raises(RequestError, match=rf"outside 0\.\.\.{SIZE - 1}"):
        codec.decode(codes)


# Windows that go around


@given(st.integers(0, 40), st.integers(1, 6), st.integers(1, 9), st.integers(0, 3))
def test_a_ring_shows_each_position_its_window(offset: int, T: int, window: int, spare: int):
    size = window - 1 + T + spare
    held = np.full(size, -1)
    for start in range(offset):
        held[np.array(around(start, 1, window, size)[0])] = start
    slots, mask = around(offset, T, window, size)
    held[np.array(slots)] = np.arange(offset, offset + T)
    for position, row in zip(range(offset, offset + T), np.array(mask), strict=True):
        seen = sorted(held[row].tolist())
        assert seen == list(range(max(0, position - window + 1), position + 1))


def test_pairs_turn_as_in_rope():
    x = mx.random.normal((1, 2, 5, 8))
    theirs = mx.fast.rope(x, 8, traditional=True, base=100.0, scale=1.0, offset=7)
    queries, keys, values = turns(7, 5, 8, 100.0)
    assert np.allclose((x.view(mx.complex64) * queries).view(mx.float32), theirs, atol=1e-6)
    assert np.array_equal(queries, keys) and np.array_equal(values, mx.ones((5, 4)))
