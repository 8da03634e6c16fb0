"""Where weights come from: an original checkpoint, or a folder that was converted already.

Either way the result is a configuration and, for each part, its tensors under our names, not yet
read from disk.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# (MLX's stubs are partial.)

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mlx.core as mx

from lfm2audio_mlx.config import FORMAT, ModelConfig, parse_config, read_config
from lfm2audio_mlx.errors import CheckpointError, ConfigError
from lfm2audio_mlx.strict import read_json
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.weights import FILES, open_tensors
from lfm_convert.mlx_audio import is_mlx_audio, join_projections, restore
from lfm_convert.original import DETOKENIZER_FOLDER, MIMI_FILE, read_original_config
from lfm_convert.prompts import PROMPTS
from lfm_convert.rules import LAYOUTS, RULES

__all__ = ["Source", "open_source"]

Tensors = dict[str, mx.array]


@dataclass(frozen=True)
class Source:
    """`parts`: "model" and the decoders that the folder holds."""

    folder: Path
    config: ModelConfig
    parts: dict[str, Tensors]


def open_source(folder: Path, family: str | None) -> Source:
    """Open a checkpoint; `family` names its prompts (default: by the decoder it has).

    Raises:
        ConfigError: a configuration is missing or at fault.
        CheckpointError: a tensor is missing or unknown, or a file damaged.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is not a folder")
    data = read_json(folder / "config.json")
    if isinstance(data, dict) and "format" in data:
        return _converted(folder, family)
    return _original(folder, family)


def _converted(folder: Path, family: str | None) -> Source:
    config = read_config(folder)
    if family:
        data = dataclasses.asdict(config) | {"prompts": PROMPTS[family]}
        config = parse_config(json.loads(json.dumps(data)), str(folder))
    present = {"model": True, "mimi": config.mimi, "detokenizer": config.detokenizer}
    parts = {
        part: _unpacked(open_tensors(folder / FILES[part]), part, config)
        for part in FILES
        if present[part]
    }
    return Source(folder, dataclasses.replace(config, quantization={}), parts)


def _unpacked(tensors: Tensors, part: str, config: ModelConfig) -> Tensors:
    """Quantised layers back to numbers: what was rounded stays rounded."""
    for name, entry in config.quantization.items():
        owner, _, layer = name.partition(".")
        if owner != part:
            continue
        stored = [f"{layer}.{kind}" for kind in ("weight", "scales", "biases")]
        if lost := [each for each in stored if each not in tensors]:
            raise CheckpointError(f"{FILES[part]}: has no tensor '{lost[0]}'")
        weight, scales, biases = (tensors.pop(each) for each in stored)
        try:
            tensors[stored[0]] = mx.dequantize(
                weight,
                scales.astype(mx.float32),  # or every weight would be rounded to theirs
                biases.astype(mx.float32),
                group_size=entry.group_size,
                bits=entry.bits,
            )
        except ValueError as error:
            what = f"'{layer}' is not packed as the config says"
            raise CheckpointError(f"{FILES[part]}: {what}") from error
    return tensors


def _original(folder: Path, family: str | None) -> Source:
    sections = read_original_config(folder)
    _check_tokenizer(folder)
    if family is None:
        family = "v2.5" if sections["detokenizer"] else "v1"
    whole: dict[str, Any] = {
        "format": FORMAT,
        "dtype": "float32",
        "prompts": PROMPTS[family],
        "quantization": {},
        **sections,
    }
    config = parse_config(whole, str(folder / "config.json"))
    main = _read_main(folder)
    if is_mlx_audio(main):
        quantization = read_json(folder / "config.json").get("quantization")
        main = _translate("mlx_audio", restore(main, quantization, folder))
        main = join_projections(main)
    else:
        main = _translate("model", main)
    if config.depthformer.tie:
        _drop_tied_heads(main, folder)
    parts = {"model": main}
    if config.mimi:
        parts["mimi"] = _fold_codebooks(
            _translate("mimi", open_tensors(folder / MIMI_FILE)), config, folder / MIMI_FILE
        )
    if config.detokenizer:
        path = folder / DETOKENIZER_FOLDER / "model.safetensors"
        parts["detokenizer"] = _translate("detokenizer", open_tensors(path))
    return Source(folder, config, parts)


def _check_tokenizer(folder: Path) -> None:
    """The config's end token must be the tokenizer's, and its ids must fit the embedding."""
    tokenizer = Tokenizer(folder)
    where = folder / "config.json"
    data = read_json(where)
    lfm = cast(dict[str, Any], data["lfm"])
    stop = lfm.get("eos_token_id", tokenizer.special.turn_end)
    if stop != tokenizer.special.turn_end:
        raise ConfigError(
            f"{where}: lfm.eos_token_id {stop} is not the tokenizer's <|im_end|>, "
            f"{tokenizer.special.turn_end}"
        )
    if tokenizer.size > lfm["vocab_size"]:
        raise ConfigError(
            f"{where}: lfm.vocab_size {lfm['vocab_size']} is less than the tokenizer's "
            f"{tokenizer.size} ids"
        )


def _read_main(folder: Path) -> Tensors:
    """The language model's tensors, from one file or from the shards that an index names."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return open_tensors(folder / "model.safetensors")
    data = read_json(index)
    places: Any = cast(dict[str, Any], data).get("weight_map") if isinstance(data, dict) else None
    if not isinstance(places, dict):
        raise CheckpointError(f"{index}: has no 'weight_map' of tensors to files")
    places = cast(dict[str, Any], places)
    if not all(isinstance(file, str) for file in places.values()):
        raise CheckpointError(f"{index}: 'weight_map' names something that is no file")
    tensors: Tensors = {}
    for name in sorted(set(places.values())):
        tensors |= open_tensors(folder / name)
    if lost := sorted(places.keys() - tensors.keys()):
        raise CheckpointError(f"{index}: names tensor '{lost[0]}', which no shard holds")
    return tensors


def _drop_tied_heads(tensors: Tensors, folder: Path) -> None:
    """A tied head is its embedding; files that hold a copy must hold the same."""
    for name in [
        n
        for n in tensors
        if re.fullmatch(r"depthformer\.depth_embeddings\.\d+\.to_logits\.weight", n)
    ]:
        twin = name.replace(".to_logits.", ".embedding.")
        if twin in tensors and not mx.array_equal(tensors.pop(name), tensors[twin]):
            raise CheckpointError(
                f"{folder}: tensor '{name}' is not '{twin}', the config says they are tied"
            )


def _translate(part: str, tensors: Tensors) -> Tensors:
    """Original names and layouts -> ours; what the rules drop is left out."""
    rules = RULES[part]
    made: Tensors = {}
    for name, tensor in tensors.items():
        if ours := rules.our_name(name):
            layout = rules.layout_of(name)
            made[ours] = _rearrange(tensor, layout, name) if layout else tensor
    return made


def _rearrange(tensor: mx.array, layout: str, name: str) -> mx.array:
    try:
        return LAYOUTS[layout](tensor)
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"tensor '{name}' has shape {tensor.shape}: {error}") from error


CODEBOOK = "quantizer.rvq_{half}.vq.layers.{index}._codebook.{what}"
CODEBOOK_TENSORS = ("embedding_sum", "cluster_usage")
USAGE_FLOOR = 1e-5
"""Least usage that an entry is divided by (`EuclideanCodebook.epsilon` of the reference)."""


def _fold_codebooks(tensors: Tensors, config: ModelConfig, path: Path) -> Tensors:
    """Split RVQ -> one table: each entry's mean, through its half's output projection.

    The first codebook is the semantic half, the others the acoustic; codebooks that the model
    does not emit are left out.
    """
    rest = {k: v for k, v in tensors.items() if not k.startswith("quantizer.")}
    codebook = CODEBOOK.format(
        half="(first|rest)", index=r"\d+", what="(embedding_sum|cluster_usage)"
    )
    unknown = {k for k in tensors.keys() - rest.keys() if not re.fullmatch(codebook, k)}
    tables: list[mx.array] = []
    for number in range(config.codebooks):
        half, index = ("first", 0) if number == 0 else ("rest", number - 1)
        projection = f"quantizer.rvq_{half}.output_proj.weight"
        names = [CODEBOOK.format(half=half, index=index, what=w) for w in CODEBOOK_TENSORS]
        unknown.discard(projection)
        tables.append(_table([*names, projection], tensors, config, path))
    if unknown:
        raise CheckpointError(f"{path}: unknown tensor '{min(unknown)}'")
    rest["quantizer.weight"] = mx.concatenate(tables, axis=0)
    return rest


def _table(names: list[str], tensors: Tensors, config: ModelConfig, path: Path) -> mx.array:
    """One codebook [size, dimension] from its sums, usages and output projection."""
    for name in names:
        if name not in tensors:
            raise CheckpointError(f"{path}: missing tensor '{name}'")
    total, usage, projection = (tensors[name].astype(mx.float32) for name in names)
    assert config.mimi is not None
    width = total.shape[-1] if total.ndim else 0
    wanted = (
        (config.codebook_size, width),
        (config.codebook_size,),
        (config.mimi.seanet.dimension, width, 1),
    )
    for name, shape in zip(names, wanted, strict=True):
        if tensors[name].shape != shape:
            raise CheckpointError(
                f"{path}: tensor '{name}' has shape {tensors[name].shape}, the config makes it "
                f"{shape}"
            )
    return total / mx.maximum(usage, USAGE_FLOOR)[:, None] @ projection.squeeze(2).T
