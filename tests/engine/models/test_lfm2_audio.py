"""The assembled model: the published size, and one dtype from end to end."""

import json
import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from lfm2audio_mlx.config import ModelConfig, parse_config
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.kernels import sample_top_k
from lfm2audio_mlx.kernels.metal import without_kernels
from lfm2audio_mlx.weights import build, load

PUBLISHED = {
    "codebook_size": 2048,
    "conformer": {
        "n_layers": 17,
        "d_model": 512,
        "n_heads": 8,
        "ff_dim": 2048,
        "subsampling_channels": 256,
    },
    "lfm": {
        "vocab_size": 65_536,
        "hidden_size": 2048,
        "layer_types": ["conv"] * 10 + ["full_attention"] * 6,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "ff_dim": 8192,
    },
    "depthformer": {"layers": 6, "dim": 1024, "ff_dim": 2816},
}
"""Where LFM2-Audio-1.5B differs from the embedded checkpoint (model card)."""


def published_config(folder: Path = EMBEDDED) -> ModelConfig:
    data = json.loads((folder / "config.json").read_text("utf-8"))
    for key, value in PUBLISHED.items():
        data[key] = data[key] | value if isinstance(value, dict) else value
    return parse_config(data, "published")


def test_the_published_shapes_have_the_published_number_of_parameters():
    """1,470.3 M in the original file, less two heads that inference never reads. Nothing is
    allocated: MLX builds weights when they are first used."""
    config = published_config()
    weights = dict(tree_flatten(build(config, "model").parameters()))
    count = sum(math.prod(array.shape) for array in weights.values())
    audio_head = 8 * 2049 * 2048
    tied_depth_heads = 8 * 2049 * 1024
    assert round((count + audio_head + tied_depth_heads) / 1e6, 1) == 1470.3
    # And 931 tensors, with batch-norm counters, two buffers and the audio head's norm.
    assert len(weights) + 8 + 17 + 2 + 2 == 931


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_nothing_leaves_the_dtype_of_the_model(dtype: str, monkeypatch: pytest.MonkeyPatch):
    """A float32 leak would double the bytes read and the kernels launched."""
    checkpoint = load(EMBEDDED, dtype)
    model, wanted = checkpoint.model, getattr(mx, dtype)
    heard = model.embed_audio(mx.zeros((1, 40, 128)))
    said = model.embed_codes(mx.zeros((1, 3, 8), mx.int32))
    hidden, state = model.lfm(mx.concatenate([heard, said], axis=1))
    hidden, state = model.lfm(model.embed_text(mx.array([[5]])), state)
    seen: list[mx.Dtype] = []
    choose = sample_top_k._choose

    def watched(logits: mx.array, *rest: Any) -> mx.array:
        seen.append(logits.dtype)
        return choose(logits, *rest)

    monkeypatch.setattr(sample_top_k, "_choose", watched)
    with without_kernels():  # it is the twin that is watched
        model.depthformer(hidden[:, -1])
    arrays = [heard, said, hidden, model.text_logits(hidden)]
    arrays += state.arrays
    assert {array.dtype for array in arrays} | set(seen) == {wanted}
    # Sound is another matter: 16 bits are audible in it.
    wave, _ = checkpoint.codec.decode(mx.zeros((1, 8, 2), mx.int32))
    assert wave.dtype == mx.float32


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_hears_as_well(dtype: str, transcripts: dict[Path, str]):
    engine = Engine.load(dtype=dtype)
    some = list(transcripts.items())[::4]
    assert sum(engine.transcribe(path).text == text for path, text in some) >= len(some) - 1
