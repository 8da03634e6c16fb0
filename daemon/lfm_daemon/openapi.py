"""The HTTP routes as an OpenAPI 3.1 document, for `GET /openapi.json`.

Requests are described by the schemas that check them, answers by `lfm_daemon.answers`. Of a stream
of events the schema is that of one event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lfm2audio_mlx import __version__
from lfm_daemon.answers import (
    Answer,
    Completion,
    CompletionChunk,
    Error,
    Health,
    Loaded,
    Model,
    Models,
    Nothing,
    Residents,
    SpeechDelta,
    SpeechDone,
    TranscriptDelta,
    TranscriptDone,
    Transcription,
    TranscriptProgress,
    Unloaded,
    VerboseTranscription,
)
from lfm_daemon.encoding import FORMATS
from lfm_daemon.schemas import ChatRequest, LoadRequest, SpeechRequest, TranscriptionRequest
from lfm_daemon.service import DEADLINE
from lfm_daemon.wire import CONTENT_TYPE as FRAMES

__all__ = ["described"]

Schema: TypeAlias = dict[str, Any]

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
    if each.takes or each.content == FRAMES:
        body = _ref(each.takes) if each.takes else {"type": "string", "format": "binary"}
        result["requestBody"] = {
            "required": each.required,
            "content": {each.content: {"schema": body}},
        }
    return result


def _answer(form: str, schemas: tuple[type[Answer], ...]) -> Schema:
    if form != EVENTS:
        return {"anyOf": [_ref(schema) for schema in schemas]} if schemas else {}
    told = {"anyOf": [_ref(schema) for schema in (*schemas, Error)]}
    data: Schema = {"type": "string", "contentMediaType": JSON, "contentSchema": told}
    if CompletionChunk in schemas:
        data = {"anyOf": [{"const": "[DONE]"}, data]}
    fields = {"event": {"enum": ["message", "error"]}, "data": data}
    return {"type": "object", "properties": fields, "required": ["data"]}


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
