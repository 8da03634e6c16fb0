"""Frames of codes to sound, beside generation: asked for before a frame is known to be speech."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.models.codec import Codec
from lfm2audio_mlx.results import Sound

__all__ = ["Voice"]


class Voice:
    """One stream of the codec; any number of sentences make one seamless sound.

    Frames are decoded in groups: `groups` of so many, one after the other, the last size for
    good. The first frame by itself is heard at once; later ones cost less together.
    """

    def __init__(self, codec: Codec, groups: Sequence[int] = (1,)):
        self._codec, self._groups = codec, groups
        self._begin()

    def _begin(self) -> None:
        self._state: Any = None
        self._group = 0
        self._waiting: list[mx.array] = []
        self._ready: tuple[mx.array, Any] | None = None

    def push(self, codes: mx.array) -> mx.array | None:
        """One more frame [1, codebooks], of which it is not known yet whether it is one of speech
        (`confirm` tells) -> the sound [1, n] that is ready with it, being computed."""
        self._waiting.append(codes)
        if len(self._waiting) == self._groups[min(self._group, len(self._groups) - 1)]:
            self._ready = self._decode()
            mx.async_eval(self._ready[0])
        return self._ready[0] if self._ready else None

    def confirm(self, ended: bool) -> list[Sound]:
        """The sound of the frame that was pushed; if it only `ended` the speech, of those before
        it that are still waiting."""
        if ended:
            self._waiting.pop()
            self._ready = self._decode() if self._waiting else None
        if self._ready is None:
            return []
        samples, self._state = self._ready
        self._waiting, self._ready = [], None
        self._group += 1
        return [self._sound(samples)]

    def finish(self) -> list[Sound]:
        """What is left, and what the codec held back; the next frame begins a new stream."""
        sounds: list[Sound] = []
        if self._waiting:
            samples, self._state = self._decode()
            sounds.append(self._sound(samples))
        if self._state is not None:
            samples = self._codec.flush(self._state)
            sounds += [self._sound(samples)] if samples.size else []
        self._begin()
        return sounds

    def _decode(self) -> tuple[mx.array, Any]:
        # The end of the audio, which has no sound, may be among them.
        codes = mx.minimum(mx.stack(self._waiting, axis=-1), self._codec.codebook_size - 1)
        return self._codec.decode(codes, self._state, checked=True)

    def _sound(self, samples: mx.array) -> Sound:
        return Sound(np.array(samples)[0], self._codec.sample_rate)
