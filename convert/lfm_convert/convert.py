"""Convert a checkpoint: check every tensor, quantise by a recipe, write a folder in one move.

Tensors go from file to file one at a time, so the original never stands in memory. The folder is
made beside its place, loaded for a short run, and renamed when it is whole.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
# (MLX's stubs are partial.)

import dataclasses
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from lfm2audio_mlx import __version__
from lfm2audio_mlx.config import ModelConfig, QuantizationConfig
from lfm2audio_mlx.errors import CheckpointError, RequestError
from lfm2audio_mlx.manifest import FileRecord, Manifest, file_record, write_manifest
from lfm2audio_mlx.weights import FILES, build, check_tensors
from lfm_convert.prompts import PROMPTS
from lfm_convert.quantize import quantize_weight
from lfm_convert.recipes import RECIPES, Recipe
from lfm_convert.selftest import self_test
from lfm_convert.source import Source, Tensors, open_source
from lfm_convert.writer import Layout, total_size, write_safetensors

__all__ = ["Importance", "LayerReport", "check_request", "convert", "plan"]

COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
TERMS = ("LICENSE*", "NOTICE*")

NOTICE = """\
These weights were converted by lfm2audio-mlx. The terms of the original go with them:
LFM2-Audio by Liquid AI: LFM Open License v1.0.
Its encoder derives from NVIDIA's FastConformer: CC-BY-4.0.
The Mimi codec by Kyutai: CC-BY-4.0.
"""

Importance = dict[str, mx.array]
"""For "part.path.of.layer", the mean square of each of its inputs in use."""

Progress = Callable[[int, int], None]
"""Called with the bytes written so far and those of the whole."""


@dataclass(frozen=True)
class LayerReport:
    """One stored layer. Errors are sums of squares, of what is stored and of plain rounding."""

    name: str
    bits: int
    size: int
    error: float
    plain_error: float
    energy: float


@dataclass
class _Part:
    """One weight file to be written."""

    name: str
    tensors: Tensors
    shapes: dict[str, tuple[int, ...]]
    plan: dict[str, QuantizationConfig]
    dtype: mx.Dtype
    layout: Layout = field(default_factory=Layout)


def convert(
    source: Path,
    target: Path,
    recipe: str | Recipe,
    family: str | None = None,
    *,
    repository: str = "",
    revision: str = "",
    importance: Importance | None = None,
    report: Callable[[LayerReport], None] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Convert the checkpoint in `source` to the folder `target`, which must not exist yet.

    `recipe` is one, or a key of `RECIPES`; `family` one of `PROMPTS`, by default what the
    checkpoint's decoder suggests; `repository` and `revision` are recorded as its origin. Nothing
    appears at `target` before all of it is written and has passed a run.

    Raises:
        RequestError: the target exists or cannot be made, a name is unknown, the disk is full.
        ConfigError: a configuration is missing or at fault.
        CheckpointError: a tensor is missing, unknown, misshapen or not finite, a file damaged.
    """
    check_request(target, recipe, family)
    recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
    opened = open_source(source, family)
    parts = [_prepare(opened.config, *item, recipe) for item in opened.parts.items()]
    total = sum(total_size(part.layout) for part in parts)
    _check_space(target, total)
    unfinished = target.parent / f".{target.name}-{secrets.token_hex(4)}"
    try:
        unfinished.mkdir()
    except OSError as error:
        raise RequestError(f"{target}: cannot be made: {error.strerror}") from error
    try:
        records: dict[str, FileRecord] = {}
        for part in parts:
            stored = _stored(part, importance or {}, report or _ignore)
            counted = _count(stored, records, total, progress)
            records[FILES[part.name]] = write_safetensors(
                unfinished / FILES[part.name], part.layout, counted
            )
        _write_companions(opened, unfinished, recipe, parts)
        for path in sorted(unfinished.iterdir()):
            if path.name not in records:
                records[path.name] = file_record(path)
        origin = (repository or source.resolve().name, revision)
        tool = f"lfm2audio-mlx {__version__}"
        manifest = Manifest(tool, recipe.name, *origin, records, self_test(unfinished))
        write_manifest(unfinished, manifest)
        unfinished.rename(target)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if target.exists():
            raise RequestError(f"{target}: exists now; another convert made it") from error
        raise RequestError(f"{target}: cannot be written: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return target


def check_request(target: Path, recipe: str | Recipe, family: str | None) -> None:
    """What can be refused before anything is opened.

    Raises:
        RequestError: the target exists or has no folder, or a name is unknown.
    """
    if isinstance(recipe, str) and recipe not in RECIPES:
        raise RequestError(f"recipe '{recipe}' is unknown; there are {', '.join(RECIPES)}")
    if family is not None and family not in PROMPTS:
        raise RequestError(f"prompts '{family}' are unknown; there are {', '.join(PROMPTS)}")
    if os.path.lexists(target):
        raise RequestError(f"{target}: exists already; remove it or choose another name")
    if not target.parent.is_dir():
        raise RequestError(f"{target}: the folder {target.parent} does not exist")


def _check_space(target: Path, wanted: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < wanted:
        raise RequestError(
            f"{target}: needs {wanted / 1e9:.2f} GB, {free / 1e9:.2f} GB are free on that disk"
        )


def _prepare(config: ModelConfig, name: str, tensors: Tensors, recipe: Recipe) -> _Part:
    """Check a part's tensors and lay out its file; nothing is read yet."""
    module = build(config, name)
    check_tensors(module, tensors, name)
    parameters = cast(dict[str, mx.array], dict(tree_flatten(module.parameters())))
    part = _Part(
        name,
        tensors,
        {key: array.shape for key, array in parameters.items()},
        plan(module, name, recipe),
        getattr(mx, recipe.dtype if name == "model" else recipe.codec_dtype),
    )
    for key, shape in part.shapes.items():
        entry = _quantization(part, key)
        if entry is None:
            part.layout[key] = (shape, part.dtype)
        else:
            layer, (rows, inputs) = key.removesuffix("weight"), shape
            groups = (rows, inputs // entry.group_size)
            part.layout[key] = ((rows, inputs * entry.bits // 32), mx.uint32)
            part.layout[layer + "scales"] = (groups, part.dtype)
            part.layout[layer + "biases"] = (groups, part.dtype)
    return part


def plan(module: nn.Module, part: str, recipe: Recipe) -> dict[str, QuantizationConfig]:
    """What the recipe gives each layer of a part that can be quantised."""
    plan: dict[str, QuantizationConfig] = {}
    for path, layer in cast(list[tuple[str, nn.Module]], module.named_modules()):
        if not isinstance(layer, nn.Linear | nn.Embedding):
            continue
        name, width = f"{part}.{path}", layer.weight.shape[-1]
        group_size = next((size for size in recipe.group_sizes if width % size == 0), None)
        bits = next((p.bits for p in recipe.parts if re.fullmatch(p.pattern, name)), None)
        if bits and group_size:
            plan[name] = QuantizationConfig(bits=bits, group_size=group_size)
    return dict(sorted(plan.items()))


def _quantization(part: _Part, key: str) -> QuantizationConfig | None:
    """How the tensor `key` is quantised, if it is."""
    layer, _, what = key.rpartition(".")
    return part.plan.get(f"{part.name}.{layer}") if what == "weight" else None


def _stored(
    part: _Part, importance: Importance, report: Callable[[LayerReport], None]
) -> Iterator[tuple[str, mx.array]]:
    """A part's tensors as they are stored, in the order of its layout; each is let go."""
    for key in part.shapes:
        tensor = part.tensors.pop(key)
        entry = _quantization(part, key)
        if entry is None:
            stored = tensor.astype(part.dtype)
            _check_finite(f"{part.name}.{key}", stored)
            yield key, stored
            continue
        layer = key.removesuffix(".weight")
        name = f"{part.name}.{layer}"
        made = quantize_weight(
            tensor, entry.bits, entry.group_size, part.dtype, importance.get(name)
        )
        _check_finite(f"{part.name}.{key}", made.scales, made.biases)
        size = made.weight.nbytes + made.scales.nbytes + made.biases.nbytes
        report(LayerReport(name, entry.bits, size, made.error, made.plain_error, made.energy))
        yield key, made.weight
        yield f"{layer}.scales", made.scales
        yield f"{layer}.biases", made.biases


def _check_finite(name: str, *stored: mx.array) -> None:
    """NaN and infinity are refused, also those that a type with a smaller range makes."""
    for array in stored:
        if not bool(mx.isfinite(array).all()):
            raise CheckpointError(
                f"tensor '{name}' holds NaN or infinity, or numbers too large for {array.dtype}"
            )


def _ignore(_: LayerReport) -> None:
    pass


def _count(
    tensors: Iterator[tuple[str, mx.array]],
    records: dict[str, FileRecord],
    total: int,
    progress: Progress | None,
) -> Iterator[tuple[str, mx.array]]:
    """Pass tensors on and tell how far that is."""
    done = sum(record.size for record in records.values())
    for name, tensor in tensors:
        yield name, tensor
        done += tensor.nbytes
        if progress:
            progress(done, total)


def _write_companions(source: Source, folder: Path, recipe: Recipe, parts: list[_Part]) -> None:
    """The configuration, the tokenizer's files, and the terms of the weights."""
    record = {name: entry for part in parts for name, entry in part.plan.items()}
    config = dataclasses.replace(source.config, dtype=recipe.dtype, quantization=record)
    (folder / "config.json").write_text(_pretty(config), "utf-8")
    for name in COMPANIONS:
        if (source.folder / name).is_file():
            shutil.copyfile(source.folder / name, folder / name)
    terms = [p for pattern in TERMS for p in source.folder.glob(pattern) if p.is_file()]
    for path in terms:
        shutil.copyfile(path, folder / path.name)
    if not any(path.name.startswith("NOTICE") for path in terms):
        (folder / "NOTICE").write_text(NOTICE, "utf-8")


def _pretty(config: ModelConfig) -> str:
    """JSON with a line for each quantised layer, not four."""
    data: dict[str, Any] = dataclasses.asdict(config)
    record = data.pop("quantization")
    lines = [f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in record.items()]
    body = json.dumps(data, indent=2).rstrip("}").rstrip()
    inside = "{\n" + ",\n".join(lines) + "\n  }" if lines else "{}"
    return f'{body},\n  "quantization": {inside}\n}}\n'
