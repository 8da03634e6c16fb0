"""Relative positions, against their definition, and long recordings in blocks."""

import math

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.kernels import rel_pos_attention
from lfm2audio_mlx.models import conformer
from lfm2audio_mlx.models.conformer import relative_positions

TOLERANCE = 1e-5  # float32


def test_positions_are_sinusoids_of_the_distance():
    length, dim = 5, 6
    table = np.array(relative_positions(length, dim))
    for row, distance in enumerate(range(length - 1, -length, -1)):
        for pair in range(dim // 2):
            angle = distance * math.exp(-math.log(10_000) * 2 * pair / dim)
            assert table[row, 2 * pair] == pytest.approx(math.sin(angle), abs=TOLERANCE)
            assert table[row, 2 * pair + 1] == pytest.approx(math.cos(angle), abs=TOLERANCE)


@pytest.mark.parametrize("frames", [300, 1000, 1001])
def test_a_long_recording_in_blocks_is_the_same(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch, frames: int
):
    features = mx.random.normal((1, frames, 128), key=mx.random.key(frames))
    whole = engines["v25"].model.conformer(features)
    monkeypatch.setattr(rel_pos_attention, "QUERY_BLOCK", 10)
    monkeypatch.setattr(conformer, "SUBSAMPLING_BLOCK", 9)
    blocks = engines["v25"].model.conformer(features)
    assert blocks.shape == whole.shape
    assert np.abs(blocks - whole).max() < TOLERANCE * np.abs(whole).max()


@pytest.mark.slow
def test_memory_grows_with_the_length_of_a_recording_not_its_square(nano: Engine):
    def peak(seconds: int) -> int:
        mx.clear_cache()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        mx.eval(nano.model.conformer(mx.zeros((1, seconds * 100, 128))))
        return mx.get_peak_memory() - before

    # Eight times the length; a square would be 64 times.
    assert peak(480) < 12 * peak(60)


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 63, 64, 65])
def test_eight_frames_make_one_position(engines: dict[str, Engine], frames: int):
    features = mx.random.normal((1, frames, 128), key=mx.random.key(frames))
    states = engines["v1"].model.conformer(features)
    assert states.shape[1] == -(-frames // 8)
    assert np.isfinite(states).all()


def test_clips_in_a_batch_do_not_meet(engines: dict[str, Engine]):
    features = mx.random.normal((2, 50, 128), key=mx.random.key(1))
    both = engines["v25"].model.conformer(features)
    alone = engines["v25"].model.conformer(features[1:])
    assert np.abs(both[1] - alone[0]).max() < TOLERANCE * np.abs(alone).max()
