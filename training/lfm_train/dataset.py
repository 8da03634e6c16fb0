"""Conversations to fine-tune on, from a file of JSON lines.

Each line is a conversation:

    {"messages": [{"role": "system", "text": "Perform ASR."},
                  {"role": "user", "audio": "clips/0001.wav"},
                  {"role": "assistant", "text": "turn on the light"}]}

Sound files are looked for beside the file. What the assistant says is learnt: text alone, or sound
alone (sequential speech), or both (words and voice in turns). Others may say both, text first.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import mlx.core as mx
import numpy as np
from rich.progress import track

from lfm2audio_mlx.audio.features import check_speech, log_mel
from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.audio.probe import probe
from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.generation.prompt import (
    AudioCodes,
    Segment,
    TextIds,
    beginning,
    clip_of,
    close_turn,
    open_turn,
)
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_train.codec.codec import TrainedCodec
from lfm_train.examples import Example, Frames, Part, ended, interleaved

__all__ = ["Message", "Preparer", "read_dataset"]

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn; a text that is "" and a sound that is None are not there."""

    role: Literal["system", "user", "assistant"]
    text: str
    audio: Path | None


def read_dataset(path: Path) -> list[list[Message]]:
    """Read and check a file before anything is loaded.

    Raises:
        RequestError: it cannot be read, or a line is at fault; it is named with its number.
        AudioError: a sound file is missing or cannot be read.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: is no UTF-8 text") from error
    made = [_conversation(path, n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not made:
        raise RequestError(f"{path}: holds no conversations")
    return made


def _conversation(path: Path, number: int, line: str) -> list[Message]:
    where = f"{path}, line {number}"
    try:
        messages: Any = json.loads(line)["messages"]
    except (ValueError, KeyError, TypeError):
        raise RequestError(f'{where}: is no JSON object with a list "messages"') from None
    if not isinstance(messages, list) or not messages:
        raise RequestError(f'{where}: "messages" is no list of turns')
    made = [_message(path, where, message) for message in cast(list[Any], messages)]
    if not any(message.role == "assistant" for message in made):
        raise RequestError(f"{where}: nobody is the assistant, so there is nothing to learn")
    return made


def _message(path: Path, where: str, message: Any) -> Message:
    if not isinstance(message, dict):
        raise RequestError(f"{where}: a turn is no JSON object")
    found = cast(dict[str, Any], message)
    if unknown := found.keys() - {"role", "text", "audio"}:
        raise RequestError(f"{where}: key '{min(unknown)}' is unknown; there are role, text, audio")
    role, text, audio = found.get("role"), found.get("text", ""), found.get("audio", "")
    if role not in ROLES or not isinstance(text, str) or not isinstance(audio, str):
        raise RequestError(
            f"{where}: a role is one of {', '.join(ROLES)}; text and audio are texts"
        )
    if not (text or audio):
        raise RequestError(f"{where}: the {role} says nothing; give a text, an audio file or both")
    if not audio:
        return Message(role, text, None)
    sound = path.parent / audio
    probe(sound)
    return Message(role, text, sound)


class Preparer:
    """Makes examples of messages. Without a codec nobody can learn to speak."""

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer, codec: TrainedCodec | None):
        self.config, self.tokenizer, self.codec = config, tokenizer, codec

    def examples(self, conversations: list[list[Message]]) -> list[Example]:
        """All of them, in memory: sound is kept as log-mel, speech as codes."""
        return [self._example(messages) for messages in track(conversations, "preparing")]

    def _example(self, messages: list[Message]) -> Example:
        parts = [Part(beginning(self.tokenizer))]
        for message in messages:
            learnt = message.role == "assistant"
            parts.append(Part(open_turn(self.tokenizer, message.role)))
            if learnt and message.text and message.audio:
                parts += self._both(message.text, message.audio)
            else:
                parts += [Part(segment, learnt) for segment in self._segments(message)]
            parts.append(Part(close_turn(self.tokenizer), learnt))
        return parts

    def _both(self, text: str, audio: Path) -> list[Part]:
        words = (*self.tokenizer.encode(text), self.tokenizer.special.text_end)
        counts = self.config.interleaved_n_text, self.config.interleaved_n_audio
        return interleaved(words, self._codes(audio), *counts)

    def _segments(self, message: Message) -> Iterator[Segment]:
        if message.text:
            yield TextIds(self.tokenizer.encode(message.text))
        if message.audio and message.role == "assistant":
            yield TextIds((self.tokenizer.special.audio_start,))
            yield AudioCodes(self._codes(message.audio))
        elif message.audio:
            features = self.config.features
            samples = read_audio(message.audio, features.sample_rate)
            check_speech(samples, features, str(message.audio))
            mel = log_mel(samples, features)
            factor = self.config.conformer.subsampling_factor
            yield clip_of(mel, factor)

    def _codes(self, audio: Path) -> Frames:
        """What the codec makes of a recording, and the end of the audio."""
        if self.codec is None or self.config.mimi is None:
            raise RequestError(
                f"{audio}: the checkpoint has no encoder for speech (the Mimi file of "
                "LFM2-Audio), so it can learn text only"
            )
        samples = read_audio(audio, self.config.mimi.sample_rate)
        frame = self.codec.frame_size
        samples = np.pad(samples, (0, -len(samples) % frame))
        codes = np.array(self.codec.codes(mx.array(samples[None])))[0].T
        return ended(tuple(tuple(frame) for frame in codes.tolist()))
