"""What is answered, as data: told in /openapi.json, and tests hold the daemon to it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

__all__ = [
    "Answer",
    "Completion",
    "CompletionChunk",
    "Error",
    "Health",
    "Loaded",
    "Model",
    "Models",
    "Nothing",
    "Residents",
    "SpeechDelta",
    "SpeechDone",
    "TranscriptDelta",
    "TranscriptDone",
    "TranscriptProgress",
    "Transcription",
    "Unloaded",
    "VerboseTranscription",
]

State: TypeAlias = Literal["absent", "loading", "ready", "busy", "closing"]


class Answer(BaseModel):
    """All that an answer has, and nothing else."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Answer):
    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str


class Error(Answer):
    """OpenAI's shape; `kind` is the error that it is to `lfm` itself."""

    error: ErrorDetail
    kind: str


class Health(Answer):
    status: Literal["ok"]
    version: str
    state: State
    model: str | None
    queue: int
    pid: int
    home: str


class Model(Answer):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(Answer):
    object: Literal["list"]
    data: list[Model]


class Loaded(Answer):
    model: str
    sample_rate: int
    voices: list[str]
    device: str


class Unloaded(Answer):
    """`model` is gone when the state is `absent`; while it is in use it is only told to go."""

    model: str | None
    state: State


class Resident(Answer):
    """`memory` and `size` (of its files) are in bytes, `until` is in seconds from now; null is for
    ever."""

    name: str
    memory: int
    device: str
    until: float | None
    pid: int
    size: int


class Residents(Answer):
    models: list[Resident]


class Nothing(Answer):
    pass


class Duration(Answer):
    type: Literal["duration"]
    seconds: int


class Transcription(Answer):
    text: str
    usage: Duration


class Segment(Answer):
    id: int
    seek: Literal[0]
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class VerboseTranscription(Transcription):
    task: Literal["transcribe"]
    language: Literal["english"]
    duration: float
    segments: list[Segment]


class TranscriptDelta(Answer):
    type: Literal["transcript.text.delta"]
    delta: str


class TranscriptProgress(Answer):
    type: Literal["transcript.progress"]
    done: float
    duration: float


class TranscriptDone(Transcription):
    type: Literal["transcript.text.done"]


class SpeechDelta(Answer):
    type: Literal["speech.audio.delta"]
    audio: str


class SpeechDone(Answer):
    type: Literal["speech.audio.done"]


class TokenUsage(Answer):
    """Words and frames of speech that were answered; what was asked is not counted."""

    prompt_tokens: Literal[0]
    completion_tokens: int
    total_tokens: int


class AnswerAudio(Answer):
    id: str
    data: str
    expires_at: int
    transcript: str


class WordsMessage(Answer):
    role: Literal["assistant"]
    refusal: None
    content: str


class SpokenMessage(Answer):
    role: Literal["assistant"]
    refusal: None
    content: None
    audio: AnswerAudio


class Choice(Answer):
    index: Literal[0]
    logprobs: None
    message: WordsMessage | SpokenMessage
    finish_reason: Literal["stop", "length"]


class Completion(Answer):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: TokenUsage


class AudioDelta(Answer):
    id: str
    data: str = ""
    transcript: str = ""
    expires_at: int = 0


class Delta(Answer):
    role: Literal["assistant"] = "assistant"
    content: str = ""
    audio: AudioDelta | None = None


class ChoiceDelta(Answer):
    index: Literal[0]
    logprobs: None
    delta: Delta
    finish_reason: Literal["stop", "length"] | None


class CompletionChunk(Answer):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChoiceDelta]
    usage: TokenUsage | None = None
