"""A converted folder is loaded whole or refused by name: file, tensor and what is wrong."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten
from safetensors.numpy import load_file, save_file

from lfm2audio_mlx import layout
from lfm2audio_mlx.errors import CheckpointError, ConfigError
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.manifest import MANIFEST
from lfm2audio_mlx.models.conformer import relative_positions
from lfm2audio_mlx.models.detokenizer import Detokenizer
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.models.mimi import Mimi
from lfm2audio_mlx.weights import FILES, build, fill, load, open_tensors
from lfm_convert.convert import convert

Copy = Callable[[Path], Path]
MODEL, MIMI = FILES["model"], FILES["mimi"]
NORM = "lfm.embedding_norm.weight"


@pytest.fixture(scope="module")
def quantised(originals: dict[str, Path], tmp_path_factory: pytest.TempPathFactory):
    """The v1 checkpoint in 8 and in 4 bits; read only."""
    place = tmp_path_factory.mktemp("quantised")
    return {bits: convert(originals["v1"], place / bits, bits) for bits in ("8bit", "4bit")}


@pytest.fixture
def copy_of(copy_of: Copy) -> Copy:
    """Without the manifest, whose sizes would tell first that a file was changed."""

    def copy(folder: Path) -> Path:
        made = copy_of(folder)
        (made / MANIFEST).unlink()
        return made

    return copy


@pytest.fixture
def folder(converted: dict[str, Path], copy_of: Copy) -> Path:
    """The v1 checkpoint in float32, to be damaged."""
    return copy_of(converted["v1"])


def refusal(folder: Path, kind: type[Exception] = CheckpointError) -> str:
    with pytest.raises(kind) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit(path: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file({name: array.copy(order="C") for name, array in tensors.items()}, path)


def record_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text("utf-8"))["quantization"]


def set_record(folder: Path, name: str, entry: dict[str, int] | None) -> None:
    """Change or remove one layer's entry."""
    path = folder / "config.json"
    data = json.loads(path.read_text("utf-8"))
    data["quantization"].pop(name, None)
    if entry:
        data["quantization"][name] = entry
    path.write_text(json.dumps(data), "utf-8")


def layers(module: nn.Module) -> dict[str, Any]:
    return dict(module.named_modules())


def floats(module: nn.Module) -> set[mx.Dtype]:
    arrays = dict[str, Any](tree_flatten(module.parameters())).values()
    return {array.dtype for array in arrays if mx.issubdtype(array.dtype, mx.floating)}


def test_the_embedded_checkpoint_loads():
    checkpoint = load(EMBEDDED)
    assert isinstance(checkpoint.codec, Mimi) and checkpoint.config.codebook_size == 512


def test_v1_speaks_through_mimi_and_v25_through_its_detokenizer(converted: dict[str, Path]):
    assert isinstance(load(converted["v1"]).codec, Mimi)
    v25 = converted["v25"]
    assert (v25 / FILES["mimi"]).exists() and (v25 / FILES["detokenizer"]).exists()
    assert isinstance(load(v25).codec, Detokenizer)


PARTS = {
    "w13": ("w1", "w3"),
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "linear_qkv": ("linear_q", "linear_k", "linear_v"),
}
"""Layers that are one in memory, for those that read the same input."""
JOINED = {part: whole for whole, parts in PARTS.items() for part in parts}
FOLDED = (
    r"conformer\..*(batch_norm|depthwise_conv|linear_[qkv]\.bias|linear_out\.bias|pos_bias_[uv])"
)
"""Weights that go into others; `test_what_is_folded_into_other_weights_is_the_same` has them."""


def test_every_weight_is_the_files(converted: dict[str, Path]):
    read: set[str] = set()
    loaded = dict(tree_flatten(load(converted["v1"]).model.parameters()))
    stored = load_file(converted["v1"] / MODEL)
    for name, array in stored.items():
        if re.search(FOLDED, name):
            loaded.pop(name, None)
            continue
        layer = re.sub(r"\b([qkv]_proj|w1|w3|linear_[qkv])\b", lambda part: JOINED[part[0]], name)
        if layer == name:
            np.testing.assert_array_equal(np.array(loaded.pop(name)), array)
            continue
        whole = np.array(loaded[layer])
        # Rows of the first part, then of the next.
        parts = [
            stored[name.replace(name.split(".")[-2], part)] for part in PARTS[layer.split(".")[-2]]
        ]
        np.testing.assert_array_equal(whole, np.concatenate(parts))
        read.add(layer)
    assert loaded.keys() - read == {n for n in loaded if n.endswith("head_weights")}


@pytest.mark.parametrize("part", ["conv", "self_attn"])
def test_what_is_folded_into_other_weights_is_the_same(converted: dict[str, Path], part: str):
    checkpoint = load(converted["v1"])
    plain = cast(Lfm2Audio, build(checkpoint.config, "model"))
    fill(plain, open_tensors(converted["v1"] / MODEL), "model")
    plain.eval()
    before, folded = (m.conformer.layers[0] for m in (plain, checkpoint.model))
    assert set(folded[part].parameters()) < set(before[part].parameters()) | {"linear_qkv"}
    x = mx.random.normal((1, 20, checkpoint.config.conformer.d_model), key=mx.random.key(0))
    rest = (relative_positions(20, x.shape[-1]),) if part == "self_attn" else ()
    wanted = before[part](x, before.norm_conv, *rest) - x
    got = folded[part](x, before.norm_conv, *rest) - x
    # The same sums in another order, in float32.
    assert np.abs(got - wanted).max() < 2e-5 * np.abs(wanted).max()


def test_batch_norm_does_not_learn(converted: dict[str, Path]):
    assert not any(module.training for module in layers(load(converted["v1"]).model).values())


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_the_type_can_be_chosen(converted: dict[str, Path], name: str):
    checkpoint = load(converted["v1"], name)
    assert isinstance(checkpoint.codec, Mimi)
    assert floats(checkpoint.model) == {getattr(mx, name)}
    assert floats(checkpoint.codec) == {mx.float32}


def test_on_the_cpu_the_type_is_float32_and_else_the_stored_one():
    stored = mx.bfloat16 if mx.default_device() == mx.Device(mx.gpu) else mx.float32
    assert floats(load(EMBEDDED).model) == {stored}


@pytest.mark.parametrize("file", [MODEL, MIMI, "config.json"])
def test_a_missing_file_is_named(folder: Path, file: str):
    (folder / file).unlink()
    message = refusal(folder, ConfigError if file.endswith(".json") else CheckpointError)
    assert f"{folder / file}: not there" in message


def test_a_missing_folder_is_named(tmp_path: Path):
    assert str(tmp_path / "no") in refusal(tmp_path / "no", ConfigError)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("file", [MODEL, MIMI])
def test_a_truncated_file_is_named(folder: Path, file: str, share: float):
    path = folder / file
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert f"{path}: damaged" in refusal(folder)


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 500, -1])
def test_a_file_cut_in_its_header_or_last_byte_is_named(folder: Path, cut: int):
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:cut])
    assert f"{folder / MODEL}: damaged" in refusal(folder)


@pytest.mark.parametrize("seed", range(5))
def test_garbage_is_refused(folder: Path, seed: int):
    (folder / MODEL).write_bytes(random.Random(seed).randbytes(10_000))
    assert f"{folder / MODEL}: damaged" in refusal(folder)


@pytest.mark.parametrize("size", [2**64 - 1, 2**63, 2**40, 200_000_000])
def test_a_header_that_claims_to_be_huge_is_refused(folder: Path, size: int):
    path = folder / MODEL
    path.write_bytes(size.to_bytes(8, "little") + path.read_bytes()[8:])
    assert f"{path}: damaged" in refusal(folder)


HEADERS = {
    "beyond the end": {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
    "backwards": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}},
    "other length": {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
    "no such type": {"a": {"dtype": "X32", "shape": [2], "data_offsets": [0, 8]}},
    "below zero": {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
    "no object": [],
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_lying_header_is_refused(tmp_path: Path, name: str):
    header = json.dumps(HEADERS[name]).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(CheckpointError, match=r"a\.safetensors: damaged"):
        open_tensors(path)


def test_missing_tensors_are_named(folder: Path):
    edit(folder / MODEL, lambda tensors: tensors.pop(NORM))
    message = refusal(folder)
    assert str(folder / MODEL) in message and f"missing tensor '{NORM}'" in message


def test_many_missing_tensors_are_counted(folder: Path):
    edit(folder / MODEL, lambda tensors: [tensors.pop(name) for name in sorted(tensors)[:9]])
    assert "and 5 more" in refusal(folder)


def test_an_unknown_tensor_is_named(folder: Path):
    edit(folder / MIMI, lambda tensors: tensors.update(surprise=np.zeros(3, np.float32)))
    message = refusal(folder)
    assert str(folder / MIMI) in message and "unknown tensor 'surprise'" in message


@pytest.mark.parametrize("shape", [(95,), (96, 1), (1, 96), (0,), ()])
def test_a_misshapen_tensor_is_named_with_both_shapes(folder: Path, shape: tuple[int, ...]):
    edit(folder / MODEL, lambda tensors: tensors.update({NORM: np.ones(shape, np.float32)}))
    message = refusal(folder)
    assert str(folder / MODEL) in message and f"'{NORM}' has shape {shape}" in message
    assert "(96,)" in message


def test_a_config_of_another_size_names_a_tensor(folder: Path):
    path = folder / "config.json"
    data = json.loads(path.read_text("utf-8"))
    data["lfm"]["ff_dim"] *= 2
    path.write_text(json.dumps(data), "utf-8")
    assert "feed_forward" in refusal(folder)


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_recorded_layers_have_the_recorded_bits_and_no_other_is_quantised(
    quantised: dict[str, Path], bits: str
):
    record = record_of(quantised[bits])
    assert {entry["bits"] for entry in record.values()} == ({8} if bits == "8bit" else {4, 6, 8})
    for path, layer in layers(load(quantised[bits], unpack=False).model).items():
        *above, last = f"model.{path}".split(".")
        names = [".".join([*above, part]) for part in PARTS.get(last, ())]
        entry = record.get(f"model.{path}") or record.get((names or [""])[0])
        quantisable = isinstance(layer, nn.QuantizedLinear | nn.QuantizedEmbedding)
        assert quantisable == (entry is not None), path
        if entry:
            assert (layer.bits, layer.group_size) == (entry["bits"], entry["group_size"])


def test_linear_layers_of_the_backbone_are_quantised(quantised: dict[str, Path]):
    layer = layers(load(quantised["4bit"], unpack=False).model)["lfm.layers.0.feed_forward.w13"]
    assert isinstance(layer, nn.QuantizedLinear) and layer.bits == 4


def test_a_cpu_unpacks_what_it_has_memory_for(
    quantised: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    """Whoever wants the stored weights, or has no room for others, gets them."""

    def kinds(**wishes: Any) -> set[bool]:
        found = load(quantised["4bit"], **wishes)
        parts = [*layers(found.model).values(), *layers(cast(Any, found.codec)).values()]
        plain = {not isinstance(p, nn.QuantizedLinear | nn.QuantizedEmbedding) for p in parts}
        assert found.unpacked == (plain == {True})
        return plain

    usual = {True} if mx.default_device() == mx.Device(mx.cpu) else {True, False}
    assert kinds() == usual
    assert kinds(dtype="bfloat16") == kinds(unpack=False) == {True, False}
    monkeypatch.setattr(layout, "MEMORY_SHARE", 0.0)
    assert kinds() == {True, False}
    assert kinds(unpack=True) == {True}


def test_unpacked_weights_are_the_stored_ones(quantised: dict[str, Path]):
    packed, plain = (load(quantised["4bit"], "float32", unpack=wish) for wish in (False, True))
    ids = mx.array([[5, 6, 7]])
    one, _ = packed.model.lfm(packed.model.embed_text(ids))
    other, _ = plain.model.lfm(plain.model.embed_text(ids))
    # The same float32 products, summed in another order.
    assert np.abs(one - other).max() < 1e-5 * np.abs(one).max()


LAYER = "model.lfm.layers.0.feed_forward.w1"


def test_a_record_of_a_layer_that_does_not_exist_is_refused(
    quantised: dict[str, Path], copy_of: Copy
):
    folder = copy_of(quantised["4bit"])
    set_record(folder, "model.lfm.layers.99.feed_forward.w1", {"bits": 4, "group_size": 32})
    with pytest.raises((CheckpointError, ConfigError), match=r"layers\.99"):
        load(folder)


def test_a_record_of_a_part_that_does_not_exist_is_refused(
    quantised: dict[str, Path], copy_of: Copy
):
    folder = copy_of(quantised["4bit"])
    set_record(folder, "surprise.w1", {"bits": 4, "group_size": 32})
    with pytest.raises((CheckpointError, ConfigError), match=r"surprise"):
        load(folder)


@pytest.mark.parametrize(
    "entry",
    [
        {"bits": 8, "group_size": 32},
        {"bits": 4, "group_size": 64},
        {"bits": 7, "group_size": 32},
        {"bits": 0, "group_size": 32},
        {"bits": 4, "group_size": 33},
        None,
    ],
)
def test_a_record_that_the_stored_shapes_contradict_is_refused(
    quantised: dict[str, Path], copy_of: Copy, entry: dict[str, int] | None
):
    folder = copy_of(quantised["4bit"])
    assert record_of(folder)[LAYER] == {"bits": 4, "group_size": 32}
    set_record(folder, LAYER, entry)
    with pytest.raises((CheckpointError, ConfigError), match=r"layers\.0\.feed_forward\.w1"):
        load(folder)


def test_a_group_of_nothing_is_refused_and_does_not_end_the_process(
    quantised: dict[str, Path], copy_of: Copy
):
    folder = copy_of(quantised["4bit"])
    set_record(folder, LAYER, {"bits": 4, "group_size": 0})
    code = "import sys, pathlib, lfm2audio_mlx.weights as w; w.load(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.returncode  # below 0: killed by a signal
    assert "ConfigError" in done.stderr or "CheckpointError" in done.stderr


def test_a_record_for_weights_that_are_not_quantised_is_refused(folder: Path):
    set_record(folder, LAYER, {"bits": 4, "group_size": 32})
    assert "layers.0.feed_forward.w1" in refusal(folder)


def test_a_record_of_a_layer_that_cannot_be_quantised_is_refused(
    quantised: dict[str, Path], copy_of: Copy
):
    folder = copy_of(quantised["4bit"])
    set_record(folder, "model.lfm.embedding_norm", {"bits": 4, "group_size": 32})
    with pytest.raises((CheckpointError, ConfigError), match="embedding_norm"):
        load(folder)


def test_the_damage_in_one_part_does_not_matter_to_another(
    converted: dict[str, Path], copy_of: Copy
):
    """v25 speaks through the detokenizer; its Mimi may be gone."""
    folder = copy_of(converted["v25"])
    (folder / MIMI).unlink()
    assert isinstance(load(folder).codec, Detokenizer)


def test_any_header_is_read_or_refused(folder: Path):
    """Whatever a header says of names, types, shapes and places: an answer, never a crash."""
    path = folder / MIMI
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, rest = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    names = sorted(name for name in header if name != "__metadata__")
    numbers = st.integers(-1, 1 << 66) | st.integers(-1, 100)
    values = st.one_of(
        st.fixed_dictionaries({"dtype": st.sampled_from(["F32", "F64", "BF16", "I8", "X", ""])}),
        st.fixed_dictionaries({"shape": st.lists(numbers, max_size=4)}),
        st.fixed_dictionaries({"data_offsets": st.lists(numbers, max_size=3)}),
        st.fixed_dictionaries({"shape": st.text() | st.none()}),
    )

    @given(st.sampled_from(names), values, st.integers(-8, 8))
    @settings(max_examples=120)
    def check(name: str, value: dict[str, Any], shift: int):
        changed = header | {name: header[name] | value}
        text = json.dumps(changed).encode()
        path.write_bytes((len(text) + shift).to_bytes(8, "little") + text + rest)
        try:
            load(folder)
        except CheckpointError as error:
            assert MIMI in str(error) and "\n" not in str(error)

    check()
