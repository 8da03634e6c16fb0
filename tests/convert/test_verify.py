"""A folder is verified file by file and by a run; what is wrong is named. Loading sees sizes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import parity
import scenarios
from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import CheckpointError, ConfigError
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.manifest import MANIFEST, read_manifest
from lfm2audio_mlx.weights import FILES
from lfm_convert.convert import convert
from lfm_convert.golden import Steps, compare_with, read_arrays
from lfm_convert.verify import verify

Copy = Callable[[Path], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint in 4 bits; read only."""
    return convert(EMBEDDED, tmp_path_factory.mktemp("verify") / "nano", "4bit")


def faults(folder: Path) -> dict[str, str]:
    return {check.name: check.fault for check in verify(folder) if check.fault}


def test_what_was_just_made_is_whole(made: Path):
    names = [check.name for check in verify(made)]
    assert faults(made) == {}
    assert names[0] == FILES["model"] and names[-1] == "self-test"


def test_the_embedded_checkpoint_is_whole():
    assert faults(EMBEDDED) == {}


@pytest.mark.parametrize("name", [*list(FILES.values())[:2], "tokenizer.json", "NOTICE"])
def test_one_flipped_bit_is_named(made: Path, copy_of: Copy, name: str):
    folder = copy_of(made)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    assert list(faults(folder)) == [name]
    assert "sha256" in faults(folder)[name]


def test_a_missing_a_cut_and_a_strange_file_are_named(made: Path, copy_of: Copy):
    folder = copy_of(made)
    (folder / "NOTICE").unlink()
    (folder / "tokenizer.json").write_bytes(b"{}")
    (folder / "stranger.txt").write_text("hello", "utf-8")
    found = faults(folder)
    assert found.keys() == {"NOTICE", "tokenizer.json", "stranger.txt"}
    assert "missing" in found["NOTICE"] and "has 2 bytes" in found["tokenizer.json"]


def test_another_answer_than_at_conversion_is_a_fault(made: Path, copy_of: Copy):
    folder = copy_of(made)
    data = json.loads((folder / MANIFEST).read_text("utf-8"))
    data["self_test"]["tokens"] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(data), "utf-8")
    assert list(faults(folder)) == ["self-test"]
    data["self_test"]["device"] = "gpu bfloat16"
    (folder / MANIFEST).write_text(json.dumps(data), "utf-8")
    assert faults(folder) == {}


def test_a_folder_without_a_manifest_cannot_be_verified(made: Path, copy_of: Copy):
    folder = copy_of(made)
    (folder / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match=r"manifest\.json: not there"):
        list(verify(folder))
    assert read_manifest(folder) is None


@pytest.mark.parametrize("text", ["", "{}", '{"tool": 3}', "[]"])
def test_a_damaged_manifest_is_named(made: Path, copy_of: Copy, text: str):
    folder = copy_of(made)
    (folder / MANIFEST).write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        list(verify(folder))


def test_loading_compares_digests_when_asked_to(made: Path, copy_of: Copy):
    folder = copy_of(made)
    data = bytearray((folder / "NOTICE").read_bytes())
    data[0] ^= 1
    (folder / "NOTICE").write_bytes(data)
    Engine.load(folder)
    with pytest.raises(CheckpointError, match="NOTICE: damaged: its sha256"):
        Engine.load(folder, digests=True)


def test_what_a_file_browser_leaves_is_no_fault(made: Path, copy_of: Copy):
    folder = copy_of(made)
    (folder / ".DS_Store").write_bytes(b"\0")
    assert faults(folder) == {}


def test_loading_compares_sizes(made: Path, copy_of: Copy):
    folder = copy_of(made)
    with (folder / FILES["mimi"]).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CheckpointError, match=r"mimi\.safetensors: damaged: .* should be"):
        Engine.load(folder)
    (folder / FILES["mimi"]).unlink()
    with pytest.raises(CheckpointError, match=r"mimi\.safetensors: not there"):
        Engine.load(folder)


# Against the reference


@pytest.fixture(scope="module", params=["v1", "v25"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A tiny checkpoint's name, and its golden with the sounds in it."""
    arrays = read_arrays(parity.DATA / "goldens" / f"{request.param}.safetensors")
    for clip in scenarios.ENCODER_CLIPS:
        samples = read_audio(parity.speech(clip), scenarios.SAMPLE_RATE)
        arrays[f"audio.{clip}"] = (samples * 32_768).round().astype(np.int16)
    path = tmp_path_factory.mktemp("golden") / "golden.safetensors"
    save_file(arrays, path)
    return request.param, path


def test_every_stage_agrees_with_the_reference(
    converted: dict[str, Path], golden: tuple[str, Path]
):
    name, path = golden
    results = {result.stage: result for result in compare_with(converted[name], path)}
    wanted = {"encoder", "adapter", "depth frames", "Mimi", "transcription"}
    assert results.keys() == wanted | ({"detokenizer"} if name == "v25" else set())
    assert all(result.good for result in results.values()), [str(r) for r in results.values()]


def test_other_weights_do_not(converted: dict[str, Path], golden: tuple[str, Path], copy_of: Copy):
    name, path = golden
    folder = copy_of(converted[name])
    tensors = load_file(folder / FILES["model"])
    tensors["conformer.layers.0.conv.batch_norm.weight"] *= 1.01
    save_file(tensors, folder / FILES["model"])
    (folder / MANIFEST).unlink()
    results = {result.stage: result for result in compare_with(folder, path)}
    assert not results["encoder"].good
    assert results["Mimi"].good
    assert isinstance(results["transcription"].value, Steps)


def test_a_golden_that_is_none_is_named(converted: dict[str, Path], tmp_path: Path):
    path = tmp_path / "golden.safetensors"
    with pytest.raises(CheckpointError, match=r"golden\.safetensors: no golden"):
        list(compare_with(converted["v1"], path))
    save_file({"unrelated": np.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="nothing to compare"):
        list(compare_with(converted["v1"], path))
    for odd in (
        {"depth.hidden": np.zeros((2, 96), np.float32)},
        {"depth.hidden": np.zeros((2, 5), np.float32), "depth.codes": np.zeros((2, 8), np.int32)},
        {"asr.x": np.zeros((0, 8), np.int32)},
        {"encoder": np.zeros(3, np.float32)},
    ):
        save_file(odd, path)
        with pytest.raises(CheckpointError, match="does not fit this model"):
            list(compare_with(converted["v1"], path))
    save_file({"encoder.here": np.zeros((2, 64), np.float32)}, path)
    with pytest.raises(CheckpointError, match=r"lacks the sound 'audio\.here'"):
        list(compare_with(converted["v1"], path))
