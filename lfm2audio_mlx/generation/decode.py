"""The generation loop: one step of the backbone, one word or one frame of speech, again.

Two schedules decide what comes next. Sequential: words until `<|audio_start|>`, then speech
until its end, then words again. Interleaved: so many words, so many frames, in turns.
Reference: `generate_sequential` and `generate_interleaved` of liquid-audio.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Protocol

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.errors import ContextError
from lfm2audio_mlx.generation.prompt import AudioCodes, Segment, TextIds, embed, length
from lfm2audio_mlx.generation.sampling import Sampling, sample
from lfm2audio_mlx.models.lfm2 import Lfm2State
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.results import EndOfTurn
from lfm2audio_mlx.tokens import END_OF_AUDIO, Modality, SpecialTokens

__all__ = [
    "AudioFrame",
    "Cursor",
    "EndOfTurn",
    "Event",
    "Interleaved",
    "Schedule",
    "Sequential",
    "TextToken",
    "generate",
]

PREFILL_CHUNK = 512
"""Positions that go through the backbone at once; bounds the memory of a long prefill."""


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


Event = TextToken | AudioFrame | EndOfTurn


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


@dataclass
class Cursor:
    """Where a conversation stands: what the backbone has seen, and what it is to see next.

    A generated word or frame waits in `pending` until the next step needs it. So a turn that
    stops anywhere leaves the cursor whole, and the next turn appends to it: nothing that was
    seen is ever computed again.
    """

    context: int
    state: Lfm2State | None = None
    pending: list[Segment] = field(default_factory=list)

    @property
    def position(self) -> int:
        """How long the conversation is, pending parts included."""
        return (self.state.offset if self.state else 0) + length(self.pending)

    @property
    def size(self) -> int:
        """Bytes of the state."""
        return sum(array.nbytes for array in self.state.arrays) if self.state else 0

    def copy(self) -> "Cursor":
        """A snapshot that goes its own way, at no cost."""
        return Cursor(self.context, self.state, list(self.pending))

    def check(self, segments: list[Segment]) -> None:
        """Refuse what would not fit, before any work.

        Raises:
            ContextError: the conversation would be longer than the context.
        """
        wanted = self.position + length(segments)
        if wanted >= self.context:
            raise ContextError(
                f"the conversation needs {wanted:,} positions and room to answer, the model's "
                f"context holds {self.context:,}: start a new one, or use shorter recordings"
            )

    def extend(self, segments: list[Segment]) -> None:
        """Add what was said; see `check`."""
        self.check(segments)
        self.pending.extend(segments)

    def advance(self, model: Lfm2Audio) -> mx.array:
        """Run what is pending through the backbone -> the last hidden state [1, hidden]."""
        x = embed(model, self.pending)
        state, hidden = self.state, x
        for start in range(0, x.shape[1], PREFILL_CHUNK):
            hidden, state = model.lfm(x[:, start : start + PREFILL_CHUNK], state)
            if x.shape[1] > PREFILL_CHUNK:
                mx.eval(hidden)
        self.state, self.pending = state, []
        return hidden[:, -1]

    def settle(self, model: Lfm2Audio) -> None:
        """Run what is pending through the backbone now; what comes next finds it done."""
        mx.eval(self.advance(model))
        if self.state:
            mx.eval(self.state.arrays)


def generate(
    model: Lfm2Audio,
    special: SpecialTokens,
    cursor: Cursor,
    schedule: Schedule,
    *,
    text: Sampling,
    audio: Sampling,
    max_tokens: int,
    key: mx.array,
) -> Generator[Event, None, None]:
    """Answer from where `cursor` stands; it moves along and may be left at any event.

    Yields at most `max_tokens` words and frames, then one `EndOfTurn`. The ending token itself
    is neither yielded nor left in the cursor: whoever goes on closes the turn.
    """
    modality = Modality.TEXT
    for _ in range(max_tokens):
        if cursor.position > cursor.context:
            yield EndOfTurn("context")
            return
        hidden = cursor.advance(model)
        key, now = mx.random.split(key)
        if modality is Modality.TEXT:
            token = int(sample(model.text_logits(hidden), text, now)[0])
            if token == special.turn_end:
                yield EndOfTurn("end")
                return
            modality = schedule.after_text(token, special)
            cursor.pending.append(TextIds((token,)))
            yield TextToken(token)
        else:
            frame = _next_frame(model, hidden, audio, now)
            modality = schedule.after_audio(frame.ends_audio)
            cursor.pending.append(AudioCodes((frame.codes,)))
            yield frame
    yield EndOfTurn("length")


def _next_frame(
    model: Lfm2Audio, hidden: mx.array, sampling: Sampling, key: mx.array
) -> AudioFrame:
    keys = iter(mx.random.split(key, model.depthformer.codebooks))
    codes = model.depthformer(hidden, lambda logits: sample(logits, sampling, next(keys)))
    frame = AudioFrame(tuple(int(code) for code in np.array(codes[0])))
    return AudioFrame((END_OF_AUDIO,) * len(frame.codes)) if frame.ends_audio else frame
