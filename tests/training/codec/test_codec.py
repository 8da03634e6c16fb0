"""The codec that is trained is Mimi: it opens an original file, gives the reference's codes and
the product's sound, and writes the file again."""

import re
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from safetensors import safe_open

import scenarios
from checkpoints import MIMI_FILE, digest
from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.weights import open_tensors
from lfm_convert.golden import read_arrays
from lfm_train.codec.codec import TrainedCodec, codec_tensor, open_codec
from lfm_train.nano.recipe import INNER, design

DATA = Path(__file__).parents[2] / "data"
FRAME = 1920
TOLERANCE = 1e-5
"""Relative to the largest: float32 on both sides, sums in another order."""
UNUSED = re.compile(r"quantizer\.rvq_rest\.vq\.layers\.([789]|10)\.|.*\._initialized")
"""What of the file of "v1" is not opened: flags, and of its twelve codebooks the last four."""


@pytest.fixture(scope="module")
def codec(originals: dict[str, Path], engines: dict[str, Engine]) -> TrainedCodec:
    """That of "v1"; do not change it."""
    return open_codec(engines["v1"].config, originals["v1"] / MIMI_FILE)


@pytest.fixture(scope="module")
def golden(originals: dict[str, Path]) -> dict[str, np.ndarray]:
    path = DATA / "goldens" / "encoding.safetensors"
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()["checkpoint"] == digest(originals["v1"]), "other random weights"
    return read_arrays(path)


@pytest.fixture(scope="module")
def clips() -> mx.array:
    """What the golden was encoded from."""
    rate = scenarios.SAMPLE_RATE
    names = 2 * [clip.name for clip in scenarios.CLIPS]
    whole = np.concatenate([read_audio(DATA / "speech" / f"{n}.flac", rate) for n in names])
    return mx.array(whole[None, : FRAME * scenarios.ENCODING_FRAMES])


def difference(ours: mx.array, theirs: np.ndarray) -> float:
    found = np.array(ours)
    assert found.shape == theirs.shape
    return float(np.abs(found - theirs).max() / np.abs(theirs).max())


def test_latents_equal_the_reference(
    codec: TrainedCodec, clips: mx.array, golden: dict[str, np.ndarray]
):
    assert difference(codec.encode(clips), golden["latents"][None]) < TOLERANCE


def test_codes_equal_the_reference(
    codec: TrainedCodec, clips: mx.array, golden: dict[str, np.ndarray]
):
    """All of them: the reference's nearest decision was 40 times its rounding wide."""
    assert np.array_equal(codec.codes(clips)[0], golden["codes"])


def test_it_sounds_as_the_product_does(codec: TrainedCodec, engines: dict[str, Engine]):
    frames = scenarios.MIMI_LONG_FRAMES  # beyond what its transformer looks back on
    codes = np.random.default_rng(0).integers(0, 2048, (1, 8, frames))
    latents = mx.zeros((1, frames, 48))
    quantizer = codec.quantizer
    halves = ((quantizer.rvq_first, codes[:, :1]), (quantizer.rvq_rest, codes[:, 1:]))
    for half, its in halves:
        for i, layer in enumerate(half.layers):
            latents = latents + half.output_proj(layer.entries[mx.array(its[:, i])])
    samples, _ = engines["v1"].codec.decode(mx.array(codes))
    assert difference(codec.decode(latents), np.array(samples)) < TOLERANCE


def used(folder: Path) -> dict[str, mx.array]:
    """The file's tensors that the codec has, by their names there."""
    tensors = open_tensors(folder / MIMI_FILE)
    found = {name: tensor for name, tensor in tensors.items() if not UNUSED.match(name)}
    assert len(found) == len(tensors) - 4 * 2 - 12
    return found


def test_every_tensor_goes_out_as_it_came(codec: TrainedCodec, originals: dict[str, Path]):
    for name, tensor in used(originals["v1"]).items():
        again = codec_tensor(codec, name, tensor.shape)
        assert again.shape == tensor.shape, name
        assert mx.array_equal(again, tensor), name


def test_a_codebook_says_that_it_has_begun(codec: TrainedCodec):
    name = "quantizer.rvq_first.vq.layers.0._codebook._initialized"
    assert codec_tensor(codec, name, (1,)).tolist() == [1]


def test_what_training_has_changed_goes_out_changed(
    originals: dict[str, Path], engines: dict[str, Engine]
):
    """Every weight of ours reaches the file: none is written as it was read."""
    codec = open_codec(engines["v1"].config, originals["v1"] / MIMI_FILE)
    before = {name: np.array(tensor) for name, tensor in used(originals["v1"]).items()}
    codec.apply(lambda weight: weight + 1)
    for name, tensor in before.items():
        assert np.array_equal(codec_tensor(codec, name, tensor.shape), tensor + 1), name


def test_a_file_of_another_codec_is_refused(originals: dict[str, Path], engines: dict[str, Engine]):
    with pytest.raises(CheckpointError, match=r"tensor"):
        open_codec(engines["v1"].config, originals["v25"] / MIMI_FILE)


def test_a_file_of_no_codec_is_refused(originals: dict[str, Path], engines: dict[str, Engine]):
    with pytest.raises(CheckpointError, match="holds no Mimi codec"):
        open_codec(engines["v1"].config, originals["v1"] / "model.safetensors")


def test_frames_do_not_look_ahead(codec: TrainedCodec, clips: mx.array):
    """Neither half is told of what comes."""
    whole, part = clips[:, : 8 * FRAME], clips[:, : 5 * FRAME]
    assert mx.array_equal(codec.codes(whole)[..., :5], codec.codes(part))
    latents = mx.random.normal((1, 8, 48), key=mx.random.key(0))
    ours = codec.decode(latents)[:, : 5 * FRAME]
    assert difference(codec.decode(latents[:, :5]), np.array(ours)) < TOLERANCE


def test_before_there_are_codebooks_latents_go_through(engines: dict[str, Engine], clips: mx.array):
    config = engines["v1"].config
    assert config.mimi is not None
    codec = TrainedCodec(config.mimi, 24, config.codebooks, 64)
    samples, commitment = codec(clips[:, : 2 * FRAME])
    assert samples.shape == (1, 2 * FRAME)
    assert commitment.item() == 0
    codec.quantised = True
    quantised, commitment = codec(clips[:, : 2 * FRAME])
    assert np.array(commitment) > 0
    assert not mx.allclose(quantised, samples)


def test_speech_neither_fades_nor_grows_in_one_that_is_new(clips: mx.array):
    """Or its encoder stays in what an ELU leaves straight, and learns next to nothing."""
    config = design()
    assert config.mimi is not None
    codec = TrainedCodec(config.mimi, INNER, config.codebooks, config.codebook_size)
    latents = codec.encode(clips)
    made, _ = codec(clips)
    assert 0.3 < np.std(np.array(latents)) < 3
    assert 0.1 < np.std(np.array(made)) / np.std(np.array(clips)) < 10
