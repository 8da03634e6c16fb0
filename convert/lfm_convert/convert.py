"""Convert a checkpoint: check every tensor, quantise by a recipe, write a folder in one move."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
# (MLX's stubs are partial.)

import dataclasses
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from lfm2audio_mlx.config import ModelConfig, QuantizationConfig
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.weights import FILES, build, fill, quantize
from lfm_convert.prompts import PROMPTS
from lfm_convert.recipes import RECIPES, Recipe
from lfm_convert.source import Source, open_source

__all__ = ["convert"]

COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
TERMS = ("LICENSE*", "NOTICE*")

NOTICE = """\
These weights were converted by lfm2audio-mlx. The terms of the original go with them:
LFM2-Audio by Liquid AI: LFM Open License v1.0.
Its encoder derives from NVIDIA's FastConformer: CC-BY-4.0.
The Mimi codec by Kyutai: CC-BY-4.0.
"""


def convert(source: Path, target: Path, recipe: str, family: str | None = None) -> Path:
    """Convert the checkpoint in `source` to the folder `target`, which must not exist yet.

    `recipe` is a key of `RECIPES`; `family` one of `PROMPTS`, by default what the checkpoint's
    decoder suggests. Nothing appears at `target` before all of it is written.

    Raises:
        RequestError: the target exists, or a name is unknown.
        ConfigError: a configuration is missing or at fault.
        CheckpointError: a tensor is missing, unknown or misshapen, or a file damaged.
    """
    if recipe not in RECIPES:
        raise RequestError(f"recipe '{recipe}' is unknown; there are {', '.join(RECIPES)}")
    if family is not None and family not in PROMPTS:
        raise RequestError(f"prompts '{family}' are unknown; there are {', '.join(PROMPTS)}")
    if os.path.lexists(target):
        raise RequestError(f"{target}: exists already; remove it or choose another name")
    if not target.parent.is_dir():
        raise RequestError(f"{target}: the folder {target.parent} does not exist")
    opened = open_source(source, family)
    try:
        unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    except OSError as error:
        raise RequestError(f"{target}: cannot be made: {error.strerror}") from error
    try:
        _write(opened, RECIPES[recipe], unfinished)
        mask = os.umask(0o077)
        os.umask(mask)
        unfinished.chmod(0o777 & ~mask)  # mkdtemp makes it private
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return target


def _write(source: Source, recipe: Recipe, folder: Path) -> None:
    record: dict[str, QuantizationConfig] = {}
    for part, tensors in source.parts.items():
        module = build(source.config, part)
        fill(module, tensors, f"{source.folder}: {part}")
        module.set_dtype(getattr(mx, recipe.dtype if part == "model" else recipe.codec_dtype))
        planned = _plan(module, part, recipe)
        quantize(module, part, planned)
        record |= planned
        arrays = cast(dict[str, mx.array], dict(tree_flatten(module.parameters())))
        mx.save_safetensors(str(folder / FILES[part]), arrays, {"format": "mlx"})
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


def _plan(module: nn.Module, part: str, recipe: Recipe) -> dict[str, QuantizationConfig]:
    """What the recipe gives each layer of a part that can be quantised."""
    plan: dict[str, QuantizationConfig] = {}
    for path, layer in cast(list[tuple[str, nn.Module]], module.named_modules()):
        if not isinstance(layer, nn.Linear | nn.Embedding):
            continue
        name, width = f"{part}.{path}", layer.weight.shape[-1]
        group_size = next((size for size in recipe.group_sizes if width % size == 0), None)
        bits = next((bits for p, bits in recipe.bits if re.fullmatch(p, name)), None)
        if bits and group_size:
            plan[name] = QuantizationConfig(bits=bits, group_size=group_size)
    return dict(sorted(plan.items()))


def _pretty(config: ModelConfig) -> str:
    """JSON with a line for each quantised layer, not four."""
    data: dict[str, Any] = dataclasses.asdict(config)
    record = data.pop("quantization")
    lines = [f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in record.items()]
    body = json.dumps(data, indent=2).rstrip("}").rstrip()
    inside = "{\n" + ",\n".join(lines) + "\n  }" if lines else "{}"
    return f'{body},\n  "quantization": {inside}\n}}\n'
