"""Both decoders stream what they give in one shot, at every length and any split."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parity
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.models.codec import Codec

TOLERANCE = 1e-5  # relative; the same float32 sums over tensors of other shapes


@pytest.fixture(scope="module")
def codecs(engines: dict[str, Engine]) -> dict[str, Codec]:
    """v1 speaks through Mimi, v25 through the detokenizer."""
    return {"mimi": engines["v1"].codec, "detokenizer": engines["v25"].codec}


def random_codes(frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2048, (8, frames))


@pytest.mark.parametrize("name", ["mimi", "detokenizer"])
def test_any_split_gives_the_one_shot_waveform(codecs: dict[str, Codec], name: str):
    codec = codecs[name]

    @given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 99))
    @settings(max_examples=15)
    def check(sizes: list[int], seed: int):
        codes = random_codes(sum(sizes), seed)
        whole = parity.stream(codec, codes, iter([codes.shape[1]]))
        assert len(whole) == codes.shape[1] * codec.frame_size
        assert parity.relative(parity.stream(codec, codes, iter(sizes)), whole) < TOLERANCE

    check()


@pytest.mark.parametrize("name", ["mimi", "detokenizer"])
def test_the_past_is_heard_in_the_next_call(codecs: dict[str, Codec], name: str):
    """Independent chunks are not streaming: without the state the second half is wrong."""
    codec, codes = codecs[name], random_codes(6, 1)
    whole = parity.stream(codec, codes, iter([6]))
    alone = parity.stream(codec, codes[:, 3:], iter([3]))
    assert parity.relative(alone, whole[3 * codec.frame_size :]) > 0.01


@pytest.mark.parametrize("name", ["mimi", "detokenizer"])
def test_two_streams_of_one_codec_do_not_disturb_each_other(codecs: dict[str, Codec], name: str):
    codec = codecs[name]
    codes = mx.array(random_codes(4, 2))[None]
    _, state = codec.decode(codes[..., :2])
    first, _ = codec.decode(codes[..., 2:], state)
    codec.decode(mx.array(random_codes(5, 3))[None])
    again, _ = codec.decode(codes[..., 2:], state)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", ["mimi", "detokenizer"])
@pytest.mark.parametrize("code", [-1, 2048])
def test_a_code_without_sound_is_refused(codecs: dict[str, Codec], name: str, code: int):
    codes = mx.zeros((1, 8, 2), mx.int32)
    codes[0, 3, 1] = code
    with pytest.raises(RequestError, match=r"outside 0\.\.\.2047"):
        codecs[name].decode(codes)
