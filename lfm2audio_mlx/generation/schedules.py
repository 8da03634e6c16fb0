"""Whether a word or a frame of speech comes next, given what was just produced.

Sequential: words until `<|audio_start|>`, then speech until its end, then words again.
Interleaved: so many words, so many frames, in turns.
Reference: `generate_sequential` and `generate_interleaved` of liquid-audio.
"""

from copy import copy
from typing import Protocol

from lfm2audio_mlx.tokens import Modality, SpecialTokens

__all__ = ["Interleaved", "Schedule", "Sequential", "usually_next"]

ORDINARY = -1
"""A token that steers nothing."""


class Schedule(Protocol):
    """Which modality comes next, given what was just produced."""

    def after_text(self, token: int, special: SpecialTokens) -> Modality: ...

    def after_audio(self, ended: bool) -> Modality: ...


class Sequential:
    """Words, then speech in one piece."""

    def after_text(self, token: int, special: SpecialTokens) -> Modality:
        return Modality.AUDIO_OUT if token == special.audio_start else Modality.TEXT

    def after_audio(self, ended: bool) -> Modality:
        return Modality.TEXT if ended else Modality.AUDIO_OUT


class Interleaved:
    """`n_text` words, `n_audio` frames, and so on; after `<|text_end|>` only speech.

    The end of the audio gives the word back without a fresh count, as in the reference.
    """

    def __init__(self, n_text: int, n_audio: int):
        self.n_text, self.n_audio = n_text, n_audio
        self.left = n_text
        self.text_done = False

    def after_text(self, token: int, special: SpecialTokens) -> Modality:
        self.left -= 1
        self.text_done = self.text_done or token == special.text_end
        if self.left and not self.text_done:
            return Modality.TEXT
        self.left = self.n_audio
        return Modality.AUDIO_OUT

    def after_audio(self, ended: bool) -> Modality:
        self.left -= 1
        if not self.left and not self.text_done:
            self.left = self.n_text
            return Modality.TEXT
        return Modality.TEXT if ended else Modality.AUDIO_OUT


def usually_next(schedule: Schedule, modality: Modality, special: SpecialTokens) -> Modality:
    """What follows one more word or frame unless that is a special one; it moves nothing."""
    schedule = copy(schedule)
    if modality is Modality.TEXT:
        return schedule.after_text(ORDINARY, special)
    return schedule.after_audio(ended=False)
