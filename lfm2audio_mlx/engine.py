"""The façade: load a model once, then transcribe, speak and converse with it.

Nothing here is about networks or files; it turns what a person has (recordings, sentences) into
prompts, and what the model gives (tokens, codes) into words and sound.
"""

import logging
import secrets
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.audio.features import check_speech, log_mel
from lfm2audio_mlx.audio.files import AudioSource, read_audio, source_name
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.generation.decode import (
    AudioFrame,
    Cursor,
    EndOfTurn,
    Event,
    Interleaved,
    Sequential,
    TextToken,
    generate,
)
from lfm2audio_mlx.generation.prompt import (
    AudioClip,
    Segment,
    beginning,
    close_turn,
    open_turn,
    turn,
)
from lfm2audio_mlx.generation.sampling import GREEDY, Sampling
from lfm2audio_mlx.models.codec import Codec
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.tokens import CONTEXT_LENGTH
from lfm2audio_mlx.weights import EMBEDDED, Checkpoint, load

log = logging.getLogger(__name__)

__all__ = ["CHAT_VOICE", "SAY_VOICE", "Chat", "Engine", "Sound", "Transcript", "Words"]

SAY_VOICE = Sampling(temperature=0.8, top_k=64)
CHAT_VOICE = Sampling(temperature=1.0, top_k=4)
"""How speech is sampled in either task (model card)."""

Mode = Literal["interleaved", "sequential"]
Part = str | Path | bytes | tuple[np.ndarray, int] | AudioClip
"""A part of what is said to the model: a `str` is words, anything else is sound (an `AudioClip`
is what `Engine.listen` made of one)."""


@dataclass(frozen=True)
class Words:
    """Text as it comes, never a part of a character; may be empty for a steering token."""

    text: str
    token: int


@dataclass(frozen=True)
class Sound:
    """Speech as it comes: mono float32 samples [n], n not fixed; loud speech may pass 1."""

    samples: np.ndarray
    sample_rate: int


@dataclass(frozen=True)
class Transcript:
    """What was heard in `duration` seconds. `complete` is False when a limit cut the text off."""

    text: str
    duration: float
    tokens: tuple[int, ...]
    complete: bool


class Engine:
    """One loaded model; it serves any number of conversations, one step at a time.

    Use it on the thread that loaded it: MLX's streams belong to threads.
    """

    def __init__(self, checkpoint: Checkpoint, tokenizer: Tokenizer):
        self.config, self.model, self.codec = checkpoint.config, checkpoint.model, checkpoint.codec
        self.tokenizer = tokenizer
        self.context = min(CONTEXT_LENGTH, self.config.max_position_embeddings)

    @classmethod
    def load(
        cls, folder: str | Path = EMBEDDED, dtype: str | None = None, digests: bool = False
    ) -> "Engine":
        """Load a folder made by `lfm convert`; without one, the tiny embedded checkpoint.

        `dtype` ("float32", "bfloat16", "float16") overrides the stored type of what is not
        quantised. `digests` checks every file against its sha256 first, not its size alone.

        Raises:
            ConfigError: the folder's configuration is missing or at fault.
            CheckpointError: a weight file or the tokenizer is.
        """
        return cls(load(Path(folder), dtype, digests), Tokenizer(Path(folder)))

    @property
    def dtype(self) -> mx.Dtype:
        """What the model computes in (its decoder: float32)."""
        return self.model.lfm.embedding_norm.weight.dtype

    @property
    def voices(self) -> tuple[str, ...]:
        """Names that `say` takes."""
        return tuple(self.config.prompts.voices)

    def listen(self, audio: AudioSource) -> AudioClip:
        """Read a recording and compute its features.

        Raises:
            AudioError: it cannot be read, or is too short or not finite.
            ContextError: it alone is longer than the context.
        """
        features, factor = self.config.features, self.config.conformer.subsampling_factor
        longest = self.context * factor * features.hop_length / features.sample_rate
        samples = read_audio(audio, features.sample_rate, longest)
        check_speech(samples, features, source_name(audio))
        mel = log_mel(samples, features)
        return AudioClip(mx.array(mel), -(-len(mel) // factor))

    def transcribe(
        self, audio: AudioSource, *, prompt: str | None = None, max_tokens: int | None = None
    ) -> Transcript:
        """The words of one recording, greedy.

        `prompt` replaces the checkpoint's own system prompt; `max_tokens` defaults to four times
        what fast speech needs.

        Raises:
            AudioError: see `listen`.
            ContextError: the recording is longer than the context.
        """
        clip = self.listen(audio)
        seconds = self._seconds(clip)
        cursor = self._begin(prompt or self.config.prompts.transcribe, [clip])
        limit = 32 + int(24 * seconds) if max_tokens is None else max_tokens
        tokens: list[int] = []
        complete = False
        for event in self._generate(cursor, "sequential", GREEDY, GREEDY, limit, mx.random.key(0)):
            match event:
                case TextToken(id):
                    tokens.append(id)
                case EndOfTurn(reason):
                    complete = reason == "end"
                case AudioFrame():
                    pass
        text = self.tokenizer.decode(tokens).strip()
        return Transcript(text, seconds, tuple(tokens), complete)

    def say(
        self,
        text: str,
        *,
        voice: str | None = None,
        sampling: Sampling = SAY_VOICE,
        seed: int | None = None,
        max_tokens: int | None = None,
    ) -> Iterator[Sound]:
        """Speak a text; the sound comes piece by piece as it is made.

        `voice` is one of `voices`, or a description where the checkpoint understands one.
        Without a `seed` each call sounds a little different.

        Raises (before the first piece):
            RequestError: there is nothing to say, or the voice is unknown.
            ContextError: the text is longer than the context.
        """
        if not text.strip():
            raise RequestError("there is nothing to say: the text is empty")
        cursor = self._begin(self._voice_prompt(voice), [text])
        limit = 64 + 4 * len(text) if max_tokens is None else max_tokens
        events = self._generate(cursor, "sequential", GREEDY, sampling, limit, _key(seed))
        return _sounds(self._render(events))

    def chat(
        self,
        *,
        system: str | None = None,
        mode: Mode = "interleaved",
        text: Sampling = GREEDY,
        audio: Sampling = CHAT_VOICE,
        seed: int | None = None,
    ) -> "Chat":
        """Begin a conversation. `sequential` mode answers in words, or speaks once asked to."""
        return Chat(self, system or self.config.prompts.chat, mode, text, audio, _key(seed))

    def _voice_prompt(self, voice: str | None) -> str:
        prompts = self.config.prompts
        if voice is None:
            return prompts.speak
        if voice in prompts.voices:
            return prompts.voices[voice]
        if prompts.described_voice and " " in voice.strip():
            return prompts.described_voice.format(description=voice.strip())
        known = ", ".join(prompts.voices) or "none to choose from"
        raise RequestError(f"voice '{voice}' is unknown; this model has: {known}")

    def _seconds(self, clip: AudioClip) -> float:
        features = self.config.features
        return (clip.features.shape[0] - 1) * features.hop_length / features.sample_rate

    def _begin(self, system: str, parts: list[str | AudioClip]) -> Cursor:
        """A cursor at the start of the answer to one question."""
        tokens = self.tokenizer
        cursor = Cursor(self.context)
        cursor.extend(
            [
                beginning(tokens),
                *turn(tokens, "system", [system]),
                *turn(tokens, "user", parts),
                open_turn(tokens, "assistant"),
            ]
        )
        return cursor

    def _generate(
        self,
        cursor: Cursor,
        mode: Mode,
        text: Sampling,
        audio: Sampling,
        max_tokens: int,
        key: mx.array,
    ) -> Generator[Event, None, None]:
        config = self.config
        schedule = (
            Sequential()
            if mode == "sequential"
            else Interleaved(config.interleaved_n_text, config.interleaved_n_audio)
        )
        return generate(
            self.model,
            self.tokenizer.special,
            cursor,
            schedule,
            text=text,
            audio=audio,
            max_tokens=max_tokens,
            key=key,
        )

    def _render(self, events: Iterator[Event]) -> Iterator[Words | Sound | EndOfTurn]:
        """Tokens to words, frames to sound, as they come."""
        words = self.tokenizer.stream()
        voice = _Voice(self.codec)
        for event in events:
            match event:
                case TextToken(id):
                    yield Words(words.push(id), id)
                case AudioFrame():
                    yield from voice.speak(event)
                case EndOfTurn():
                    yield from voice.finish()
                    yield event


class _Voice:
    """Turns frames into sound through one stream of the codec."""

    def __init__(self, codec: Codec):
        self.codec = codec
        self.state: Any = None

    def speak(self, frame: AudioFrame) -> Iterator[Sound]:
        if frame.ends_audio:
            yield from self.finish()
            return
        codes = mx.array(frame.codes)[None, :, None]
        samples, self.state = self.codec.decode(codes, self.state)
        yield self._sound(samples)

    def finish(self) -> Iterator[Sound]:
        """Give what the codec held back; the next frame begins a new stream."""
        if self.state is not None:
            samples = self.codec.flush(self.state)
            self.state = None
            if samples.size:
                yield self._sound(samples)

    def _sound(self, samples: mx.array) -> Sound:
        return Sound(np.array(samples[0].astype(mx.float32)), self.codec.sample_rate)


class Chat:
    """A conversation of many turns; each goes on from the caches of the last."""

    def __init__(
        self,
        engine: Engine,
        system: str,
        mode: Mode,
        text: Sampling,
        audio: Sampling,
        key: mx.array,
    ):
        self._engine = engine
        self._mode: Mode = mode
        self._text, self._audio, self._key = text, audio, key
        self._reply: Generator[Event, None, None] | None = None
        self.cursor = Cursor(engine.context)
        self.cursor.extend(
            [beginning(engine.tokenizer), *turn(engine.tokenizer, "system", [system])]
        )

    def reply(self, *parts: Part, max_tokens: int = 1024) -> Iterator[Words | Sound | EndOfTurn]:
        """Say something (words, sound, or both in any order) and stream the answer.

        The generator may be left at any point: what came so far is what the model remembers
        having said. Asking again ends an answer that is still being given.

        Raises (before any work):
            RequestError: nothing was said.
            AudioError: a recording is at fault.
            ContextError: the conversation has become too long.
        """
        return self._engine._render(self.events(*parts, max_tokens=max_tokens))

    def events(self, *parts: Part, max_tokens: int = 1024) -> Iterator[Event]:
        """The same as tokens and frames of codes, neither decoded."""
        engine = self._engine
        if not any(not isinstance(part, str) or part.strip() for part in parts):
            raise RequestError("there is nothing to answer: the question is empty")
        heard = [
            part if isinstance(part, str | AudioClip) else engine.listen(part) for part in parts
        ]
        segments: list[Segment] = []
        if self._reply:
            # An answer that is still being given ends here, at what came of it.
            self._reply.close()
            segments.append(close_turn(engine.tokenizer))
        segments += turn(engine.tokenizer, "user", heard)
        segments.append(open_turn(engine.tokenizer, "assistant"))
        self.cursor.extend(segments)
        self._key, now = mx.random.split(self._key)
        self._reply = engine._generate(
            self.cursor, self._mode, self._text, self._audio, max_tokens, now
        )
        return self._reply


def _sounds(items: Iterator[Words | Sound | EndOfTurn]) -> Iterator[Sound]:
    """The sounds alone; an end before the end is logged."""
    for item in items:
        if isinstance(item, Sound):
            yield item
        elif isinstance(item, EndOfTurn) and item.reason != "end":
            log.warning("the speech was cut off: its %s is used up", item.reason)


def _key(seed: int | None) -> mx.array:
    if seed is not None and not 0 <= seed < 1 << 64:
        raise RequestError(f"seed {seed} is not a number from 0 to 2^64 - 1")
    return mx.random.key(secrets.randbits(32) if seed is None else seed)
