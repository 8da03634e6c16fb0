"""The façade: load a model once, then transcribe, speak and converse with it.

Nothing here is about networks or files; it turns what a person has (recordings, sentences) into
prompts, and what the model gives (tokens, codes) into words and sound.
"""

import logging
import secrets
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.audio.features import check_speech, log_mel
from lfm2audio_mlx.audio.files import AudioSource, read_audio
from lfm2audio_mlx.audio.probe import source_name
from lfm2audio_mlx.conversation import Chat
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.decode import Event, TextToken, generate
from lfm2audio_mlx.generation.loops import repeated
from lfm2audio_mlx.generation.prompt import AudioClip, beginning, clip_of, open_turn, turn
from lfm2audio_mlx.generation.schedules import Interleaved, Sequential
from lfm2audio_mlx.generation.score import log_likelihoods
from lfm2audio_mlx.generation.steps import Steps
from lfm2audio_mlx.generation.voice import Voice
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.memory import set_limits
from lfm2audio_mlx.models.lfm2 import Lfm2State
from lfm2audio_mlx.recording import hear_spans, most_tokens
from lfm2audio_mlx.results import EndOfTurn, Exchange, Progress, Sound, Span, Transcript, Words
from lfm2audio_mlx.sampling import GREEDY, Sampling
from lfm2audio_mlx.text.sentences import to_say
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.tokens import CONTEXT_LENGTH, Modality
from lfm2audio_mlx.weights import Checkpoint, load

log = logging.getLogger(__name__)

__all__ = ["CHAT_VOICE", "SAY_VOICE", "Chat", "Engine", "Sound", "Transcript", "Words"]

SAY_VOICE = Sampling(temperature=0.8, top_k=64)
CHAT_VOICE = Sampling(temperature=1.0, top_k=4)
"""How speech is sampled in either task (model card)."""

Mode = Literal["interleaved", "sequential"]

BATCH = 8
"""Spans of a recording that are put into words at once. Reading the weights is most of the work,
and serves all."""

GROUPS = (1, 1, 2, 4)
"""Frames of speech that a GPU decodes together, at first and later: as many as can be waited for
while the others are played, if speech is made in half of its time. A quarter of the launches."""

SNAPSHOTS = 8
"""System prompts of which the model's state is kept."""


class Engine:
    """One loaded model; it serves any number of conversations, one step at a time.

    Use it on the thread that loaded it: MLX's streams belong to threads.
    """

    def __init__(self, checkpoint: Checkpoint, tokenizer: Tokenizer, name: str = ""):
        self.name = name
        self.config, self.model, self.codec = checkpoint.config, checkpoint.model, checkpoint.codec
        self.unpacked = checkpoint.unpacked
        self.steps = Steps(self.model)
        self.tokenizer = tokenizer
        self.context = min(CONTEXT_LENGTH, self.config.max_position_embeddings)
        self._snapshot = lru_cache(SNAPSHOTS)(self._behind)

    @classmethod
    def load(
        cls,
        folder: str | Path = EMBEDDED,
        dtype: str | None = None,
        digests: bool = False,
        name: str | None = None,
        unpack: bool | None = None,
    ) -> "Engine":
        """Load a folder made by `lfm convert`; without one, the tiny embedded checkpoint.

        `dtype` ("float32", "bfloat16", "float16") overrides the stored type of what is not
        quantised. `digests` checks every file against its sha256 first, not its size alone.
        `name` is what the engine calls itself, its folder's path unless told otherwise. `unpack`
        says whether quantised weights are turned to float32; without it they are on a CPU that
        has memory for that.

        Raises:
            ConfigError: the folder's configuration is missing or at fault.
            CheckpointError: a weight file or the tokenizer is.
        """
        folder = Path(folder)
        set_limits()
        checkpoint = load(folder, dtype, digests, unpack)
        return cls(checkpoint, Tokenizer(folder), name or str(folder.resolve()))

    @property
    def dtype(self) -> mx.Dtype:
        """What the model computes in (its decoder: float32)."""
        return self.model.lfm.embedding_norm.weight.dtype

    @property
    def sample_rate(self) -> int:
        """Of speech that it makes, in Hz."""
        return self.codec.sample_rate

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
        return clip_of(mel, factor)

    def transcribe(self, audio: AudioSource, *, prompt: str | None = None) -> Transcript:
        """The words of a recording of any length; see `spans`."""
        return Transcript.of(self.spans(audio, prompt=prompt))

    def spans(
        self,
        audio: AudioSource,
        *,
        prompt: str | None = None,
        after: float = 0.0,
        batch: int = BATCH,
    ) -> Iterator[Span | Progress]:
        """The words of a recording of any length, span by span in order, greedy; between them,
        how far it is.

        Sound is cut at pauses into spans of at most 30 s; what is no speech is not heard. `batch`
        of them are put into words at once. Memory does not grow with the length. `prompt`
        replaces the checkpoint's own system prompt. Spans that end by `after` (seconds) are
        passed over: they are known.

        Raises:
            AudioError: it cannot be read, or is too short or not finite.
        """
        return hear_spans(self, audio, prompt, after, batch)

    def hear(
        self, audio: AudioSource, *, prompt: str | None = None, max_tokens: int | None = None
    ) -> Span:
        """The words of one short recording in one pass, all of it taken for speech, greedy.

        This is the reference's transcription; the model was trained on 30 s at most.
        `max_tokens` defaults to four times what fast speech needs.

        Raises:
            AudioError: see `listen`.
            ContextError: the recording is longer than the context.
        """
        cursor, seconds = self.asked_for_words(audio, prompt)
        limit = most_tokens(seconds) if max_tokens is None else max_tokens
        tokens: list[int] = []
        complete = loop = False
        for event in self._generate(cursor, "sequential", GREEDY, GREEDY, limit, mx.random.key(0)):
            if isinstance(event, EndOfTurn):
                complete = event.reason == "end"
            elif isinstance(event, TextToken):
                tokens.append(event.id)
                if extra := repeated(tokens):
                    loop = True
                    del tokens[-extra:]
                    break
        text = self.tokenizer.decode(tokens).strip()
        return Span(0.0, seconds, text, tuple(tokens), complete, loop)

    def asked_for_words(self, audio: AudioSource, prompt: str | None) -> tuple[Cursor, float]:
        """A cursor where the words of a short recording begin, and how long that is, in seconds.

        Raises:
            AudioError, ContextError: see `listen`.
        """
        clip = self.listen(audio)
        return self._begin(prompt or self.config.prompts.transcribe, [clip]), self._seconds(clip)

    def say(
        self,
        text: str,
        *,
        voice: str | None = None,
        raw: bool = False,
        sampling: Sampling = SAY_VOICE,
        seed: int | None = None,
        max_tokens: int | None = None,
    ) -> Iterator[Sound]:
        """Speak a text of any length; the sound comes piece by piece as it is made.

        Numbers, abbreviations and markdown are read as people say them, unless `raw`. Sentences
        are made one by one and go through one stream of the codec, so there is no seam. `voice`
        is one of `voices`, or a description where the checkpoint understands one. Without a
        `seed` each call sounds a little different; `max_tokens` limits each sentence.

        Raises (before the first piece):
            RequestError: there is nothing to say, or the voice is unknown.
        """
        pieces = to_say(text, raw)
        if not pieces:
            raise RequestError("there is nothing to say: the text is empty")
        start = self._opened(self._voice_prompt(voice))
        return self._speak(pieces, start, sampling, max_tokens, _key(seed))

    def _speak(
        self,
        pieces: Sequence[str],
        start: Cursor,
        sampling: Sampling,
        max_tokens: int | None,
        key: mx.array,
    ) -> Iterator[Sound]:
        voice = self.voice()
        for number, piece in enumerate(pieces):
            cursor = start.copy()
            said = turn(self.tokenizer, "user", [piece])
            cursor.extend([*said, open_turn(self.tokenizer, "assistant")])
            limit = 64 + 4 * len(piece) if max_tokens is None else max_tokens
            key, now = mx.random.split(key)
            for event in self._generate(cursor, "sequential", GREEDY, sampling, limit, now, voice):
                if isinstance(event, Sound):
                    yield replace(event, sentence=number, sentences=len(pieces), text=piece)
                elif isinstance(event, EndOfTurn) and event.reason != "end":
                    log.warning("%r was cut off: its %s is used up", piece, event.reason)
        last = {"sentence": len(pieces) - 1, "sentences": len(pieces), "text": pieces[-1]}
        for sound in voice.finish():
            yield replace(sound, **last)

    def chat(
        self,
        *,
        system: str | None = None,
        mode: Mode = "interleaved",
        history: Sequence[Exchange] = (),
        text: Sampling = GREEDY,
        audio: Sampling = CHAT_VOICE,
        seed: int | None = None,
    ) -> Chat:
        """Begin a conversation, or go on from the `exchanges` of an earlier one.

        `sequential` mode answers in words, or speaks once asked to.
        """
        _key(seed)  # refuses one that is none

        def answer(
            cursor: Cursor, number: int, max_tokens: int, voice: Voice | None
        ) -> Generator[Event, None, None]:
            key = _key(seed)  # each answer draws from one of its own
            for _ in range(number):
                key, _ = mx.random.split(key)
            _, now = mx.random.split(key)
            return self._generate(cursor, mode, text, audio, max_tokens, now, voice)

        return Chat(self, self._opened(system or self.config.prompts.chat), answer, history)

    def classify(
        self, audio: AudioSource, labels: Sequence[str], *, question: str | None = None
    ) -> Mapping[str, float]:
        """How probable each of `labels` is for a recording: the model's own likelihood of
        answering with that label, among these.

        `question` stands in place of one that asks which of them fits.

        Raises:
            RequestError: fewer than two labels, or two alike.
            AudioError: see `listen`.
            ContextError: the recording is longer than the context.
        """
        if len(labels) < 2 or len(set(labels)) < len(labels) or not all(map(str.strip, labels)):
            raise RequestError("labels: at least two, all different, none empty")
        asked = question or f"Which of these fits the recording: {', '.join(labels)}?"
        cursor = self._begin(self.config.prompts.chat, [self.listen(audio), asked])
        end = (self.tokenizer.special.turn_end,)
        answers = [(*self.tokenizer.encode(label), *end) for label in labels]
        logs = np.array(log_likelihoods(self.model, cursor, answers))
        shares = np.exp(logs - logs.max())
        return dict(zip(labels, (shares / shares.sum()).tolist(), strict=True))

    def voice(self) -> Voice:
        """A new stream of speech."""
        return Voice(self.codec, GROUPS if mx.default_device() == mx.Device(mx.gpu) else (1,))

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
        cursor = self._opened(system)
        asked = turn(self.tokenizer, "user", parts)
        cursor.extend([*asked, open_turn(self.tokenizer, "assistant")])
        return cursor

    def prepare(self) -> None:
        """Run the checkpoint's own prompts through the model now, and once each step there is, so
        that no first request waits for that, nor for what MLX compiles."""
        prompts = self.config.prompts
        for prompt in (prompts.transcribe, prompts.speak, prompts.chat):
            self._opened(prompt)
        cursor, voice, key = self._begin(prompts.chat, ["?"]), self.voice(), mx.random.key(0)
        hidden = cursor.advance(self.model)
        for sampling in (SAY_VOICE, CHAT_VOICE):
            codes = self.steps.frame(hidden, sampling, key)
            voice.push(codes)
            voice.confirm(ended=False)
            hidden = cursor.step_ahead(self.steps, Modality.AUDIO_OUT, codes)
        word = self.steps.word(hidden, GREEDY, key)
        mx.eval(cursor.step_ahead(self.steps, Modality.TEXT, word))

    def _opened(self, system: str) -> Cursor:
        """A cursor behind a system prompt, which goes through the model once.

        Raises:
            ContextError: the prompt is longer than the context.
        """
        return Cursor(self.context, self._snapshot(system))

    def _behind(self, system: str) -> Lfm2State | None:
        cursor = Cursor(self.context)
        cursor.extend([beginning(self.tokenizer), *turn(self.tokenizer, "system", [system])])
        cursor.settle(self.model)
        return cursor.state

    def _generate(
        self,
        cursor: Cursor,
        mode: Mode,
        text: Sampling,
        audio: Sampling,
        max_tokens: int,
        key: mx.array,
        voice: Voice | None = None,
    ) -> Generator[Event, None, None]:
        config = self.config
        schedule = (
            Sequential()
            if mode == "sequential"
            else Interleaved(config.interleaved_n_text, config.interleaved_n_audio)
        )
        return generate(
            self.steps,
            self.tokenizer.special,
            cursor,
            schedule,
            text=text,
            audio=audio,
            max_tokens=max_tokens,
            key=key,
            voice=voice,
        )


def _key(seed: int | None) -> mx.array:
    if seed is not None and not 0 <= seed < 1 << 64:
        raise RequestError(f"seed {seed} is not a number from 0 to 2^64 - 1")
    return mx.random.key(secrets.randbits(32) if seed is None else seed)
