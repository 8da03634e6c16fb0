"""The last training: the encoder learns on, with its adapter, for a language model that stays as it
is, and so speaks as it did.

It learnt to name words by itself, each wherever it stood. Now it learns what the language model
makes of what it hears, in sentences more than in words without sense, and is asked besides which
word it is hearing in each position; the head for that is thrown away.

It learns in rounds, in each of which the learning rate rises and falls again. What is kept is the
mean of the rounds' ends, which hears better than each of them (Izmailov et al. 2018,
https://arxiv.org/abs/1803.05407).
"""

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_train.examples import Example, packed
from lfm_train.loss import Weighting, losses, states
from lfm_train.nano.conversations import Conversations, Exchange
from lfm_train.nano.encoder import masked
from lfm_train.nano.grammar import Texts, questions
from lfm_train.nano.hearing import Listener, Recorded
from lfm_train.nano.language import PLACE, UNANSWERED, Lesson, Pupil, place_loss
from lfm_train.training import Batches, Plan, train

__all__ = ["Dictation", "train_listening"]

TEXTS = Texts(salad=0.1, splices=0.06, numbers=0.28, questions=0.28)
WORDLESS = 0.2
ASKED = 0.7
"""Share of questions that are answered, in words; the others are written down."""
MASKED = 0.1
"""Share of recordings that have holes."""


class Dictation:
    """Draws what is heard in a step, and what is to be said to it."""

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer):
        self.config, self.listener = config, Listener(config.features, TEXTS, WORDLESS)
        self.conversations = Conversations(config, tokenizer)
        self.answers = {question.text: question.answer for question in questions()}

    def lessons(self, step: int, size: int, group: int) -> list[list[Lesson]]:
        """What is heard in `group` steps from `step` on: twice half of `size` recordings."""
        draw, generator = random.Random(f"listening {step}"), np.random.default_rng(step)
        heard = self.listener.batches(step, size // 2, 2 * group)
        made = [self._lesson(recorded, draw, generator) for recorded in heard]
        return [made[2 * i : 2 * i + 2] for i in range(group)]

    def said(self, item: Recorded, draw: random.Random) -> Example:
        """A recording to write down, to answer, or to say nothing to."""
        if not item.text and draw.random() < UNANSWERED:
            return self.conversations.unanswered(item.mel)
        if item.text in self.answers and draw.random() < ASKED:
            return self.conversations.dialogue([Exchange(item.mel, self.answers[item.text])])
        return self.conversations.transcription(item.mel, item.text)

    def _lesson(
        self, recorded: list[Recorded], draw: random.Random, generator: np.random.Generator
    ) -> Lesson:
        batch = packed([self.said(item, draw) for item in recorded], self.config.codebooks)
        mels = np.stack([item.mel for item in recorded])
        holed = generator.random((len(mels), 1, 1)) < MASKED
        mels = np.where(holed, masked(mels, generator), mels)
        words = mx.array(np.stack([item.classes() for item in recorded]))
        return Lesson(dataclasses.replace(batch, clips=(mx.array(mels),)), words)


def train_listening(
    model: Lfm2Audio, dictation: Dictation, size: int, rounds: Sequence[Plan], folder: Path
) -> None:
    """Train encoder and adapter, in place, on `size` recordings a step, an even number."""
    # Frames are not learnt here.
    weighting = Weighting((1.0,) * dictation.config.codebooks)

    def loss(pupil: Pupil, lesson: Lesson) -> tuple[mx.array, Any]:
        heard = pupil.model.embed_audio(lesson.batch.clips[0])
        hidden = states(pupil.model, lesson.batch, [heard])
        text = losses(pupil.model, lesson.batch, weighting, hidden).text
        place = place_loss(pupil.place_head(heard), lesson.words)
        return text + PLACE * place, {"text": text, "place": place}

    model.freeze()
    model.conformer.unfreeze()
    model.audio_adapter.unfreeze()
    for layer in model.conformer.layers:
        # What they are is folded into the filters that learn.
        layer.conv["batch_norm"].freeze(keys=["running_mean", "running_var"])

    def drawn(first: int, plan: Plan) -> Batches:
        return lambda step: dictation.lessons(first + step, size, plan.group)

    pupil, first, ends = Pupil(model), 0, list[Any]()
    for number, plan in enumerate(rounds, 1):
        train(pupil, loss, drawn(first, plan), plan, folder / f"round-{number}")
        first += plan.steps
        ends.append(model.trainable_parameters())
    model.update(tree_map(_mean, *ends))


def _mean(*weights: mx.array) -> mx.array:
    return mx.stack(list(weights)).mean(axis=0)
