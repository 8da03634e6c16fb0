"""The last training: the encoder learns on, with its adapter, for a language model that stays as it
is, and so speaks as it did.

It learnt to name words by itself, each wherever it stood. Now it learns what the language model
makes of what it hears, in sentences more than in words without sense, and is asked besides which
word it is hearing in each position; the head for that is thrown away.
"""

import dataclasses
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_train.examples import Batch, Example, packed
from lfm_train.loss import Weighting, losses, states
from lfm_train.nano.conversations import Conversations
from lfm_train.nano.encoder import masked
from lfm_train.nano.grammar import CLASSES, Texts, questions
from lfm_train.nano.hearing import Listener, Recorded
from lfm_train.nano.language import PLACE, UNANSWERED, place_loss
from lfm_train.training import Plan, train

__all__ = ["Clip", "Ears", "Examiner", "train_listening"]

TEXTS = Texts(salad=0.15, splices=0.1, numbers=0.3)
WORDLESS = 0.25
ASKED = 0.4
"""Share of questions that are answered, in words; the others are written down."""
MASKED = 0.25
"""Share of recordings that have holes."""


@dataclass(frozen=True)
class Clip:
    """Recordings of one length, in conversations, and the class of the word in each position, -1
    where it is not known."""

    batch: Batch
    words: mx.array


class Ears(nn.Module):
    """The language model, and a head that names the word that it is hearing."""

    def __init__(self, model: Lfm2Audio):
        super().__init__()
        self.model = model
        hidden = model.lfm.embed_tokens.weight.shape[1]
        self.place_head = nn.Linear(hidden, len(CLASSES) + 1)


class Examiner:
    """Draws what is heard in a step, and what is to be said to it."""

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer):
        self.config, self.listener = config, Listener(config.features, TEXTS, WORDLESS)
        self.conversations = Conversations(config, tokenizer)
        self.answers = {question.text: question.answer for question in questions()}

    def clips(self, step: int, size: int, group: int) -> list[list[Clip]]:
        """What is heard in `group` steps from `step` on: twice half of `size` recordings."""
        draw, generator = random.Random(f"listening {step}"), np.random.default_rng(step)
        heard = self.listener.batches(step, size // 2, 2 * group)
        made = [self._clip(recorded, draw, generator) for recorded in heard]
        return [made[2 * i : 2 * i + 2] for i in range(group)]

    def said(self, item: Recorded, draw: random.Random) -> Example:
        """A recording to write down, to answer, or to say nothing to."""
        if not item.text and draw.random() < UNANSWERED:
            return self.conversations.unanswered(item.mel)
        if item.text in self.answers and draw.random() < ASKED:
            return self.conversations.dialogue(item.mel, self.answers[item.text], ())
        return self.conversations.transcription(item.mel, item.text)

    def _clip(
        self, recorded: list[Recorded], draw: random.Random, generator: np.random.Generator
    ) -> Clip:
        batch = packed([self.said(item, draw) for item in recorded], self.config.codebooks)
        mels = np.stack([item.mel for item in recorded])
        holed = generator.random((len(mels), 1, 1)) < MASKED
        mels = np.where(holed, masked(mels, generator), mels)
        words = mx.array(np.stack([item.classes() for item in recorded]))
        return Clip(dataclasses.replace(batch, clips=(mx.array(mels),)), words)


def train_listening(
    model: Lfm2Audio, examiner: Examiner, size: int, plan: Plan, folder: Path
) -> None:
    """Train encoder and adapter, in place, on `size` recordings a step, an even number."""
    # Frames are not learnt here.
    weighting = Weighting((1.0,) * examiner.config.codebooks)

    def loss(ears: Ears, clip: Clip) -> tuple[mx.array, Any]:
        heard = ears.model.embed_audio(clip.batch.clips[0])
        hidden = states(ears.model, clip.batch, [heard])
        text = losses(ears.model, clip.batch, weighting, hidden).text
        place = place_loss(ears.place_head(heard), clip.words)
        return text + PLACE * place, {"text": text, "place": place}

    model.freeze()
    model.conformer.unfreeze()
    model.audio_adapter.unfreeze()
    for layer in model.conformer.layers:
        # What they are is folded into the filters that learn.
        layer.conv["batch_norm"].freeze(keys=["running_mean", "running_var"])
    train(Ears(model), loss, lambda step: examiner.clips(step, size, plan.group), plan, folder)
