"""Which codes a frame may hold, and that each codebook hears the one before."""

from collections.abc import Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.kernels import sample_top_k
from lfm2audio_mlx.kernels.metal import without_kernels
from lfm2audio_mlx.tokens import CODEBOOK_SIZE, END_OF_AUDIO


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, int]]:
    """Codes that are chosen whatever the logits, by codebook: -1 is the last that is offered. It
    is the twin of the sampler that is made to, so no kernels run."""
    codes: dict[int, int] = {}
    choose = sample_top_k._choose

    def chosen(logits: mx.array, draws: sample_top_k.Draws, place: int) -> mx.array:
        if place not in codes:
            return choose(logits, draws, place)
        return mx.full((logits.shape[0],), codes[place] % logits.shape[1])

    monkeypatch.setattr(sample_top_k, "_choose", chosen)
    with without_kernels():
        yield codes


def test_only_codebook_0_is_offered_the_end_of_the_audio(
    engines: dict[str, Engine], forced: dict[int, int]
):
    forced.update(dict.fromkeys(range(8), -1))
    codes = engines["v1"].model.depthformer(mx.zeros((1, 96)))
    assert codes[0].tolist() == [END_OF_AUDIO] + [CODEBOOK_SIZE - 1] * 7


def test_a_decoder_of_fewer_codes_is_never_given_others(nano: Engine, forced: dict[int, int]):
    """The embedded codec has 512 codes a codebook; its model has rows for 2,048 and the end."""
    random = mx.random.normal((64, 192), key=mx.random.key(0)) * 3
    frames = np.array(nano.model.depthformer(random))
    assert ((frames < 512) | (frames == END_OF_AUDIO)).all()
    assert (frames[:, 1:] < 512).all()
    forced.update(dict.fromkeys(range(8), -1))
    codes = nano.model.depthformer(mx.zeros((1, 192)))
    assert codes[0].tolist() == [END_OF_AUDIO] + [511] * 7


def test_rows_of_a_batch_do_not_meet(engines: dict[str, Engine]):
    hidden = mx.random.normal((5, 128), key=mx.random.key(1))
    together = np.array(engines["v25"].model.depthformer(hidden))
    alone = [np.array(engines["v25"].model.depthformer(row[None])[0]) for row in hidden]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("changed", range(7))
def test_a_code_changes_those_after_it(
    engines: dict[str, Engine],
    forced: dict[int, int],
    changed: int,
    monkeypatch: pytest.MonkeyPatch,
):
    hidden = mx.random.normal((1, 96), key=mx.random.key(2))
    offered = sample_top_k._choose

    def run(code: int) -> list[np.ndarray]:
        seen: list[np.ndarray] = []

        def watched(logits: mx.array, *rest: Any) -> mx.array:
            seen.append(np.array(logits))
            return offered(logits, *rest)

        monkeypatch.setattr(sample_top_k, "_choose", watched)
        forced[changed] = code
        engines["v1"].model.depthformer(hidden)
        return seen

    one, other = run(3), run(4)
    assert all(np.array_equal(one[i], other[i]) for i in range(changed + 1))
    assert not np.array_equal(one[changed + 1], other[changed + 1])
