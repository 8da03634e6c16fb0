"""Fine-tuning: a checkpoint in the original layout learns from conversations, and is written anew.

With adapters on the backbone (the default), or whole. What comes out is converted as any original
(`lfm convert`), and the reference loads it too.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_convert.original import MIMI_FILE
from lfm_train.codec.codec import open_codec
from lfm_train.dataset import Preparer, read_dataset
from lfm_train.examples import Batch, packed
from lfm_train.lora import adapt, merge
from lfm_train.loss import losses, read_weighting
from lfm_train.original import open_original, save_original
from lfm_train.training import Plan, train

__all__ = ["Tuning", "finetune"]


@dataclass(frozen=True)
class Tuning:
    """`rank` of the adapters, 0 for the whole model; `batch` conversations a step. The usual
    values are those of the reference's trainer."""

    steps: int = 1000
    batch: int = 4
    rank: int = 8
    learning_rate: float = 3e-5
    warmup: int = 100
    save_every: int = 200
    seed: int = 0


def finetune(source: Path, data: Path, target: Path, work: Path, tuning: Tuning) -> None:
    """Train the checkpoint in `source` on the conversations in `data`, write it to `target`.

    `work` keeps losses and states: started again with the same, it goes on.

    Raises:
        RequestError: the target exists, or the data are at fault.
        AudioError, ConfigError, CheckpointError: a sound file or the checkpoint is.
    """
    if target.exists():
        raise RequestError(f"{target}: exists already; remove it or choose another name")
    conversations = read_dataset(data)
    original = open_original(source)
    mimi = source / MIMI_FILE
    codec = open_codec(original.config, mimi) if mimi.exists() else None
    preparer = Preparer(original.config, Tokenizer(source), codec)
    examples = preparer.examples(conversations)
    weighting = read_weighting(source)
    model = original.model
    mx.random.seed(tuning.seed)
    if tuning.rank:
        adapt(model, tuning.rank)

    def batches(step: int) -> list[list[Batch]]:
        draw = random.Random(f"{tuning.seed} {step}")
        chosen = draw.sample(examples, min(tuning.batch, len(examples)))
        return [[packed(chosen, original.config.codebooks)]]

    def loss(model: Lfm2Audio, batch: Batch) -> tuple[mx.array, Any]:
        found = losses(model, batch, weighting)
        return found.total, {"loss": found.total, "text": found.text, "audio": found.audio}

    plan = Plan(
        tuning.steps,
        tuning.learning_rate,
        warmup=min(tuning.warmup, tuning.steps // 2),
        least=0.1,
        weight_decay=0.1,
        betas=(0.9, 0.95),
        save_every=tuning.save_every,
        name="fine-tuning",
    )
    train(model, loss, batches, plan, work)
    if tuning.rank:
        merge(model)
    save_original(original, target)
