"""Every tensor of an original checkpoint is used, known to be needless, or refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lfm2audio_mlx.errors import CheckpointError, ConfigError
from lfm2audio_mlx.tokens import SPECIAL_TOKEN_NAMES
from lfm_convert.convert import convert
from lfm_convert.original import DETOKENIZER_FOLDER, MIMI_FILE
from lfm_convert.prompts import PROMPTS
from lfm_convert.source import open_source

Copy = Callable[[Path], Path]
Arrays = dict[str, np.ndarray]
MODEL, VOICE = "model.safetensors", f"{DETOKENIZER_FOLDER}/model.safetensors"
INDEX = "model.safetensors.index.json"

BACKBONE = "lfm.layers.0.conv.in_proj.weight"
CODEBOOK = "quantizer.rvq_rest.vq.layers.0._codebook"
PROJECTION = "quantizer.rvq_rest.output_proj.weight"


@pytest.fixture
def v1(originals: dict[str, Path], copy_of: Copy) -> Path:
    return copy_of(originals["v1"])


@pytest.fixture
def v25(originals: dict[str, Path], copy_of: Copy) -> Path:
    return copy_of(originals["v25"])


def edit(path: Path, change: Callable[[Arrays], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file({name: array.copy(order="C") for name, array in tensors.items()}, path)


def reshape(path: Path, name: str, shape: tuple[int, ...]) -> None:
    edit(path, lambda tensors: tensors.update({name: np.ones(shape, np.float32)}))


def refusal(folder: Path) -> str:
    """How a checkpoint is refused, and nothing is written."""
    target = folder.parent / "target"
    with pytest.raises(CheckpointError) as caught:
        convert(folder, target, "f32")
    message = str(caught.value)
    assert "\n" not in message
    assert not target.exists()
    return message


def config_set(folder: Path, section: str, **values: Any) -> None:
    path = folder / "config.json"
    data = json.loads(path.read_text("utf-8"))
    data[section] |= values
    path.write_text(json.dumps(data), "utf-8")


def test_families_follow_the_decoder(originals: dict[str, Path]):
    assert open_source(originals["v1"], None).config.prompts.described_voice
    assert not open_source(originals["v25"], None).config.prompts.described_voice
    chosen = open_source(originals["v25"], "v2.5-jp").config.prompts
    assert chosen.transcribe == PROMPTS["v2.5-jp"]["transcribe"]


def test_parts_are_what_the_folder_holds(originals: dict[str, Path]):
    assert set(open_source(originals["v1"], None).parts) == {"model", "mimi"}
    assert set(open_source(originals["v25"], None).parts) == {"model", "mimi", "detokenizer"}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (MODEL, BACKBONE),
        (MODEL, "conformer.layers.1.conv.batch_norm.running_mean"),
        (MODEL, "depth_linear.bias"),
        (MIMI_FILE, "decoder.model.0.conv.conv.weight"),
        (MIMI_FILE, f"{CODEBOOK}.embedding_sum"),
        (MIMI_FILE, f"{CODEBOOK}.cluster_usage"),
        (MIMI_FILE, PROJECTION),
    ],
)
def test_a_missing_tensor_is_named(v1: Path, file: str, name: str):
    edit(v1 / file, lambda tensors: tensors.pop(name))
    message = refusal(v1)
    assert "missing" in message
    assert name.split(".")[-1] in message and name.split(".")[0] in message


def test_a_missing_tensor_of_the_detokenizer_is_named(v25: Path):
    edit(v25 / VOICE, lambda tensors: tensors.pop("lin.bias"))
    assert "detokenizer: missing tensor 'lin.bias'" in refusal(v25)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (MODEL, "surprise"),
        (MODEL, "lfm.layers.0.surprise.weight"),
        (MIMI_FILE, "surprise"),
        (MIMI_FILE, "decoder.model.0.surprise"),
        (MIMI_FILE, "quantizer.surprise"),
        (MIMI_FILE, "quantizer.rvq_first.surprise.weight"),
        (MIMI_FILE, f"{CODEBOOK}.surprise"),
    ],
)
def test_an_unknown_tensor_is_named(v1: Path, file: str, name: str):
    edit(v1 / file, lambda tensors: tensors.update({name: np.zeros(3, np.float32)}))
    message = refusal(v1)
    assert "unknown" in message and name in message


MISSHAPEN: list[tuple[str, str, tuple[int, ...]]] = [
    (MODEL, BACKBONE, (288, 97)),
    (MODEL, BACKBONE, (288,)),
    (MODEL, BACKBONE, ()),
    (MODEL, "lfm.layers.0.conv.conv.weight", (96, 1, 4)),
    (MODEL, "lfm.layers.0.conv.conv.weight", (96, 2, 3)),
    (MODEL, "lfm.layers.0.conv.conv.weight", (96, 3)),
    (MODEL, "lfm.layers.0.conv.conv.weight", ()),
    (MODEL, "conformer.layers.0.conv.pointwise_conv1.weight", (128, 64, 2)),
    (MODEL, "conformer.layers.0.conv.pointwise_conv1.weight", (128, 64)),
    (MODEL, "conformer.pre_encode.conv.0.weight", (16, 9)),
    (MODEL, "conformer.pre_encode.conv.0.weight", (16, 1, 3, 2)),
    (MIMI_FILE, "decoder.model.0.conv.conv.weight", (128, 7)),
    (MIMI_FILE, "decoder.model.2.convtr.convtr.weight", (128, 64)),
    (MIMI_FILE, "decoder.model.2.convtr.convtr.weight", (128, 16, 64)),
    (MIMI_FILE, "upsample.convtr.convtr.convtr.weight", (48, 1, 3)),
    (MIMI_FILE, "upsample.convtr.convtr.convtr.weight", (48, 2, 4)),
    (MIMI_FILE, f"{CODEBOOK}.embedding_sum", (2047, 24)),
    (MIMI_FILE, f"{CODEBOOK}.embedding_sum", (2048, 25)),
    (MIMI_FILE, f"{CODEBOOK}.embedding_sum", (2048,)),
    (MIMI_FILE, f"{CODEBOOK}.embedding_sum", ()),
    (MIMI_FILE, f"{CODEBOOK}.cluster_usage", (2047,)),
    (MIMI_FILE, f"{CODEBOOK}.cluster_usage", (2048, 2)),
    (MIMI_FILE, PROJECTION, (48, 25, 1)),
    (MIMI_FILE, PROJECTION, (47, 24, 1)),
    (MIMI_FILE, PROJECTION, (48, 24)),
    (MIMI_FILE, PROJECTION, (48, 24, 2)),
]


@pytest.mark.parametrize(("file", "name", "shape"), MISSHAPEN)
def test_a_misshapen_tensor_is_named(v1: Path, file: str, name: str, shape: tuple[int, ...]):
    assert load_file(v1 / file)[name].shape != shape
    reshape(v1 / file, name, shape)
    message = refusal(v1)
    # Ours or the original's name; or, of a codebook, the file.
    assert ".".join(name.split(".")[:3]) in message or MIMI_FILE in message


@pytest.mark.parametrize("file", [MODEL, MIMI_FILE])
def test_a_truncated_file_is_named(v1: Path, file: str):
    (v1 / file).write_bytes((v1 / file).read_bytes()[:-100])
    assert f"{v1 / file}: damaged" in refusal(v1)


def shards(folder: Path) -> dict[str, str]:
    return json.loads((folder / INDEX).read_text("utf-8"))["weight_map"]


def test_a_missing_shard_is_named(v25: Path):
    shard = v25 / max(shards(v25).values())
    shard.unlink()
    assert f"{shard}: not there" in refusal(v25)


def test_a_truncated_shard_is_named(v25: Path):
    shard = v25 / max(shards(v25).values())
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    assert f"{shard}: damaged" in refusal(v25)


def test_a_tensor_that_the_index_names_and_no_shard_holds_is_named(v25: Path):
    places = shards(v25)
    places["lfm.layers.0.lost.weight"] = min(places.values())
    (v25 / INDEX).write_text(json.dumps({"weight_map": places}), "utf-8")
    message = refusal(v25)
    assert INDEX in message and "'lfm.layers.0.lost.weight'" in message


@pytest.mark.parametrize("content", ["{}", "[]", '{"weight_map": []}', '{"weight_map": {"a": 3}}'])
def test_an_index_of_another_form_is_named(v25: Path, content: str):
    (v25 / INDEX).write_text(content, "utf-8")
    with pytest.raises((CheckpointError, ConfigError), match="index"):
        open_source(v25, None)


BUFFERS = {
    MODEL: [
        "codebook_offsets",
        "audio_loss_weights",
        "conformer.layers.0.conv.batch_norm.num_batches_tracked",
        "conformer.pos_enc.pe",
        "lfm.rotary_emb.inv_freq",
        "depthformer.layers.0.operator.freqs_cis",
        "preprocessor.featurizer.window",
        "preprocessor.featurizer.fb",
    ],
    MIMI_FILE: [
        "encoder.model.0.conv.conv.weight",
        "downsample.conv.conv.conv.weight",
        "quantizer.rvq_rest.input_proj.weight",
        f"{CODEBOOK}._initialized",
        f"{CODEBOOK}.inited",
    ],
}


@pytest.mark.parametrize(("file", "name"), [(f, n) for f, names in BUFFERS.items() for n in names])
def test_a_known_buffer_is_passed_over(v1: Path, originals: dict[str, Path], file: str, name: str):
    edit(v1 / file, lambda tensors: tensors.update({name: np.zeros(5, np.float32)}))
    part = "model" if file == MODEL else "mimi"
    plain = open_source(originals["v1"], None).parts[part]
    assert open_source(v1, None).parts[part].keys() == plain.keys()


def test_both_spellings_of_the_codecs_names_are_the_same_codec(v1: Path):
    def modern(name: str) -> str:
        for old, new in SPELLINGS.items():
            name = name.replace(old, new)
        return name

    before = open_source(v1, None).parts["mimi"]
    mx.eval(before)
    tensors = load_file(v1 / MIMI_FILE)
    renamed = {modern(name): array for name, array in tensors.items()}
    assert len(renamed.keys() - tensors.keys()) > 3 * len(SPELLINGS)
    save_file(renamed, v1 / MIMI_FILE)
    after = open_source(v1, None).parts["mimi"]
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(np.array(array), np.array(after[name]))


SPELLINGS = {
    "in_proj_weight": "in_projs.0.weight",
    "self_attn.out_proj.weight": "self_attn.out_projs.0.weight",
    "_codebook.embedding_sum": "_codebook.embed_sum",
    "_codebook.cluster_usage": "_codebook.cluster_size",
}


def test_codebooks_are_means_through_their_projection(originals: dict[str, Path]):
    tensors = load_file(originals["v1"] / MIMI_FILE)
    table = np.array(open_source(originals["v1"], None).parts["mimi"]["quantizer.weight"])
    for number, half, index in ((0, "first", 0), (1, "rest", 0), (7, "rest", 6)):
        codebook = f"quantizer.rvq_{half}.vq.layers.{index}._codebook"
        usage = np.maximum(tensors[f"{codebook}.cluster_usage"], 1e-5)
        means = tensors[f"{codebook}.embedding_sum"] / usage[:, None]
        wanted = means @ tensors[f"quantizer.rvq_{half}.output_proj.weight"][..., 0].T
        found = table[2048 * number : 2048 * (number + 1)]
        scale = float(np.abs(wanted).max())
        np.testing.assert_allclose(found, wanted, atol=1e-5 * scale)  # float32 sums of 24


def test_an_end_token_that_is_not_the_tokenizers_is_refused(v1: Path):
    config_set(v1, "lfm", eos_token_id=6)
    with pytest.raises(ConfigError, match=r"eos_token_id 6 .*<\|im_end\|>, 7"):
        open_source(v1, None)


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused(v1: Path):
    config_set(v1, "lfm", vocab_size=1023)
    with pytest.raises(ConfigError, match="vocab_size 1023 is less"):
        open_source(v1, None)


def test_a_missing_tokenizer_is_named(v1: Path):
    (v1 / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not there"):
        open_source(v1, None)


def test_a_tokenizer_without_a_special_token_is_refused(v1: Path):
    name = SPECIAL_TOKEN_NAMES["audio_start"]
    path = v1 / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace(name, "<|other|>"), "utf-8")
    with pytest.raises(CheckpointError, match="audio_start"):
        open_source(v1, None)


def test_a_folder_without_a_decoder_is_refused(v1: Path):
    (v1 / MIMI_FILE).unlink()
    with pytest.raises(ConfigError, match="neither mimi nor detokenizer"):
        open_source(v1, None)


def test_what_is_no_folder_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="is not a folder"):
        open_source(tmp_path / "no", None)
    with pytest.raises(ConfigError, match=r"config\.json: not there"):
        open_source(tmp_path, None)


def test_a_converted_folder_is_a_source_too(converted: dict[str, Path]):
    source = open_source(converted["v1"], "v2.5")
    assert set(source.parts) == {"model", "mimi"}
    assert source.config.prompts.speak == PROMPTS["v2.5"]["speak"]
