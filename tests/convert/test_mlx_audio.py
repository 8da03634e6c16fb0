"""A folder that mlx-audio converted gives the model that the original gives.

The names were read off mlx-audio 0.6.2's own model, with the true shapes; here the tiny
checkpoint is written under them.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.weights import FILES, open_tensors
from lfm_convert.convert import convert

Copy = Callable[[Path], Path]

RENAMED = (
    (r"^conformer\.", "audio_encoder."),
    (r"\.norm_feed_forward([12])\.", r".ff\1_norm."),
    (r"\.norm_self_att\.", ".attn_norm."),
    (r"\.norm_conv\.", ".conv_norm."),
    (r"\.norm_out\.", ".final_norm."),
    (r"^(audio_encoder\..*)\.feed_forward([12])\.", r"\1.ff\2."),
    (r"\.self_attn\.linear_([qkv])\.", r".attn.\1_proj."),
    (r"\.self_attn\.linear_out\.", ".attn.out_proj."),
    (r"\.self_attn\.linear_pos\.", ".attn.pos_proj."),
    (r"\.self_attn\.pos_bias", ".attn.pos_bias"),
    (r"\.conv\.batch_norm\.", ".conv.norm."),
    (r"^audio_adapter\.model\.", "audio_adapter.layers."),
    (
        r"^depthformer\.layers\.(\d+)\.operator_norm\.",
        r"audio_head.depthformer.blocks.\1.attn_norm.",
    ),
    (r"^depthformer\.layers\.(\d+)\.feed_forward\.", r"audio_head.depthformer.blocks.\1.ffn."),
    (r"^depthformer\.layers\.", "audio_head.depthformer.blocks."),
    (r"\.operator\.out_proj\.", ".attn.o_proj."),
    (r"\.operator\.bounded_attention\.([qk])_layernorm\.", r".attn.\1_norm."),
    (r"\.operator\.qkv_proj\.", ".attn.qkv_proj."),
)
BUFFERS = r"codebook_offsets|audio_loss_weights|.*\.num_batches_tracked"


def as_mlx_audio(folder: Path, quantised: bool) -> None:
    """Rewrite the language model of an original folder as mlx-audio would."""
    made: dict[str, mx.array] = {}
    for name, tensor in open_tensors(folder / "model.safetensors").items():
        if re.fullmatch(BUFFERS, name):
            continue
        if name.endswith("conv.weight") and tensor.ndim == 3:  # depthwise filters
            tensor = tensor.transpose(0, 2, 1)
        elif "pointwise_conv" in name and tensor.ndim == 3:
            tensor = tensor[..., 0]
        elif tensor.ndim == 4:
            tensor = tensor.transpose(0, 2, 3, 1)
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        if name.endswith("qkv_proj.weight"):
            rows = tensor.shape[0] * 2 // 3  # 32 heads of queries, 8 of keys, 8 of values
            for part, piece in zip("qkv", mx.split(tensor, [rows, rows * 5 // 4]), strict=True):
                made[name.replace("qkv", part)] = piece
        else:
            made[name] = tensor
    if quantised:
        made = dict(pair for name, tensor in made.items() for pair in quantise(name, tensor))
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config["quantization"] = {"group_size": 32, "bits": 8, "mode": "affine"}
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
    mx.eval(made)
    mx.save_safetensors(str(folder / "model.safetensors"), made)


def quantise(name: str, tensor: mx.array) -> list[tuple[str, mx.array]]:
    linear = name.endswith(".weight") and tensor.ndim == 2 and tensor.shape[-1] % 32 == 0
    if not linear:
        return [(name, tensor)]
    layer = name.removesuffix("weight")
    parts = mx.quantize(tensor, group_size=32, bits=8)
    return list(zip((name, layer + "scales", layer + "biases"), parts, strict=True))


@pytest.fixture
def published(originals: dict[str, Path], copy_of: Copy) -> Callable[[bool], Path]:
    def make(quantised: bool) -> Path:
        folder = copy_of(originals["v1"])
        as_mlx_audio(folder, quantised)
        return folder

    return make


def test_full_precision_is_the_original_to_the_bit(
    published: Callable[[bool], Path], converted: dict[str, Path], tmp_path: Path
):
    target = convert(published(False), tmp_path / "target", "f32")
    for name in ("model.safetensors", "mimi.safetensors"):
        assert (target / name).read_bytes() == (converted["v1"] / name).read_bytes()


def test_quantised_layers_become_numbers_again(
    published: Callable[[bool], Path], converted: dict[str, Path], tmp_path: Path
):
    ours = open_tensors(convert(published(True), tmp_path / "target", "f32") / FILES["model"])
    exact = open_tensors(converted["v1"] / FILES["model"])
    assert ours.keys() == exact.keys()
    for name, tensor in exact.items():
        # 8 bits of a group's range, which is at most six deviations: a level is 0.02 of one.
        assert np.abs(ours[name] - tensor).max() <= 0.02 * np.abs(tensor).max(), name


@pytest.mark.parametrize("section", [None, {}, {"group_size": "x"}, {"group_size": 33}])
def test_a_config_that_does_not_say_how_it_was_quantised_is_refused(
    published: Callable[[bool], Path], tmp_path: Path, section: dict[str, object] | None
):
    folder = published(True)
    config = json.loads((folder / "config.json").read_text("utf-8")) | {"quantization": section}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(CheckpointError, match=r"weight' (is quantised|does not fit)"):
        convert(folder, tmp_path / "target", "f32")


def test_a_missing_projection_is_named(published: Callable[[bool], Path], tmp_path: Path):
    folder = published(False)
    tensors = open_tensors(folder / "model.safetensors")
    del tensors["audio_head.depthformer.blocks.1.attn.k_proj.weight"]
    mx.eval(tensors)
    mx.save_safetensors(str(folder / "model.safetensors"), tensors)
    with pytest.raises(CheckpointError, match=r"layers\.1\.operator\.qkv_proj\.weight"):
        convert(folder, tmp_path / "target", "f32")
