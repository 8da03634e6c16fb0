"""The conversations that the embedded checkpoint learns: to write down, to speak, to answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.generation.prompt import (
    AudioClip,
    AudioCodes,
    Segment,
    TextIds,
    beginning,
    clip_of,
    close_turn,
    open_turn,
    turn,
)
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.tokens import END_OF_AUDIO
from lfm_train.examples import Example, Frames, Part, ended, interleaved

__all__ = ["Conversations", "Exchange", "corrupted"]

WRONG_CODE, WRONG_FRAME = 0.12, 0.15
"""Shares of the speech so far that are replaced at random: when the model speaks by itself, what it
has said is not what it learnt from."""


@dataclass(frozen=True)
class Exchange:
    """A question in words or as log-mel, and its answer in words and voice, or in words alone if
    there are no frames."""

    question: str | np.ndarray
    answer: str
    frames: Frames = ()


class Conversations:
    """Builds examples in the prompts of a configuration."""

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer):
        self.config, self.tokenizer = config, tokenizer

    def transcription(self, mel: np.ndarray, text: str) -> Example:
        """A recording, and its words."""
        asked = self._asked(self.config.prompts.transcribe, [self._clip(mel)])
        return [*asked, *self._answered([TextIds(self.tokenizer.encode(text))] if text else [])]

    def reading(self, text: str, voice: str, frames: Frames) -> Example:
        """A sentence, and how a voice says it."""
        asked = self._asked(self.config.prompts.voices[voice], [text])
        start = TextIds((self.tokenizer.special.audio_start,))
        return [*asked, *self._answered([start, AudioCodes(ended(frames))])]

    def dialogue(self, exchanges: Sequence[Exchange], system: str | None = None) -> Example:
        """Questions and answers, one after the other."""
        chat = self.config.prompts.chat if system is None else system
        parts = self._opened(chat)
        for exchange in exchanges:
            parts += [*self._question([self._said(exchange.question)]), *self._reply(exchange)]
        return parts

    def unanswered(self, mel: np.ndarray) -> Example:
        """A recording in which nobody asks anything, to which nothing is said."""
        return [*self._asked(self.config.prompts.chat, [self._clip(mel)]), *self._answered([])]

    def _opened(self, system: str) -> list[Part]:
        segments = [beginning(self.tokenizer), *turn(self.tokenizer, "system", [system])]
        return [Part(segment) for segment in segments]

    def _question(self, said: Iterable[str | AudioClip]) -> list[Part]:
        asked = turn(self.tokenizer, "user", said)
        return [Part(segment) for segment in [*asked, open_turn(self.tokenizer, "assistant")]]

    def _asked(self, system: str, said: Iterable[str | AudioClip]) -> list[Part]:
        return [*self._opened(system), *self._question(said)]

    def _answered(self, segments: Iterable[Segment]) -> list[Part]:
        return [Part(s, learnt=True) for s in [*segments, close_turn(self.tokenizer)]]

    def _reply(self, exchange: Exchange) -> list[Part]:
        words = (*self.tokenizer.encode(exchange.answer), self.tokenizer.special.text_end)
        if not exchange.frames:
            return self._answered([TextIds(words)])
        counts = self.config.interleaved_n_text, self.config.interleaved_n_audio
        both = interleaved(words, ended(exchange.frames), *counts)
        return [*both, *self._answered([])]

    def _said(self, question: str | np.ndarray) -> str | AudioClip:
        return question if isinstance(question, str) else self._clip(question)

    def _clip(self, mel: np.ndarray) -> AudioClip:
        return clip_of(mel, self.config.conformer.subsampling_factor)


def corrupted(frames: mx.array, size: int, draw: np.random.Generator) -> mx.array:
    """Frames [N, codebooks] with some codes, and some whole frames, of another moment; the ends of
    the audio stay."""
    codes = np.array(frames)
    wrong = draw.random(codes.shape) < WRONG_CODE
    wrong |= draw.random((len(codes), 1)) < WRONG_FRAME
    wrong &= codes != END_OF_AUDIO
    return mx.array(np.where(wrong, draw.integers(0, size, codes.shape), codes).astype(np.int32))
