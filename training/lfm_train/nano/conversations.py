"""The conversations that the embedded checkpoint learns: to write down, to speak, to answer."""

from collections.abc import Iterable

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

__all__ = ["Conversations", "corrupted"]

WRONG_CODE, WRONG_FRAME = 0.12, 0.15
"""Shares of the speech so far that are replaced at random: when the model speaks by itself, what it
has said is not what it learnt from."""


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

    def dialogue(
        self, question: str | np.ndarray, answer: str, frames: Frames, system: str | None = None
    ) -> Example:
        """A question in words or as log-mel, and its answer in words and voice, or in words alone
        if there are no frames."""
        said = question if isinstance(question, str) else self._clip(question)
        words = (*self.tokenizer.encode(answer), self.tokenizer.special.text_end)
        config = self.config
        asked = self._asked(config.prompts.chat if system is None else system, [said])
        if not frames:
            return [*asked, *self._answered([TextIds(words)])]
        counts = config.interleaved_n_text, config.interleaved_n_audio
        both = interleaved(words, ended(frames), *counts)
        return [*asked, *both, Part(close_turn(self.tokenizer), learnt=True)]

    def unanswered(self, mel: np.ndarray) -> Example:
        """A recording in which nobody asks anything, to which nothing is said."""
        return [*self._asked(self.config.prompts.chat, [self._clip(mel)]), *self._answered([])]

    def _turns(self, system: str, said: Iterable[str | AudioClip]) -> list[Part]:
        segments = [beginning(self.tokenizer), *turn(self.tokenizer, "system", [system])]
        return [Part(segment) for segment in [*segments, *turn(self.tokenizer, "user", said)]]

    def _asked(self, system: str, said: Iterable[str | AudioClip]) -> list[Part]:
        return [*self._turns(system, said), Part(open_turn(self.tokenizer, "assistant"))]

    def _answered(self, segments: Iterable[Segment]) -> list[Part]:
        return [Part(s, learnt=True) for s in [*segments, close_turn(self.tokenizer)]]

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
