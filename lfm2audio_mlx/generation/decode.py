"""The generation loop: one step of the backbone, one word or one frame of speech, again.

The host is a step behind the device. While it waits for what was chosen, the next step, which
takes that as its input, is under way; so there is one wait for each word or frame, and the
device does not wait for the host. Where the choice turns out to end the turn, the step ahead is
undone; where it turns from words to speech or back, only the last part of it is done anew.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.prompt import AudioCodes, Segment, TextIds
from lfm2audio_mlx.generation.schedules import Schedule, usually_next
from lfm2audio_mlx.generation.steps import Steps
from lfm2audio_mlx.generation.voice import Voice
from lfm2audio_mlx.results import EndOfTurn, Sound
from lfm2audio_mlx.sampling import Sampling
from lfm2audio_mlx.tokens import END_OF_AUDIO, Modality, SpecialTokens

__all__ = ["AudioFrame", "EndOfTurn", "Event", "TextToken", "generate"]


@dataclass(frozen=True)
class TextToken:
    """One id of text, steering tokens such as `<|text_end|>` included."""

    id: int


@dataclass(frozen=True)
class AudioFrame:
    """80 ms of speech as one code per codebook; in the frame that ends it, all are 2048."""

    codes: tuple[int, ...]

    @property
    def ends_audio(self) -> bool:
        return self.codes[0] == END_OF_AUDIO


Event = TextToken | AudioFrame | Sound | EndOfTurn


def generate(
    steps: Steps,
    special: SpecialTokens,
    cursor: Cursor,
    schedule: Schedule,
    *,
    text: Sampling,
    audio: Sampling,
    max_tokens: int,
    key: mx.array,
    voice: Voice | None = None,
) -> Generator[Event, None, None]:
    """Answer from where `cursor` stands; it moves along and may be left at any event.

    Yields at most `max_tokens` words and frames, then one `EndOfTurn`. The ending token itself
    is neither yielded nor left in the cursor: whoever goes on closes the turn. With a `voice`
    each frame is followed by the sound that is ready with it; whoever listens finishes it.
    """
    keys = _keys(key)

    def choose(hidden: mx.array, modality: Modality, key: mx.array) -> _Choice:
        if modality is Modality.TEXT:
            drawn = steps.word(hidden, text, key)
        else:
            drawn = steps.frame(hidden, audio, key)
        mx.async_eval(drawn)
        return _Choice(modality, hidden, key, drawn)

    choice: _Choice | None = None
    for number in range(max_tokens):
        if cursor.position > cursor.context:
            yield EndOfTurn("context")
            return
        if choice is None:
            choice = choose(cursor.advance(steps.model), Modality.TEXT, next(keys))
        speaking = voice if choice.modality is Modality.AUDIO_OUT else None
        ahead: _Choice | None = None
        try:
            sound = speaking.push(choice.drawn) if speaking else None
            if number + 1 < max_tokens and cursor.position < cursor.context:
                hidden = cursor.step_ahead(steps, choice.modality, choice.drawn)
                guess = usually_next(schedule, choice.modality, special)
                ahead = choose(hidden, guess, next(keys))
            event = _read(choice, sound)
        except BaseException:
            cursor.step_back()
            raise
        if isinstance(event, TextToken):
            if event.id == special.turn_end:
                cursor.step_back()
                yield EndOfTurn("end")
                return
            modality = schedule.after_text(event.id, special)
        else:
            modality = schedule.after_audio(event.ends_audio)
        if ahead is None:
            cursor.pending.append(_segment(event))
        else:
            cursor.keep()
            right = ahead.modality is modality
            choice = ahead if right else choose(ahead.hidden, modality, ahead.key)
        sounds = speaking.confirm(_ends(event)) if speaking else []
        yield event
        yield from sounds
    yield EndOfTurn("length")


@dataclass(frozen=True)
class _Choice:
    """A word [1] or frame [1, codebooks], perhaps not computed yet, and what it was chosen from
    and with."""

    modality: Modality
    hidden: mx.array
    key: mx.array
    drawn: mx.array


def _read(choice: _Choice, sound: mx.array | None) -> TextToken | AudioFrame:
    """Wait for what was chosen, and for its sound."""
    if sound is None:
        mx.eval(choice.drawn)
    else:
        mx.eval(choice.drawn, sound)
    ids = np.array(choice.drawn).ravel().tolist()
    return TextToken(ids[0]) if choice.modality is Modality.TEXT else AudioFrame(tuple(ids))


def _ends(event: TextToken | AudioFrame) -> bool:
    return isinstance(event, AudioFrame) and event.ends_audio


def _segment(event: TextToken | AudioFrame) -> Segment:
    if isinstance(event, TextToken):
        return TextIds((event.id,))
    return AudioCodes((event.codes,))


def _keys(key: mx.array) -> Iterator[mx.array]:
    """One for each step. The host draws them: on the device that would be more kernels."""
    draw = np.random.default_rng(np.array(key))
    while True:
        yield mx.array(draw.integers(1 << 32, size=2, dtype=np.uint32))
