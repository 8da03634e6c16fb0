"""Our training beside the reference's: losses on a batch of conversations, and every gradient.

Usage: python tests/reference/train_parity.py          (`make train-parity`)

Prints a table and exits with 1 when a row is out of its tolerance; `tests/training/test_loss.py`
asserts the same rows. The golden is of the random checkpoint "v1" (`training_golden.py`).
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten
from safetensors import safe_open

from checkpoints import digest, write_checkpoint
from lfm2audio_mlx.audio.features import log_mel
from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.generation.prompt import AudioClip, AudioCodes, Segment, TextIds, clip_of
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.weights import open_tensors
from lfm_convert.golden import read_arrays
from lfm_train.examples import Example, Part, interleaved, packed
from lfm_train.loss import Losses, losses, read_weighting
from lfm_train.original import Original, open_original, rewritten
from scenarios import TRAINING, TRAINING_FACTS, Line
from training_numbers import seen_from, training_codes

DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 1e-4
"""Relative: float32 on both sides, sums in another order."""


@dataclass(frozen=True)
class Row:
    name: str
    ours: float
    theirs: float
    error: float

    @property
    def good(self) -> bool:
        return self.error <= TOLERANCE


def write_original(folder: Path) -> None:
    """The checkpoint that the golden was made of."""
    write_checkpoint("v1", folder, DATA / "tokenizer")
    with safe_open(DATA / "goldens" / "training.safetensors", framework="numpy") as file:
        if file.metadata()["checkpoint"] != digest(folder):
            raise CheckpointError("training.safetensors was made from other random weights")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | TRAINING_FACTS))


def examples(original: Original) -> list[Example]:
    """The conversations of the scenario."""
    tokenizer = Tokenizer(original.folder)
    return [_example(original, tokenizer, lines) for lines in TRAINING]


def _example(original: Original, tokenizer: Tokenizer, lines: tuple[Line, ...]) -> Example:
    special = tokenizer.special
    parts = [Part(TextIds((special.start_of_text,)))]
    for line in lines:
        parts.append(Part(TextIds((special.turn_start, *tokenizer.encode(f"{line.role}\n")))))
        learnt = line.role == "assistant"
        if line.interleaved:
            ids = (*tokenizer.encode(line.text), special.text_end)
            config = original.config
            counts = config.interleaved_n_text, config.interleaved_n_audio
            parts += interleaved(ids, _frames(line.frames), *counts)
        else:
            parts += [Part(segment, learnt) for segment in _segments(original, tokenizer, line)]
        parts.append(Part(TextIds((special.turn_end, *tokenizer.encode("\n"))), learnt))
    return parts


def _segments(original: Original, tokenizer: Tokenizer, line: Line) -> list[Segment]:
    made: list[Segment] = []
    if line.text:
        made.append(TextIds(tokenizer.encode(line.text)))
    if line.clip:
        path = DATA / "speech" / f"{line.clip}.flac"
        made.append(heard(path, original))
    if line.frames:
        made += [TextIds((tokenizer.special.audio_start,)), AudioCodes(_frames(line.frames))]
    return made


def _frames(count: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(frame) for frame in training_codes(count).tolist())


def heard(path: Path, original: Original) -> AudioClip:
    """A recording as the reference's own data preparation gives it: without the last frame, which
    is zero, and which its inference hands on (so do we, in training too)."""
    features = original.config.features
    mel = log_mel(read_audio(path, features.sample_rate), features)[:-1]
    return clip_of(mel, original.config.conformer.subsampling_factor)


def rows(workplace: Path) -> list[Row]:
    """Losses, then gradients, by the original's names."""
    folder = workplace / "original"
    write_original(folder)
    original = open_original(folder)
    golden = read_arrays(DATA / "goldens" / "training.safetensors")
    batch = packed(examples(original), original.config.codebooks)
    weighting = read_weighting(folder)

    def lost(model: Lfm2Audio) -> tuple[mx.array, Losses]:
        found = losses(model, batch, weighting)
        return found.total, found

    (_, found), gradients = nn.value_and_grad(original.model, lost)(original.model)
    made = [
        _scalar("loss", found.total, golden["loss"]),
        _scalar("text loss", found.text, golden["text_loss"]),
        _scalar("audio loss", found.audio, golden["audio_loss"]),
    ]
    ours = dict(tree_flatten(gradients))
    shapes = open_tensors(folder / "model.safetensors")
    names = [key.removeprefix("norm.") for key in golden if key.startswith("norm.")]
    whole = float(np.linalg.norm([golden[f"norm.{name}"] for name in names]))
    for name in names:
        gradient = rewritten("model", name, shapes[name], ours)
        made.append(_gradient(name, gradient, golden, whole))
    return made


def _scalar(name: str, ours: mx.array, theirs: np.ndarray) -> Row:
    found, expected = float(np.array(ours)), float(theirs)
    return Row(name, found, expected, abs(found - expected) / abs(expected))


def _gradient(name: str, gradient: mx.array, golden: dict[str, np.ndarray], whole: float) -> Row:
    """The norm of the difference, as seen from the golden's directions, by the gradient's own, or
    by a hundred-thousandth of that of them all: adding a bias to all keys changes no attention, and
    its gradient is nothing but rounding."""
    values = np.array(gradient.astype(mx.float32))
    expected, norm = golden[f"seen.{name}"], float(golden[f"norm.{name}"])
    ours = float(np.linalg.norm(values.astype(np.float64)))
    difference = float(np.sqrt(np.mean((seen_from(values) - expected) ** 2)))
    return Row(name, ours, norm, difference / max(norm, 1e-5 * whole))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        made = rows(Path(folder))
    for row in sorted(made[3:], key=lambda row: -row.error)[:12]:
        print(f"{row.name:60} norm {row.ours:.6g} / {row.theirs:.6g}  error {row.error:.1e}")
    for row in made[:3]:
        print(f"{row.name:60} {row.ours:.7f} / {row.theirs:.7f}  error {row.error:.1e}")
    bad = [row for row in made if not row.good]
    print(f"{len(made) - 3} gradients, {len(bad)} rows out of {TOLERANCE:.0e}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
