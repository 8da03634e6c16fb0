"""Random tiny checkpoints in the original LFM2-Audio layout, the same bytes on every machine.

The configs are the files in ``layouts/``. ``v1`` speaks through Mimi and is one file; ``v25``
differs from it in every size, holds both decoders and is sharded. Every tensor is random, so that
a norm, bias or statistic that is not applied shows.
"""

import hashlib
import json
import math
import shutil
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from checkpoint_tensors import (
    CODES,
    TEXT,
    Config,
    Tensor,
    Tensors,
    detokenizer_tensors,
    mimi_tensors,
    model_tensors,
)

__all__ = ["NAMES", "digest", "write_checkpoint"]

NAMES = ("v1", "v25")
LAYOUTS = Path(__file__).parent / "layouts"
MODEL_FILE = "model.safetensors"
MIMI_FILE = "tokenizer-e351c8d8-checkpoint125.safetensors"
DETOKENIZER_FOLDER = "audio_detokenizer"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
SHARDS = {"v1": 1, "v25": 2}
# The published Mimi has attention weights under older names than the reference's modules.
PUBLISHED_MIMI_NAMES = {
    "self_attn.in_projs.0.weight": "self_attn.in_proj_weight",
    "self_attn.out_projs.0.weight": "self_attn.out_proj.weight",
}
TOKENS = 1024  # of the tokenizer; a vocabulary may have more rows

Arrays = dict[str, np.ndarray]


class Row(NamedTuple):
    """What one row of a table gets instead of its own: `gain` times a row drawn with `salt`."""

    gain: float
    salt: int = 0


# Rows that steer greedy generation. A gain near zero is never chosen. Those with a salt were
# searched for, so that generation meets them at natural places (see the README).
ROWS: dict[str, dict[str, dict[int, Row]]] = {
    "v1": {
        TEXT: {7: Row(0.1), 128: Row(1.5, 687), 130: Row(1.5, 875)},
        "depth_embeddings.0.embedding.weight": {2048: Row(2.0, 990)},
    },
    "v25": {
        TEXT: {7: Row(0.1), 128: Row(1.3, 299), 130: Row(1.4, 210)},
        "depth_embeddings.0.to_logits.weight": {2048: Row(2.25, 349)},
    },
}


def write_checkpoint(name: str, folder: Path, tokenizer: Path) -> None:
    """Write checkpoint `name` into `folder`, with the tokenizer files of folder `tokenizer`."""
    shutil.copytree(LAYOUTS / name, folder, dirs_exist_ok=True)
    for file in TOKENIZER_FILES:
        shutil.copyfile(tokenizer / file, folder / file)
    config = _read(folder / "config.json")
    model = _draw_all(name, model_tensors(config))
    model |= _model_buffers(config) | _tied_copies(config, model)
    _save_shards(model, folder, SHARDS[name])
    mimi = _draw_all(name, mimi_tensors(_read(folder / "mimi_config.json")))
    if name == "v1":
        mimi = {_published(key): value for key, value in mimi.items()}
    _save(mimi, folder / MIMI_FILE)
    if (folder / DETOKENIZER_FOLDER).exists():
        config = _read(folder / DETOKENIZER_FOLDER / "config.json")
        part = f"{name}/{DETOKENIZER_FOLDER}"
        tensors = _draw_all(part, detokenizer_tensors(config)) | _detokenizer_buffers()
        _save(tensors, folder / DETOKENIZER_FOLDER / MODEL_FILE)


def digest(folder: Path) -> str:
    """sha256 of every tensor's file, name and bytes: a drift of the random streams changes it."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*.safetensors")):
        for name, array in sorted(load_file(file).items()):
            total.update(f"{file.relative_to(folder).as_posix()}:{name}:{array.dtype}".encode())
            total.update(array.tobytes())
    return total.hexdigest()


# Drawing. Only uniform numbers, sums, products and square roots: exact on every platform, where a
# logarithm (as in numpy's normal) may differ in its last bit.


def _draw_all(name: str, tensors: Tensors) -> Arrays:
    arrays: Arrays = {}
    for tensor in tensors:
        key = f"{name}/{tensor.name}"
        array = _DRAW[tensor.kind](_stream(key), tensor.shape) * tensor.gain
        for index, row in _rows(name, tensor).items():
            drawn = _bell(_stream(f"{key}/{index}/{row.salt}"), tensor.shape[1:])
            array[index] = drawn * tensor.gain * row.gain
        arrays[tensor.name] = np.ascontiguousarray(array, dtype=np.float32)
    return arrays


def _rows(name: str, tensor: Tensor) -> dict[int, Row]:
    rows = dict(ROWS.get(name, {}).get(tensor.name, {}))
    if tensor.name == TEXT:
        rows |= {index: Row(0.1) for index in range(TOKENS, tensor.shape[0])}
    elif tensor.kind == "table" and tensor.shape[0] == CODES:
        rows = {2048: Row(0.0)} | rows  # only codebook 0 may end the audio
    return rows


def _stream(key: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(key.encode()))


def _bell(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Mean 0, standard deviation 1, within 3: a sum of three uniform numbers."""
    total = rng.random_sample(shape)
    total += rng.random_sample(shape)
    total += rng.random_sample(shape)
    return 2.0 * (total - 1.5)


def _weight(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return _bell(rng, shape) / math.sqrt(math.prod(shape[1:]))


def _table(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Rows of unequal length: wide gaps between the best and the second-best logit."""
    return _bell(rng, shape) * (0.4 + 1.2 * rng.random_sample((shape[0], 1)))


def _usage(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """0.5 to 2, and every sixteenth below the floor of 1e-5 that a codebook clamps it to."""
    usage = 0.5 + 1.5 * rng.random_sample(shape)
    usage[5::16] *= 1e-6
    return usage


def _sums(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Sums of code vectors that are of size 1 once divided by the clamped usage."""
    sums = _table(rng, shape)
    sums[5::16] *= 1e-5
    return sums


_DRAW = {
    "weight": _weight,
    "table": _table,
    "bias": lambda rng, shape: 0.1 * _bell(rng, shape),
    "norm": lambda rng, shape: 1.0 + 0.2 * _bell(rng, shape),
    "variance": lambda rng, shape: 0.5 + rng.random_sample(shape),
    "usage": _usage,
    "sums": _sums,
    "one": lambda rng, shape: np.ones(shape),
}


# What a real file holds beside its parameters.


def _model_buffers(config: Config) -> Arrays:
    """Buffers that the reference rebuilds or never uses in inference."""
    buffers: Arrays = {"codebook_offsets": np.arange(config["codebooks"]) * CODES}
    buffers["audio_loss_weights"] = np.linspace(1, 0.01, config["codebooks"]).astype(np.float32)
    for i in range(config["encoder"]["n_layers"]):
        buffers[f"conformer.layers.{i}.conv.batch_norm.num_batches_tracked"] = np.array(1000 + i)
    return buffers


def _detokenizer_buffers() -> Arrays:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1280) / 1280)
    return {"istft.window": window.astype(np.float32)}


def _tied_copies(config: Config, model: Arrays) -> Arrays:
    tied = ["audio_embedding"] if config["tie_audio_embeddings"] else []
    if config["depthformer"]["tie"]:
        tied += [f"depth_embeddings.{i}" for i in range(config["codebooks"])]
    return {f"{name}.to_logits.weight": model[f"{name}.embedding.weight"] for name in tied}


def _published(name: str) -> str:
    for ours, theirs in PUBLISHED_MIMI_NAMES.items():
        name = name.replace(ours, theirs)
    return name


def _read(path: Path) -> Config:
    return json.loads(path.read_text(encoding="utf-8"))


def _save(arrays: Arrays, file: Path) -> None:
    save_file(arrays, file, metadata={"format": "pt"})


def _save_shards(arrays: Arrays, folder: Path, count: int) -> None:
    """One file, or `count` files and the index that names each tensor's."""
    if count == 1:
        _save(arrays, folder / MODEL_FILE)
        return
    names = sorted(arrays)
    where: dict[str, str] = {}
    for i in range(count):
        file = f"model-{i + 1:05}-of-{count:05}.safetensors"
        mine = names[i * len(names) // count : (i + 1) * len(names) // count]
        _save({name: arrays[name] for name in mine}, folder / file)
        where |= dict.fromkeys(mine, file)
    size = sum(array.nbytes for array in arrays.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / f"{MODEL_FILE}.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
