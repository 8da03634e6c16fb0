"""What a conversion cost: bits, bytes and errors of each part, and what changes in the output."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# (MLX's stubs are partial.)

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from rich.console import Console
from rich.table import Table

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.generation.prompt import TextIds, beginning, embed, open_turn, turn
from lfm_convert.calibrate import full_precision
from lfm_convert.convert import LayerReport
from lfm_convert.recipes import RECIPES

__all__ = [
    "ModelReport",
    "PartReport",
    "compare_models",
    "parts_of",
    "print_models",
    "print_parts",
    "word_errors",
]


@dataclass(frozen=True)
class PartReport:
    """One part of a recipe. Errors are relative: root of squared error over squared weight."""

    name: str
    bits: str
    size: int
    error: float
    plain_error: float


@dataclass(frozen=True)
class ModelReport:
    """A converted model beside its source on some recordings: mean KL of the text logits in
    nats, transcripts that differ, and the word errors among them."""

    recordings: int
    divergence: float
    changed: int
    word_error: float


def parts_of(layers: Iterable[LayerReport], recipe: str) -> list[PartReport]:
    """Sum layers up by the parts that a recipe names."""
    groups: dict[str, list[LayerReport]] = {}
    for layer in layers:
        part = next(p for p in RECIPES[recipe].parts if re.fullmatch(p.pattern, layer.name))
        groups.setdefault(part.name, []).append(layer)
    return [
        PartReport(
            name,
            "/".join(str(bits) for bits in sorted({layer.bits for layer in group})),
            sum(layer.size for layer in group),
            (sum(x.error for x in group) / sum(x.energy for x in group)) ** 0.5,
            (sum(x.plain_error for x in group) / sum(x.energy for x in group)) ** 0.5,
        )
        for name, group in groups.items()
    ]


def print_parts(layers: Iterable[LayerReport], recipe: str, weighted: bool) -> None:
    """A table of `parts_of`; `weighted` when errors count by importance."""
    error = "weighted error" if weighted else "error"
    table = Table("part", "bits", "MB", error, "plain rounding", "ratio")
    for part in parts_of(layers, recipe):
        ratio = part.error / part.plain_error if part.plain_error else 1.0
        errors = f"{part.error:.5f}", f"{part.plain_error:.5f}", f"{ratio:.3f}"
        table.add_row(part.name, part.bits, f"{part.size / 1e6:,.2f}", *errors)
    Console(width=100).print(table)


def compare_models(
    source: Path, converted: Path, family: str | None, recordings: list[Path]
) -> ModelReport:
    """Run both on the same recordings; the source's words are what both are asked about."""
    exact, coarse = full_precision(source, family), Engine.load(converted)
    divergences: list[float] = []
    changed, errors, words = 0, 0, 0
    for path in recordings:
        heard, again = exact.hear(path), coarse.hear(path)
        changed += heard.text != again.text
        errors += word_errors(heard.text, again.text)
        words += len(heard.text.split())
        p, q = (_log_probabilities(engine, path, heard.tokens) for engine in (exact, coarse))
        divergences.append(float((mx.exp(p) * (p - q)).sum(axis=-1).mean()))
    mean = sum(divergences) / len(divergences)
    return ModelReport(len(recordings), mean, changed, errors / max(1, words))


def print_models(report: ModelReport) -> None:
    """One line of `compare_models`."""
    print(
        f"on {report.recordings} recordings: KL of the text logits {report.divergence:.4f} nats, "
        f"{report.changed} transcripts differ, word errors {report.word_error:.1%}"
    )


def _log_probabilities(engine: Engine, path: Path, tokens: tuple[int, ...]) -> mx.array:
    """What a model gives each next word of a transcript, [words + 1, vocabulary]."""
    encode = engine.tokenizer
    segments = [
        beginning(encode),
        *turn(encode, "system", [engine.config.prompts.transcribe]),
        *turn(encode, "user", [engine.listen(path)]),
        open_turn(encode, "assistant"),
        TextIds(tokens),
    ]
    hidden, _ = engine.model.lfm(embed(engine.model, [s for s in segments if s != TextIds(())]))
    logits = engine.model.text_logits(hidden[0, -len(tokens) - 1 :]).astype(mx.float32)
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def word_errors(reference: str, other: str) -> int:
    """Words to insert, delete or replace to get from one text to another (Levenshtein)."""
    a, b = reference.split(), other.split()
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, candidate in enumerate(b, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, above + (word != candidate))
            above, row[j] = row[j], cost
    return row[-1]
