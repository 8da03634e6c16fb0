"""Fixtures that many tests share: tiny checkpoints written once, loaded once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import soundfile
from hypothesis import settings

import checkpoints
from lfm2audio_mlx.config import read_config
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.manifest import MANIFEST
from lfm2audio_mlx.weights import FILES, open_tensors
from lfm_convert.convert import convert

DATA = Path(__file__).parent / "data"
RECORDINGS = DATA / "recordings"

# How long a draw takes says nothing but how busy the machine is.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def transcripts() -> dict[Path, str]:
    """The held-out recordings and what they say."""
    entries = json.loads((RECORDINGS / "transcripts.json").read_text("utf-8"))
    return {RECORDINGS / entry["file"]: entry["text"] for entry in entries}


@pytest.fixture(scope="session")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question to which the embedded checkpoint says nothing; a shorter one it answers."""
    path = tmp_path_factory.mktemp("silence") / "silence.wav"
    soundfile.write(path, np.zeros(5 * 16_000), 16_000)
    return path


@pytest.fixture(scope="session")
def nano() -> Engine:
    """The embedded checkpoint in float32; do not change it."""
    return Engine.load(dtype="float32")


@pytest.fixture(scope="session")
def unrounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded checkpoint as it may have been before it was rounded, in float32: each weight
    is drawn from what would have been rounded to it. Else to quantise it would be no loss."""
    folder = convert(EMBEDDED, tmp_path_factory.mktemp("unrounded") / "nano", "f32")
    mx.random.seed(0)
    for part in ("model", "mimi"):
        weights, stored = open_tensors(folder / FILES[part]), open_tensors(EMBEDDED / FILES[part])
        mx.eval(weights)  # before the file is written anew
        for name, entry in read_config(EMBEDDED).quantization.items():
            owner, _, layer = name.partition(".")
            if owner == part:
                step = mx.repeat(stored[f"{layer}.scales"], entry.group_size, axis=1)
                weight = weights[f"{layer}.weight"]
                weights[f"{layer}.weight"] = weight + step * mx.random.uniform(
                    -0.5, 0.5, weight.shape
                )
        mx.save_safetensors(str(folder / FILES[part]), weights)
    (folder / MANIFEST).unlink()  # these are other files than it lists
    return folder


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random checkpoints in the original layout, by name; read only."""
    folders = {name: tmp_path_factory.mktemp("original") / name for name in checkpoints.NAMES}
    for name, folder in folders.items():
        checkpoints.write_checkpoint(name, folder, DATA / "tokenizer")
    return folders


@pytest.fixture(scope="session")
def converted(originals: dict[str, Path], tmp_path_factory: pytest.TempPathFactory):
    """The same, converted in float32; read only."""
    place = tmp_path_factory.mktemp("converted")
    return {name: convert(folder, place / name, "f32") for name, folder in originals.items()}


@pytest.fixture(scope="session")
def engines(converted: dict[str, Path]) -> dict[str, Engine]:
    """And loaded; do not change them."""
    return {name: Engine.load(folder) for name, folder in converted.items()}


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a checkpoint folder to where a test may damage it."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / f"copy-of-{folder.name}"))

    return copy
