"""The language model's training: transcribing, speaking and answering, mixed in every step, behind
an encoder that stays as it is."""

import dataclasses
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_train.examples import Batch, Example, packed
from lfm_train.loss import Weighting, losses
from lfm_train.nano.conversations import Conversations, Frames, corrupted
from lfm_train.nano.grammar import Sentence, questions
from lfm_train.nano.hearing import FRAME, Listener, placed, roughened
from lfm_train.nano.spoken import Spoken
from lfm_train.nano.voices import draw_manner
from lfm_train.training import Plan, train

__all__ = ["Mixture", "Teacher", "train_language"]

ANSWERING_VOICE = "us-male"
IN_WORDS = 0.25
"""Share of questions that are written."""


@dataclass(frozen=True)
class Mixture:
    """How many of each are in a step."""

    transcriptions: int
    readings: int
    dialogues: int


class Teacher:
    """Draws what is learnt in a step."""

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer, spoken: list[Spoken]):
        self.config, self.listener = config, Listener(config.features)
        self.conversations = Conversations(config, tokenizer)
        self.spoken = spoken
        voiced = {s.text: s for s in spoken if s.voice == ANSWERING_VOICE}
        self.questions = [(q, voiced[q.answer]) for q in questions() if q.answer in voiced]

    def batches(self, step: int, mixture: Mixture, group: int) -> list[list[Batch]]:
        """The batches of `group` steps from `step` on, each kind of conversation a piece."""
        draw = random.Random(f"language {step}")
        generator = np.random.default_rng(step)
        heard = self.listener.batches(step, mixture.transcriptions, group)
        made: list[list[Batch]] = []
        for recorded in heard:
            pieces = [
                [self._reading(draw) for _ in range(mixture.readings)],
                self._dialogues(draw, mixture.dialogues),
                [self.conversations.transcription(item.mel, item.text) for item in recorded],
            ]
            made.append([self._packed(examples, generator) for examples in pieces])
        return made

    def _packed(self, examples: list[Example], draw: np.random.Generator) -> Batch:
        batch = packed(examples, self.config.codebooks)
        frames = corrupted(batch.frames, self.config.codebook_size, draw)
        return dataclasses.replace(batch, frames=frames)

    def _reading(self, draw: random.Random) -> Example:
        spoken = draw.choice(self.spoken)
        return self.conversations.reading(spoken.text, spoken.voice, _frames(spoken))

    def _dialogues(self, draw: random.Random, count: int) -> list[Example]:
        """Questions that are heard have one length, so that they are encoded together."""
        chosen = [draw.choice(self.questions) for _ in range(count)]
        sounds = {
            index: self._asked(question, draw)
            for index, (question, _) in enumerate(chosen)
            if draw.random() >= IN_WORDS
        }
        longest = max(map(len, sounds.values()), default=0)
        length = -(-(longest + FRAME) // FRAME) * FRAME
        made: list[Example] = []
        for index, (question, answer) in enumerate(chosen):
            said: str | np.ndarray = question.text
            if index in sounds:
                before = draw.randint(0, length - len(sounds[index]))
                sound = placed(sounds[index], length, before)
                said = self.listener.mel(roughened(sound, draw))
            made.append(self.conversations.dialogue(said, question.answer, _frames(answer)))
        return made

    def _asked(self, question: Sentence, draw: random.Random) -> np.ndarray:
        return self.listener.speak(question.text, draw_manner(draw)).samples


def _frames(spoken: Spoken) -> Frames:
    return tuple(tuple(frame) for frame in spoken.codes.tolist())


def train_language(
    model: Lfm2Audio,
    teacher: Teacher,
    weighting: Weighting,
    mixture: Mixture,
    plan: Plan,
    folder: Path,
) -> None:
    """Train all but the encoder, in place."""

    def loss(model: Lfm2Audio, batch: Batch) -> tuple[mx.array, Any]:
        found = losses(model, batch, weighting)
        kind = "heard" if not batch.frames.size else "answered" if batch.clips else "read"
        figures = {f"{kind} text": found.text}
        if batch.frames.size:
            figures |= {f"{kind} c{i}": found.codes[i] for i in (0, 1, 7)}
        return found.total, figures

    model.unfreeze()
    model.conformer.freeze()
    train(model, loss, lambda step: teacher.batches(step, mixture, plan.group), plan, folder)
