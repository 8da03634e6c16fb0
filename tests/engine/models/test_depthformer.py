"""Which codes a frame may hold, and that each codebook hears the one before."""

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.tokens import CODEBOOK_SIZE, END_OF_AUDIO


def greedy(logits: mx.array) -> mx.array:
    return mx.argmax(logits, axis=-1)


def test_only_codebook_0_is_offered_the_end_of_the_audio(engines: dict[str, Engine]):
    offered: list[int] = []

    def last(logits: mx.array) -> mx.array:
        offered.append(logits.shape[1])
        return mx.full((logits.shape[0],), logits.shape[1] - 1)

    codes = engines["v1"].model.depthformer(mx.zeros((1, 96)), last)
    assert offered == [CODEBOOK_SIZE + 1] + [CODEBOOK_SIZE] * 7
    assert codes[0].tolist() == [END_OF_AUDIO] + [CODEBOOK_SIZE - 1] * 7


def test_a_decoder_of_fewer_codes_is_never_given_others(nano: Engine):
    """The embedded codec has 512 codes a codebook; its model has rows for 2,048 and the end."""

    def last(logits: mx.array) -> mx.array:
        return mx.full((logits.shape[0],), logits.shape[1] - 1)

    codes = nano.model.depthformer(mx.zeros((1, 192)), last)
    assert codes[0].tolist() == [END_OF_AUDIO] + [511] * 7
    random = mx.random.normal((64, 192), key=mx.random.key(0)) * 3
    frames = np.array(nano.model.depthformer(random, greedy))
    assert ((frames < 512) | (frames == END_OF_AUDIO)).all()
    assert (frames[:, 1:] < 512).all()


def test_rows_of_a_batch_do_not_meet(engines: dict[str, Engine]):
    hidden = mx.random.normal((5, 128), key=mx.random.key(1))
    together = np.array(engines["v25"].model.depthformer(hidden, greedy))
    alone = [np.array(engines["v25"].model.depthformer(row[None], greedy)[0]) for row in hidden]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("changed", range(7))
def test_a_code_changes_those_after_it(engines: dict[str, Engine], changed: int):
    hidden = mx.random.normal((1, 96), key=mx.random.key(2))
    logits_seen: list[np.ndarray] = []

    def run(forced: int) -> list[np.ndarray]:
        logits_seen.clear()

        def choose(logits: mx.array) -> mx.array:
            step = len(logits_seen)
            logits_seen.append(np.array(logits))
            return mx.array([forced]) if step == changed else greedy(logits)

        engines["v1"].model.depthformer(hidden, choose)
        return list(logits_seen)

    one, other = run(3), run(4)
    assert all(np.array_equal(one[i], other[i]) for i in range(changed + 1))
    assert not np.array_equal(one[changed + 1], other[changed + 1])
