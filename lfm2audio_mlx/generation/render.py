"""Tokens to words and frames to sound, as they come."""

from collections.abc import Generator, Iterable, Iterator
from typing import Any

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.generation.decode import AudioFrame, Event, TextToken
from lfm2audio_mlx.models.codec import Codec
from lfm2audio_mlx.results import EndOfTurn, Sound, Words
from lfm2audio_mlx.text.tokenizer import Tokenizer

__all__ = ["Voice", "render"]


def render(
    events: Iterable[Event], tokenizer: Tokenizer, codec: Codec
) -> Generator[Words | Sound | EndOfTurn]:
    """An answer to be read and heard; speech that begins again is a new stream of the codec."""
    words, voice = tokenizer.stream(), Voice(codec)
    for event in events:
        match event:
            case TextToken(id):
                yield Words(words.push(id), id)
            case AudioFrame(ends_audio=True):
                yield from voice.finish()
            case AudioFrame():
                yield voice.speak(event)
            case EndOfTurn():
                yield from voice.finish()
                yield event


class Voice:
    """One stream of the codec; any number of sentences make one seamless sound."""

    def __init__(self, codec: Codec):
        self._codec = codec
        self._state: Any = None

    def speak(self, frame: AudioFrame) -> Sound:
        """The sound of one frame."""
        codes = mx.array(frame.codes)[None, :, None]
        samples, self._state = self._codec.decode(codes, self._state)
        return self._sound(samples)

    def finish(self) -> Iterator[Sound]:
        """Give what the codec held back; the next frame begins a new stream."""
        if self._state is not None:
            samples = self._codec.flush(self._state)
            self._state = None
            if samples.size:
                yield self._sound(samples)

    def _sound(self, samples: mx.array) -> Sound:
        return Sound(np.array(samples[0].astype(mx.float32)), self._codec.sample_rate)
