"""What a client of the Realtime API may send, as data; see `lfm_daemon.schemas` for the manner.

The session is one value, and an update is merged into it: what is left out stays, null is the
default again, and only a `turn_detection` of null means none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from lfm_daemon.faults import Fault
from lfm_daemon.schemas import Strict

__all__ = [
    "Append",
    "Cancel",
    "Clear",
    "ClientEvent",
    "Commit",
    "Content",
    "CreateItem",
    "CreateResponse",
    "DeleteItem",
    "NewItem",
    "ResponseParams",
    "RetrieveItem",
    "ServerVad",
    "SessionConfig",
    "Truncate",
    "UpdateSession",
    "client_event",
    "updated",
]

S = TypeVar("S", bound=BaseModel)

LONGEST_ID = 512

PassedOver: TypeAlias = Annotated[None, BeforeValidator(lambda _: None)]
"""Taken, and of no effect here."""
Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
MaxTokens: TypeAlias = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]
Modalities: TypeAlias = Annotated[list[Literal["audio", "text"]], Field(min_length=1, max_length=1)]
Temperature: TypeAlias = Annotated[float | None, Field(ge=0, le=2)]
NoTools: TypeAlias = Annotated[list[Any], Field(max_length=0)]
Metadata: TypeAlias = Annotated[dict[str, str], Field(max_length=16)]


# The session


class Pcm(Strict):
    """Mono samples of 16 bits, little-endian. OpenAI's have 24 kHz only."""

    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[16_000, 24_000, 48_000] = 24_000


class ServerVad(Strict):
    """When somebody speaks is heard here; the numbers are OpenAI's."""

    type: Literal["server_vad"] = "server_vad"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5_000)] = 300
    silence_duration_ms: Annotated[int, Field(ge=100, le=10_000)] = 500
    idle_timeout_ms: None = None
    create_response: bool = True
    interrupt_response: bool = True


class Transcription(Strict):
    """The wish to read what was said; the model that listens is the one that writes it down."""

    model: str | None = None
    language: PassedOver = None
    languages: PassedOver = None
    prompt: PassedOver = None
    keywords: PassedOver = None
    delay: PassedOver = None


class Input(Strict):
    format: Pcm = Pcm()
    noise_reduction: PassedOver = None
    transcription: Transcription | None = None
    turn_detection: ServerVad | None = ServerVad()


class Output(Strict):
    format: Pcm = Pcm()
    speed: Annotated[float, Field(ge=1, le=1)] = 1.0
    voice: Annotated[str, BeforeValidator(lambda _: "default")] = "default"
    """Whatever is asked for: the model has one voice in conversation."""


class Audio(Strict):
    input: Input = Input()
    output: Output = Output()


class SessionConfig(Strict):
    """All that a session can be told; the defaults are those of a new one."""

    type: Literal["realtime"] = "realtime"
    output_modalities: Modalities = Field(default=["audio"])
    audio: Audio = Audio()
    instructions: str = ""
    """Stand in place of the checkpoint's own system prompt."""
    max_output_tokens: MaxTokens = "inf"
    temperature: Temperature = None
    """Not OpenAI's any more. Words are the likeliest ones unless there is one."""
    tools: NoTools = Field(default=[])
    tool_choice: Literal["auto", "none"] = "auto"
    prompt: None = None
    model: PassedOver = None
    include: PassedOver = None
    parallel_tool_calls: PassedOver = None
    reasoning: PassedOver = None
    tracing: PassedOver = None
    truncation: PassedOver = None


def updated(config: SessionConfig, changes: dict[str, Any]) -> SessionConfig:
    """The session with some values changed.

    Raises:
        Fault: it would make no sense; nothing is changed then.
    """
    return _checked(SessionConfig, _merged(config.model_dump(), changes), "session")


def _merged(old: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(old)
    for name, value in changes.items():
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            result[name] = _merged(cast(dict[str, Any], before), cast(dict[str, Any], value))
        elif value is None and name != "turn_detection":
            result.pop(name, None)
        else:
            result[name] = value
    return result


# The events


class Event(Strict):
    event_id: Annotated[str | None, Field(max_length=LONGEST_ID)] = None
    type: str


class UpdateSession(Event):
    session: dict[str, Any]


class Append(Event):
    audio: str


class Commit(Event):
    pass


class Clear(Event):
    pass


class Content(Strict):
    type: Literal["input_text", "input_audio", "output_text"]
    text: str | None = None
    audio: str | None = None
    transcript: str | None = None
    """Of `audio`; not told to the model."""


class NewItem(Strict):
    type: Literal["message"]
    role: Literal["user", "assistant", "system"]
    content: Annotated[list[Content], Field(min_length=1, max_length=100)]
    id: Id | None = None
    object: PassedOver = None
    status: PassedOver = None


class CreateItem(Event):
    item: NewItem
    previous_item_id: str | None = None


class RetrieveItem(Event):
    item_id: str


class DeleteItem(Event):
    item_id: str


class Truncate(Event):
    item_id: str
    content_index: Annotated[int, Field(ge=0, le=0)]
    audio_end_ms: Annotated[int, Field(ge=0)]


class ResponseOutput(Strict):
    format: Pcm | None = None
    voice: PassedOver = None


class ResponseAudio(Strict):
    output: ResponseOutput | None = None


class ResponseParams(Strict):
    """For one answer, in place of the session's values."""

    output_modalities: Modalities | None = None
    instructions: str | None = None
    max_output_tokens: MaxTokens | None = None
    temperature: Temperature = None
    audio: ResponseAudio | None = None
    metadata: Metadata | None = None
    conversation: Literal["auto"] | None = None
    input: None = None
    prompt: None = None
    tools: NoTools | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: PassedOver = None
    reasoning: PassedOver = None


class CreateResponse(Event):
    response: ResponseParams | None = None


class Cancel(Event):
    response_id: str | None = None


ClientEvent: TypeAlias = (
    UpdateSession
    | Append
    | Commit
    | Clear
    | CreateItem
    | RetrieveItem
    | DeleteItem
    | Truncate
    | CreateResponse
    | Cancel
)

EVENTS: dict[str, type[ClientEvent]] = {
    "session.update": UpdateSession,
    "input_audio_buffer.append": Append,
    "input_audio_buffer.commit": Commit,
    "input_audio_buffer.clear": Clear,
    "conversation.item.create": CreateItem,
    "conversation.item.retrieve": RetrieveItem,
    "conversation.item.delete": DeleteItem,
    "conversation.item.truncate": Truncate,
    "response.create": CreateResponse,
    "response.cancel": Cancel,
}


def client_event(value: Any) -> ClientEvent:
    """What a decoded message means.

    Raises:
        Fault: nothing.
    """
    kind = cast(dict[str, Any], value).get("type") if isinstance(value, dict) else None
    schema = EVENTS.get(kind) if isinstance(kind, str) else None
    if schema is None:
        message = f"type: one of {', '.join(EVENTS)}"
        raise Fault(400, "invalid_value", message, "RequestError", parameter="type")
    return _checked(schema, value)


CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}
"""OpenAI's codes for what pydantic finds; `invalid_value` for all else."""


def _checked(schema: type[S], value: Any, within: str = "") -> S:
    """As `lfm_daemon.bodies.checked`, with the codes of this API."""
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        # Without the names that pydantic gives to the branches of a union.
        names = [str(name)[:64] for name in (within, *first["loc"])]
        place = ".".join(name for name in names if name.isidentifier() or name.isdigit())
        code = CODES.get(first["type"], "invalid_value")
        message = f"{place}: {first['msg']}"
        raise Fault(400, code, message, "RequestError", parameter=place) from None
