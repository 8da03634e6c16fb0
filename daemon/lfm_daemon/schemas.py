"""What requests look like, as data: checked on the way in, and told in /openapi.json.

Fields are OpenAI's. One that changes nothing here is taken and passed over, so that clients work
unchanged; one that would have to change the answer, and cannot, is refused unless it has its
neutral value; an unknown one is a mistake.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

__all__ = [
    "AudioFormat",
    "ChatRequest",
    "KeepAlive",
    "LoadRequest",
    "Message",
    "SpeechRequest",
    "TranscriptionRequest",
    "VoiceId",
    "sound_of",
]

KeepAlive: TypeAlias = str | float | None
AudioFormat: TypeAlias = Literal["wav", "flac", "mp3", "opus", "pcm", "pcm16"]
Neutral: TypeAlias = Annotated[float | None, Field(ge=0, le=0)]
"""Has no effect at 0, and no meaning here otherwise."""


class Strict(BaseModel):
    """No unknown keys, and no number where a text should be."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class VoiceId(Strict):
    """A voice, as OpenAI's clients name those that they have made."""

    id: str


Voice: TypeAlias = str | VoiceId | None


class LoadRequest(Strict):
    """Have a model in memory."""

    model: str | None = None
    keep_alive: KeepAlive = None


class TranscriptionRequest(BaseModel):
    """The fields of the form beside `file`; all come as text."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str | None = None
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
    stream: bool = False
    progress: bool = False
    """With `stream`: also how far it is."""
    keep_alive: str | None = None
    language: str | None = None
    """Passed over: the model hears what it was trained on."""
    prompt: str | None = None
    """Passed over: the model takes no hints."""
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Passed over: words are the likeliest ones."""
    timestamp_granularities: list[Literal["segment"]] = []
    chunking_strategy: str | None = None
    """Passed over: sound is always cut at pauses."""


class SpeechRequest(Strict):
    """A text to be spoken."""

    input: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    model: str | None = None
    voice: Voice = None
    response_format: Literal["wav", "flac", "mp3", "opus", "pcm"] = "mp3"
    stream_format: Literal["audio", "sse"] = "audio"
    speed: Annotated[float, Field(ge=1, le=1)] = 1.0
    instructions: str | None = None
    """Passed over."""
    raw: bool = False
    seed: Annotated[int | None, Field(ge=0, lt=1 << 64)] = None
    keep_alive: KeepAlive = None


def sound_of(data: str) -> bytes:
    """What base64 stands for.

    Raises:
        ValueError: it is none.
    """
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError(f"is no base64: {error}") from error


def _is_base64(data: str) -> str:
    sound_of(data)
    return data


class TextPart(Strict):
    type: Literal["text"]
    text: str


class InputAudio(Strict):
    data: Annotated[
        str, AfterValidator(_is_base64), Field(json_schema_extra={"contentEncoding": "base64"})
    ]
    """A sound file, in base64."""
    format: str = "wav"
    """Passed over: what a file is can be seen in it."""


class AudioPart(Strict):
    type: Literal["input_audio"]
    input_audio: InputAudio


def _type(part: Any) -> str:
    return str(cast(dict[str, Any], part).get("type")) if isinstance(part, dict) else ""


Part: TypeAlias = Annotated[
    Annotated[TextPart, Tag("text")] | Annotated[AudioPart, Tag("input_audio")],
    Discriminator(
        _type,
        custom_error_type="type",
        custom_error_message="type should be 'text' or 'input_audio'",
    ),
]


class SystemMessage(Strict):
    role: Literal["system", "developer"]
    content: str | list[TextPart]
    name: str | None = None


class UserMessage(Strict):
    role: Literal["user"]
    content: Annotated[str | list[Part], Field(min_length=1)]
    name: str | None = None


class PastAudio(BaseModel):
    """The sound of an earlier answer, by its name; the rest of it is passed over."""

    model_config = ConfigDict(strict=True)

    id: str


class AssistantMessage(Strict):
    """An earlier answer, as it came or only its words."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": {"anyOf": [{"type": "null"}, {"type": "array", "maxItems": 0}]}
        }
    )

    role: Literal["assistant"]
    content: str | list[TextPart] | None = None
    audio: PastAudio | None = None
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, value: Any) -> Any:
        """Clients send back all that an answer may have, most of it null or empty."""
        if not isinstance(value, dict):
            return value
        whole = cast(dict[str, Any], value)
        return {k: v for k, v in whole.items() if k in cls.model_fields or v not in (None, [])}


def _role(message: Any) -> str:
    if not isinstance(message, dict):
        return ""
    role = str(cast(dict[str, Any], message).get("role"))
    return "system" if role == "developer" else role


Message: TypeAlias = Annotated[
    Annotated[SystemMessage, Tag("system")]
    | Annotated[UserMessage, Tag("user")]
    | Annotated[AssistantMessage, Tag("assistant")],
    Discriminator(
        _role,
        custom_error_type="role",
        custom_error_message="role should be 'system', 'developer', 'user' or 'assistant'",
    ),
]


class OutputAudio(Strict):
    """How an answer should sound."""

    format: AudioFormat = "wav"
    voice: Voice = None
    """Passed over: the model has one voice in conversation."""


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class TextFormat(Strict):
    type: Literal["text"]


class ChatRequest(Strict):
    """The next answer of a conversation."""

    messages: Annotated[list[Message], Field(min_length=1)]
    model: str | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    audio: OutputAudio | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int | None, Field(ge=1, le=32_768)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, le=32_768)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    seed: Annotated[int | None, Field(ge=0, lt=1 << 64)] = None
    keep_alive: KeepAlive = None
    n: Annotated[int | None, Field(ge=1, le=1)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    """Passed over: words are the likeliest ones, or drawn at `temperature`."""
    presence_penalty: Neutral = None
    frequency_penalty: Neutral = None
    logprobs: Literal[False] | None = None
    response_format: TextFormat | None = None
    tools: Annotated[list[Any] | None, Field(max_length=0)] = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    stop: Annotated[list[Any] | None, Field(max_length=0)] = None
    logit_bias: Annotated[dict[str, Any] | None, Field(max_length=0)] = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
