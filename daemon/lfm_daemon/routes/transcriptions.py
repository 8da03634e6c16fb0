"""`POST /v1/audio/transcriptions`: a recording of any length in, its words out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lfm2audio_mlx.results import Progress, Span, Transcript
from lfm2audio_mlx.text.subtitles import render
from lfm_daemon.bodies import checked
from lfm_daemon.faults import Fault
from lfm_daemon.job import Job
from lfm_daemon.schemas import TranscriptionRequest
from lfm_daemon.service import Service, service_of, unless_gone
from lfm_daemon.streams import as_event, events_of, holding, streamed
from lfm_daemon.uploads import BATCH_BYTES, Spool, spooled
from lfm_daemon.values import decode
from lfm_daemon.wire import Frame

__all__ = ["ROUTES"]

LISTS = ("include", "timestamp_granularities")
STREAMED = ("json", "text")
"""Formats of which a stream can be; its events are the same."""
TEXTS = {"text": "txt", "srt": "srt", "vtt": "vtt"}


async def transcriptions(request: Request) -> Response:
    """Answer with all of it, or event by event with `stream`."""
    service = service_of(request)
    async with holding() as held:
        spool = held.enter_context(spooled())
        wanted, sound, size = await _form(request, spool)
        if wanted.stream and wanted.response_format not in STREAMED:
            what = f"response_format: a stream is of {' or '.join(STREAMED)}"
            raise Fault(400, "invalid_request", what, "RequestError", parameter="response_format")
        job = service.job(
            request,
            "spans",
            wanted.model,
            {},
            [sound],
            batch=size >= BATCH_BYTES,
            keep_alive=wanted.keep_alive,
        )
        if not wanted.stream:
            return await unless_gone(request, _whole(service, job, wanted.response_format))

        def content(frames: AsyncIterator[Frame]) -> AsyncIterator[bytes]:
            return events_of(_events(frames, wanted.progress), None)

        return await streamed(request, job, content, "text/event-stream", held)


async def _form(request: Request, spool: Spool) -> tuple[TranscriptionRequest, dict[str, Any], int]:
    """The form's fields, the recording as a job's sound, and its size in bytes."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Fault(415, "invalid_request", "send a form: multipart/form-data, with a `file`")
    try:
        form = await request.form(max_files=1, max_fields=32, max_part_size=1 << 16)
    except HTTPException as error:
        raise Fault(400, "invalid_request", f"the form cannot be read: {error.detail}") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Fault(400, "invalid_request", "file: is missing", parameter="file")
        fields: dict[str, Any] = {key: form.get(key) for key in form if key != "file"}
        for name in LISTS:
            if given := form.getlist(name) + form.getlist(f"{name}[]"):
                fields[name] = given
                fields.pop(f"{name}[]", None)
        wanted = checked(TranscriptionRequest, fields)
        path = await spool.take(file.file)
        name = "".join(filter(str.isprintable, file.filename or ""))[:200] or "file"
        return wanted, {"path": path, "name": name}, file.size or 0
    finally:
        await form.close()


async def _whole(service: Service, job: Job, form: str) -> Response:
    heard = [decode(frame) async for frame in service.resident.events(job)]
    transcript = Transcript.of(item for item in heard if isinstance(item, Span | Progress))
    if form in TEXTS:
        return PlainTextResponse(render(transcript, TEXTS[form]))
    usage = {"type": "duration", "seconds": round(transcript.duration)}
    if form == "json":
        return JSONResponse({"text": transcript.text, "usage": usage})
    return JSONResponse(
        {
            "task": "transcribe",
            "language": "english",
            "duration": transcript.duration,
            "text": transcript.text,
            "segments": [_segment(number, s) for number, s in enumerate(transcript.spans)],
            "usage": usage,
        }
    )


def _segment(number: int, span: Span) -> dict[str, Any]:
    """A span as whisper tells of it; what the model does not tell is what is neutral there."""
    return {
        "id": number,
        "seek": 0,
        "start": round(span.start, 3),
        "end": round(span.end, 3),
        "text": span.text,
        "tokens": span.tokens,
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }


async def _events(frames: AsyncIterator[Frame], progress: bool) -> AsyncIterator[bytes]:
    texts: list[str] = []
    duration = 0.0
    async for frame in frames:
        item = decode(frame)
        if isinstance(item, Span) and item.text:
            delta = f" {item.text}" if texts else item.text
            texts.append(item.text)
            yield as_event({"type": "transcript.text.delta", "delta": delta})
        elif isinstance(item, Progress):
            duration = item.duration
            if progress:
                told = {"done": item.done, "duration": item.duration}
                yield as_event({"type": "transcript.progress", **told})
    usage = {"type": "duration", "seconds": round(duration)}
    yield as_event({"type": "transcript.text.done", "text": " ".join(texts), "usage": usage})


ROUTES = [Route("/v1/audio/transcriptions", transcriptions, methods=["POST"])]
