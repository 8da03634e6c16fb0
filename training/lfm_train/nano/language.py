"""The language model's training: transcribing, speaking and answering, mixed in every step, behind
an encoder that stays as it is.

While it speaks it is also asked, at every frame, which word it is saying; a head for that is thrown
away in the end. Without, it learns late to keep its place in the sentence.
"""

import dataclasses
import random
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_train.examples import Batch, Example, Frames, packed
from lfm_train.loss import Weighting, losses, states
from lfm_train.nano.conversations import Conversations, Exchange, corrupted
from lfm_train.nano.grammar import CLASSES, Sentence, sentence
from lfm_train.nano.hearing import FRAME, Listener, Recorded, placed, roughened
from lfm_train.nano.spoken import Spoken
from lfm_train.nano.voices import draw_manner
from lfm_train.training import Plan, train

__all__ = [
    "PLACE",
    "UNANSWERED",
    "Lesson",
    "Mixture",
    "Pupil",
    "Teacher",
    "place_loss",
    "train_language",
]

ANSWERING_VOICE = "us-male"
IN_WORDS = 0.25
"""Share of questions that are written."""
UNSPOKEN = 0.25
"""Share of dialogues whose answers are in words alone."""
UNANSWERED = 0.35
"""Share of recordings without words that are questions, which get no answer."""
QUESTIONS = (1, 1, 2, 3, 6)
"""How many questions a dialogue may have, one number as likely as another."""
OTHER_SYSTEM = 0.15
"""Share of dialogues with a system prompt that tells nothing."""
PLACE = 0.5
"""What naming the word counts beside the words and codes."""


@dataclass(frozen=True)
class Mixture:
    """How many of each are in a step; the questions are those of all its dialogues."""

    transcriptions: int
    readings: int
    questions: int


@dataclass(frozen=True)
class Lesson:
    """One kind of conversation, and the class of the word in each frame that is learnt, or in each
    position of its recordings."""

    batch: Batch
    words: mx.array


class Pupil(nn.Module):
    """The language model, and a head that names the word that it is saying, or hearing."""

    def __init__(self, model: Lfm2Audio):
        super().__init__()
        self.model = model
        hidden = model.lfm.embed_tokens.weight.shape[1]
        self.place_head = nn.Linear(hidden, len(CLASSES) + 1)


class Teacher:
    """Draws what is learnt in a step."""

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer, spoken: list[Spoken]):
        self.config, self.listener = config, Listener(config.features)
        self.conversations = Conversations(config, tokenizer)
        self.spoken = spoken
        self.answers = {s.text: s for s in spoken if s.voice == ANSWERING_VOICE}

    def lessons(self, step: int, mixture: Mixture, group: int) -> list[list[Lesson]]:
        """What is learnt in `group` steps from `step` on, each kind of conversation a piece."""
        draw = random.Random(f"language {step}")
        generator = np.random.default_rng(step)
        heard = self.listener.batches(step, mixture.transcriptions, group)
        made: list[list[Lesson]] = []
        for recorded in heard:
            read = [draw.choice(self.spoken) for _ in range(mixture.readings)]
            asked = [self.question(draw) for _ in range(mixture.questions)]
            pieces = (
                ([self._reading(spoken) for spoken in read], read),
                self._dialogues(draw, asked),
                ([self.hearing(draw, item) for item in recorded], []),
            )
            made.append([self._lesson(examples, said, generator) for examples, said in pieces])
        return made

    def question(self, draw: random.Random) -> tuple[Sentence, Spoken]:
        """One to train on, and how it is answered. Drawn as templates are: among their fillings
        "what time is it" would be one of a thousand."""
        while True:
            question = sentence(draw, questions=True)
            if question.answer in self.answers:
                return question, self.answers[question.answer]

    def hearing(self, draw: random.Random, item: Recorded) -> Example:
        """A recording to write down, or one to which there is nothing to say."""
        if not item.text and draw.random() < UNANSWERED:
            return self.conversations.unanswered(item.mel)
        return self.conversations.transcription(item.mel, item.text)

    def _lesson(
        self, examples: list[Example], said: list[Spoken], draw: np.random.Generator
    ) -> Lesson:
        """Examples, and the speech in them, in the same order."""
        batch = packed(examples, self.config.codebooks)
        frames = corrupted(batch.frames, self.config.codebook_size, draw)
        # The frame that ends a speech holds no word.
        words = [np.append(spoken.words, 0) for spoken in said]
        joined = np.concatenate([*words, np.zeros(0, np.int16)]).astype(np.int32)
        return Lesson(dataclasses.replace(batch, frames=frames), mx.array(joined))

    def _reading(self, spoken: Spoken) -> Example:
        return self.conversations.reading(spoken.text, spoken.voice, _frames(spoken))

    def _dialogues(
        self, draw: random.Random, chosen: list[tuple[Sentence, Spoken]]
    ) -> tuple[list[Example], list[Spoken]]:
        """Dialogues of one or several questions, and the speech in their answers. All answers of a
        dialogue are aloud, or all in words alone."""
        asked = iter(self._asked(draw, [question.text for question, _ in chosen]))
        made: list[Example] = []
        said: list[Spoken] = []
        while chosen:
            size, aloud = draw.choice(QUESTIONS), draw.random() >= UNSPOKEN
            together, chosen = chosen[:size], chosen[size:]
            exchanges = [
                Exchange(next(asked), answer.text, _frames(answer) if aloud else ())
                for _, answer in together
            ]
            system = _nonsense(draw) if draw.random() < OTHER_SYSTEM else None
            made.append(self.conversations.dialogue(exchanges, system))
            said += [answer for _, answer in together if aloud]
        return made, said

    def _asked(self, draw: random.Random, texts: list[str]) -> list[str | np.ndarray]:
        """Questions as they come: some in words, the others as log-mel of one length, so that they
        are encoded together."""
        sounds = {
            index: self.listener.speak(text, draw_manner(draw)).samples
            for index, text in enumerate(texts)
            if draw.random() >= IN_WORDS
        }
        longest = max(map(len, sounds.values()), default=0)
        length = -(-(longest + FRAME) // FRAME) * FRAME
        asked: list[str | np.ndarray] = [*texts]
        for index, samples in sounds.items():
            sound = placed(samples, length, draw.randint(0, length - len(samples)))
            asked[index] = self.listener.mel(roughened(sound, draw))
        return asked


def _nonsense(draw: random.Random) -> str:
    """Words that nobody knows."""
    counts = [draw.randint(1, 8) for _ in range(draw.randint(1, 8))]
    return " ".join("".join(draw.choices(string.ascii_lowercase, k=n)) for n in counts)


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

    def loss(pupil: Pupil, lesson: Lesson) -> tuple[mx.array, Any]:
        batch = lesson.batch
        hidden = states(pupil.model, batch)
        found = losses(pupil.model, batch, weighting, hidden)
        if not batch.frames.size:
            return found.total, {"heard text": found.text}
        kind = "answered" if batch.clips else "read"
        place = place_loss(pupil.place_head(hidden[batch.frame_at]), lesson.words)
        figures = {f"{kind} text": found.text, f"{kind} place": place}
        figures |= {f"{kind} c{i}": found.codes[i] for i in (0, 1, 7)}
        return found.total + PLACE * place, figures

    pupil = Pupil(model)
    model.unfreeze()
    model.conformer.freeze()
    train(pupil, loss, lambda step: teacher.lessons(step, mixture, plan.group), plan, folder)


def place_loss(logits: mx.array, words: mx.array) -> mx.array:
    """Cross-entropy of the word of each frame, or position, where it is known."""
    known = words >= 0
    each = nn.losses.cross_entropy(logits, mx.maximum(words, 0))
    return mx.where(known, each, 0).sum() / mx.maximum(known.sum(), 1)
