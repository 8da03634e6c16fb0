"""What is written has every tensor of what was opened; what was trained arrives in the engine."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map
from safetensors import safe_open

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import CheckpointError, ConfigError, RequestError
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.weights import FILES, open_tensors
from lfm_convert.convert import convert
from lfm_train.original import Original, open_original, save_original

NAMES = ("v1", "v25")
BUFFERS = ("codebook_offsets", "audio_loss_weights", "num_batches_tracked")
UNUSED = "audio_embedding.embedding_norm.weight"
"""What inference never reads, so that training does not change it."""
OWN_HEAD = "audio_embedding.to_logits.weight"
"""As well, but in "v1" it is its embedding."""


@pytest.fixture(params=NAMES)
def original(originals: dict[str, Path], request: pytest.FixtureRequest) -> Original:
    """One of a test's own."""
    return open_original(originals[request.param])


def stored(folder: Path) -> dict[str, np.ndarray]:
    """All tensors of the language model, as they are in the files."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return found


def other_files(folder: Path) -> dict[str, bytes]:
    """All but the language model's weights."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path not in list(folder.glob("model*.safetensors"))
    }


def parameters(original: Original) -> dict[str, mx.array]:
    """By our names."""
    return cast(dict[str, mx.array], dict(tree_flatten(original.model.parameters())))


def trained(original: Original) -> None:
    """Every weight another."""
    original.model.update(tree_map(lambda weight: weight * 1.25, original.model.parameters()))


# There and back


def test_every_tensor_comes_back(original: Original, tmp_path: Path):
    save_original(original, tmp_path / "again")
    before, after = stored(original.folder), stored(tmp_path / "again")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert (after[name].shape, after[name].dtype) == (tensor.shape, tensor.dtype), name
        assert after[name].tobytes() == tensor.tobytes(), name


def test_each_file_keeps_its_own(original: Original, tmp_path: Path):
    """Names, and what says which framework they are for; all other files byte for byte."""
    save_original(original, tmp_path / "again")
    for path in original.folder.glob("model*.safetensors"):
        with (
            safe_open(path, framework="numpy") as before,
            safe_open(tmp_path / "again" / path.name, framework="numpy") as after,
        ):
            assert set(before.keys()) == set(after.keys())
            assert before.metadata() == after.metadata()
    assert other_files(original.folder) == other_files(tmp_path / "again")
    names = {path.name for path in original.folder.iterdir()}
    assert {path.name for path in (tmp_path / "again").iterdir()} == names


def test_what_is_written_opens_again(original: Original, tmp_path: Path):
    trained(original)
    save_original(original, tmp_path / "again")
    again = parameters(open_original(tmp_path / "again"))
    for name, weight in parameters(original).items():
        assert mx.array_equal(weight, again[name]), name


def test_training_changes_all_but_what_it_does_not_touch(original: Original, tmp_path: Path):
    before = stored(original.folder)
    trained(original)
    save_original(original, tmp_path / "again")
    after = stored(tmp_path / "again")
    same = {name for name in before if before[name].tobytes() == after[name].tobytes()}
    untouched = {name for name in before if name.endswith((*BUFFERS, UNUSED))}
    untouched |= {OWN_HEAD} if original.folder.name == "v25" else set()
    assert same == untouched and untouched
    for name in before.keys() - untouched:
        assert np.array_equal(after[name], before[name] * np.float32(1.25)), name


def test_the_opened_checkpoint_is_left_as_it_is(original: Original, tmp_path: Path):
    before = {path: path.read_bytes() for path in original.folder.rglob("*") if path.is_file()}
    trained(original)
    save_original(original, tmp_path / "again")
    assert all(path.read_bytes() == content for path, content in before.items())


def test_half_precision_stays_half(originals: dict[str, Path], tmp_path: Path):
    """As the published checkpoints are: what was not trained is not rounded, what was is once."""
    folder = Path(shutil.copytree(originals["v1"], tmp_path / "half"))
    path = folder / "model.safetensors"
    tensors = dict(open_tensors(path))
    halves = {k: v.astype(mx.bfloat16) if v.dtype == mx.float32 else v for k, v in tensors.items()}
    mx.eval(halves)
    path.unlink()
    mx.save_safetensors(str(path), halves, {"format": "pt"})
    original = open_original(folder)
    assert {weight.dtype for weight in parameters(original).values()} == {mx.float32}
    save_original(original, tmp_path / "again")
    again = open_tensors(tmp_path / "again" / "model.safetensors")
    for name, tensor in open_tensors(path).items():
        assert again[name].dtype == tensor.dtype, name
        assert mx.array_equal(again[name], tensor), name
    name = "lfm.layers.0.conv.in_proj.weight"
    weight = original.model.lfm.layers[0].conv.in_proj.weight
    original.model.lfm.layers[0].conv.in_proj.weight = 1.001 * weight
    save_original(original, tmp_path / "trained")
    after = open_tensors(tmp_path / "trained" / "model.safetensors")[name]
    assert mx.array_equal(after, (1.001 * weight).astype(mx.bfloat16))


# In the engine


@pytest.fixture(scope="module")
def served(originals: dict[str, Path], tmp_path_factory: pytest.TempPathFactory):
    """Checkpoints with other weights, and what the converter makes of them."""
    place = tmp_path_factory.mktemp("served")

    def serve(name: str) -> tuple[Original, Path]:
        original = open_original(originals[name])
        trained(original)
        save_original(original, place / name)
        return original, convert(place / name, place / f"{name}-converted", "f32")

    return {name: serve(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_changed_weights_arrive_through_the_converter(served, name: str):
    original, folder = served[name]
    tensors = open_tensors(folder / FILES["model"])
    ours = parameters(original)
    assert tensors.keys() == ours.keys()
    for key, weight in ours.items():
        assert mx.array_equal(tensors[key], weight), key


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_says_what_was_trained(served, engines: dict[str, Engine], name: str):
    """Its logits are those of the model that learnt, and no longer those of the one before."""
    original, folder = served[name]
    ids = mx.array([[1, 6, 300, 301, 302]])

    def logits(model) -> np.ndarray:
        return np.array(model.text_logits(model.lfm(model.embed_text(ids))[0]))

    ours, theirs = logits(original.model), logits(Engine.load(folder).model)
    # The engine joins projections that training keeps apart: float32 sums over other shapes.
    assert np.abs(theirs - ours).max() < 1e-5 * np.abs(ours).max()
    assert np.abs(logits(engines[name].model) - ours).max() > 0.1 * np.abs(ours).max()


# Refusals


def test_nothing_is_overwritten(original: Original, tmp_path: Path):
    (tmp_path / "there").mkdir()
    with pytest.raises(RequestError, match="there: exists already"):
        save_original(original, tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_converted_folder_is_refused(converted: dict[str, Path], name: str):
    with pytest.raises(CheckpointError, match="was converted; training needs the original"):
        open_original(converted[name])


def test_so_is_the_embedded_checkpoint():
    with pytest.raises(CheckpointError, match="was converted"):
        open_original(EMBEDDED)


def test_a_damaged_checkpoint_is_not_written_half(
    originals: dict[str, Path], copy_of: Callable[[Path], Path], tmp_path: Path
):
    """Nothing appears; what an earlier attempt left is no obstacle."""
    folder = copy_of(originals["v25"])
    original = open_original(folder)
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        save_original(original, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    shard.write_bytes(whole)
    save_original(original, tmp_path / "again")
    assert stored(tmp_path / "again").keys() == stored(folder).keys()
    assert not list(tmp_path.glob(".*"))


def test_it_is_told_which_file_is_at_fault(copy_of: Callable[[Path], Path], originals):
    folder = copy_of(originals["v1"])
    data = json.loads((folder / "config.json").read_text("utf-8"))
    del data["codebooks"]
    (folder / "config.json").write_text(json.dumps(data), "utf-8")
    with pytest.raises(ConfigError, match=r"config.json: key 'codebooks'"):
        open_original(folder)
