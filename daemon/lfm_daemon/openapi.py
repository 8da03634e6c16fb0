"""The HTTP routes as an OpenAPI 3.1 document, for `GET /openapi.json`.

Requests are described by the schemas that check them. What is answered is described here, and
tests hold the daemon to it. Of a stream of events the schema is that of one event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import models_json_schema

from lfm2audio_mlx import __version__
from lfm_daemon.encoding import FORMATS
from lfm_daemon.schemas import ChatRequest, LoadRequest, SpeechRequest, TranscriptionRequest
from lfm_daemon.service import DEADLINE
from lfm_daemon.wire import CONTENT_TYPE as FRAMES

__all__ = ["described"]

Schema: TypeAlias = dict[str, Any]
State: TypeAlias = Literal["absent", "loading", "ready", "busy", "closing"]


# What is answered


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


# The routes

JSON, TEXT, EVENTS = "application/json", "text/plain", "text/event-stream"
FORM = "multipart/form-data"

AT_A_PORT = (401, 421)
ALWAYS = (*AT_A_PORT, 500)
OF_JOBS = (400, 404, 413, 503, 504)
PARAMETERS: Mapping[str, Schema] = {
    "model": {"type": "string"},
    "id": {"type": "integer", "minimum": 0},
}
"""What stands in paths."""


@dataclass(frozen=True)
class Operation:
    """A route. Its answers are by their content type: one of some schemas, or without them text or
    bytes. `errors` are beside those that any route has, or any `job`."""

    method: str
    path: str
    summary: str
    answers: Mapping[str, tuple[type[Answer], ...]]
    takes: type[BaseModel] | None = None
    content: str = JSON
    required: bool = True
    job: bool = False
    errors: tuple[int, ...] = ()


OPERATIONS = (
    Operation("get", "/health", "Version and state", {JSON: (Health,)}),
    Operation("get", "/metrics", "What is measured, for Prometheus", {TEXT: ()}),
    Operation("get", "/openapi.json", "This description", {JSON: ()}),
    Operation("get", "/v1/models", "The models that are installed", {JSON: (Models,)}),
    Operation("get", "/v1/models/{model}", "One of them", {JSON: (Model,)}, errors=(400, 404)),
    Operation("get", "/api/ps", "The model in memory", {JSON: (Residents,)}),
    Operation(
        *("post", "/api/load", "Have a model in memory, in place of the one that is there"),
        {JSON: (Loaded,)},
        LoadRequest,
        required=False,
        job=True,
    ),
    Operation("post", "/api/unload", "Let the model go", {JSON: (Unloaded,)}),
    Operation(
        *("post", "/api/jobs", "What `lfm` itself uses: frames (`lfm_daemon.wire`) in and out"),
        {FRAMES: ()},
        content=FRAMES,
        job=True,
        errors=(507,),
    ),
    Operation(
        *("post", "/api/jobs/{id}/cancel", "End one of these"), {JSON: (Nothing,)}, errors=(404,)
    ),
    Operation(
        *("post", "/v1/audio/transcriptions", "A recording of any length to its words"),
        {
            JSON: (Transcription, VerboseTranscription),
            TEXT: (),
            EVENTS: (TranscriptDelta, TranscriptProgress, TranscriptDone),
        },
        TranscriptionRequest,
        content=FORM,
        job=True,
        errors=(415, 507),
    ),
    Operation(
        *("post", "/v1/audio/speech", "A text of any length to its sound, sent while it is made"),
        {**dict.fromkeys(FORMATS.values(), ()), EVENTS: (SpeechDelta, SpeechDone)},
        SpeechRequest,
        job=True,
    ),
    Operation(
        *("post", "/v1/chat/completions", "The next answer of a conversation, in words or speech"),
        {JSON: (Completion,), EVENTS: (CompletionChunk,)},
        ChatRequest,
        job=True,
        errors=(507,),
    ),
)


# The document


@cache
def described() -> Schema:
    """All of it."""
    models: set[type[BaseModel]] = {Error}
    for each in OPERATIONS:
        models |= {each.takes} if each.takes else set()
        models.update(*each.answers.values())
    ordered = sorted(models, key=lambda model: model.__name__)
    _, found = models_json_schema(
        [(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    schemas: Schema = found["$defs"]
    schemas[TranscriptionRequest.__name__] = _form(schemas[TranscriptionRequest.__name__])
    paths: Schema = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lfm",
            "version": __version__,
            "description": "Hears, answers and speaks, on this machine alone, in the shapes of "
            "OpenAI's API. There is a WebSocket too: /v1/realtime.",
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "At a port only."}
            },
        },
    }


def _operation(each: Operation) -> Schema:
    names = [part[1:-1] for part in each.path.split("/") if part.startswith("{")]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": PARAMETERS[name]} for name in names
    ]
    if each.job:
        what = "Seconds that it may take of the daemon's time."
        schema = {"type": "number"}
        parameters.append({"name": DEADLINE, "in": "header", "description": what, "schema": schema})
    answers = {form: {"schema": _answer(form, these)} for form, these in each.answers.items()}
    errors = {*ALWAYS, *each.errors, *(OF_JOBS if each.job else ())}
    result: Schema = {
        "operationId": f"{each.method} {each.path}",
        "summary": each.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": answers},
            **{str(status): _error(status) for status in sorted(errors)},
        },
    }
    if each.method == "post" and (each.takes or each.content != JSON):
        body = _ref(each.takes) if each.takes else {}
        result["requestBody"] = {
            "required": each.required,
            "content": {each.content: {"schema": body}},
        }
    return result


def _answer(form: str, schemas: tuple[type[Answer], ...]) -> Schema:
    if form != EVENTS:
        return {"anyOf": [_ref(schema) for schema in schemas]} if schemas else {}
    names = {"event": {"enum": ["message", "error"]}}
    told = {"anyOf": [_ref(schema) for schema in (*schemas, Error)]}
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": told}
    return {"type": "object", "properties": {**names, "data": data}, "required": ["data"]}


def _error(status: int) -> Schema:
    headers = {"Retry-After": {"schema": {"type": "integer"}}} if status == 503 else {}
    return {
        "description": HTTPStatus(status).phrase + (" (at a port)" if status in AT_A_PORT else ""),
        "headers": headers,
        "content": {JSON: {"schema": _ref(Error)}},
    }


def _ref(schema: type[BaseModel]) -> Schema:
    return {"$ref": f"#/components/schemas/{schema.__name__}"}


def _form(schema: Schema) -> Schema:
    """The fields of a form: beside them the recording, nothing that is null, and lists also as
    most clients write them."""
    fields: Schema = {"file": {"type": "string", "format": "binary"}}
    for name, field in schema["properties"].items():
        values = [value for value in field.get("anyOf", ()) if value != {"type": "null"}]
        rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
        fields[name] = {**rest, **values[0]} if values else field
        if field.get("type") == "array":
            fields[f"{name}[]"] = field
    return {**schema, "properties": fields, "required": ["file"]}
