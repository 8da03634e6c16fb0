"""Which inputs of each layer matter: their mean squares while recordings run through the model."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
# (MLX's stubs are partial.)

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.audio.probe import SUFFIXES, probe
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.models import mimi
from lfm2audio_mlx.models.compiled import compiling
from lfm2audio_mlx.sampling import GREEDY
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.weights import Checkpoint, build, fill
from lfm_convert.source import open_source

__all__ = ["full_precision", "measure_importance", "recordings_in"]

ANSWER = 40
"""Words and frames of an answer that each recording is given, so that speech is measured too."""


def recordings_in(folder: Path) -> list[Path]:
    """The sound files of a folder, in the order of their names.

    Raises:
        RequestError: there are none.
        AudioError: one of them cannot be read.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder}: is not a folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise RequestError(f"{folder}: holds no sound files")
    for path in found:
        probe(path)
    return found


def full_precision(source: Path, family: str | None) -> Engine:
    """A checkpoint as it is, not yet converted, ready to run. It stands in memory whole.

    Raises:
        ConfigError, CheckpointError: see `open_source`.
    """
    opened = open_source(source, family)
    decoder = "detokenizer" if opened.config.detokenizer else "mimi"
    modules = {part: build(opened.config, part) for part in ("model", decoder)}
    for part, module in modules.items():
        fill(module, opened.parts[part], part)
        module.set_dtype(mx.float32)
        module.eval()
        mx.eval(module.parameters())
    checkpoint = Checkpoint(opened.config, cast(Any, modules["model"]), cast(Any, modules[decoder]))
    return Engine(checkpoint, Tokenizer(source))


def measure_importance(
    source: Path, family: str | None, recordings: list[Path]
) -> dict[str, mx.array]:
    """Mean squares [inputs] for each linear layer, by "part.path.of.layer".

    Each recording is transcribed, and answered in words and voice.
    """
    engine = full_precision(source, family)
    parts: dict[str, nn.Module] = {"model": engine.model}
    parts["detokenizer" if engine.config.detokenizer else "mimi"] = cast(Any, engine.codec)
    # A compiled step would call its layers once and never again.
    with compiling(False), _watching(parts) as sums:
        for path in recordings:
            engine.hear(path)
            for _ in engine.chat(audio=GREEDY).reply(path, max_tokens=ANSWER):
                pass
    return {name: total / count for name, (total, count) in sums.items()}


@contextmanager
def _watching(parts: dict[str, nn.Module]) -> Generator[dict[str, tuple[mx.array, int]]]:
    """Sum the squares of what goes into each linear layer meanwhile, and how many rows that was.

    A text head is an embedding turned around, so its inputs are watched too.
    """
    names = {
        id(layer): f"{part}.{path}"
        for part, module in parts.items()
        for path, layer in cast(list[tuple[str, nn.Module]], module.named_modules())
    }
    sums: dict[str, tuple[mx.array, int]] = {}
    linear, head, add = nn.Linear.__call__, nn.Embedding.as_linear, mimi.add

    def note(layer: nn.Module, x: mx.array) -> None:
        rows = x.reshape(-1, x.shape[-1]).astype(mx.float32)
        total, count = sums.get(names[id(layer)], (mx.zeros((x.shape[-1],)), 0))
        total = total + mx.square(rows).sum(axis=0)
        mx.eval(total)
        sums[names[id(layer)]] = (total, count + rows.shape[0])

    def watched_linear(self: nn.Linear, x: mx.array) -> mx.array:
        note(self, x)
        return linear(self, x)

    def watched_head(self: nn.Embedding, x: mx.array) -> mx.array:
        note(self, x)
        return head(self, x)

    def watched_sum(x: mx.array, layer: nn.Linear, h: mx.array) -> mx.array:
        note(layer, h)
        return x + linear(layer, h)

    nn.Linear.__call__, nn.Embedding.as_linear = watched_linear, watched_head
    mimi.add = watched_sum  # which calls no layer
    try:
        yield sums
    finally:
        nn.Linear.__call__, nn.Embedding.as_linear, mimi.add = linear, head, add
