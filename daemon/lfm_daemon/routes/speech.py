"""`POST /v1/audio/speech`: a text of any length in, its sound out while it is made."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lfm2audio_mlx.results import Sound
from lfm_daemon.bodies import parsed
from lfm_daemon.encoding import FORMATS, Encoder
from lfm_daemon.schemas import SpeechRequest, VoiceId
from lfm_daemon.service import service_of
from lfm_daemon.streams import as_event, events_of, holding, streamed
from lfm_daemon.values import decode
from lfm_daemon.wire import Frame

__all__ = ["ROUTES", "encoded"]

FOREIGN_VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
"""OpenAI's; clients that must name a voice name one of these. They are the model's own here."""
BATCH_CHARACTERS = 1000
"""A text as long as this, about a minute of speech, lets interactive requests go first."""
SILENT_RATE = 24_000
"""Samples a second of a sound without any."""


async def speech(request: Request) -> Response:
    """The sound, byte for byte or as events."""
    wanted = await parsed(request, SpeechRequest)
    service = service_of(request)
    voice = wanted.voice.id if isinstance(wanted.voice, VoiceId) else wanted.voice
    options = {
        "text": wanted.input,
        "voice": None if voice in FOREIGN_VOICES else voice,
        "raw": wanted.raw,
        "seed": wanted.seed,
    }
    job = service.job(
        request,
        "say",
        wanted.model,
        options,
        batch=len(wanted.input) >= BATCH_CHARACTERS,
        keep_alive=wanted.keep_alive,
    )
    as_events = wanted.stream_format == "sse"

    def content(frames: AsyncIterator[Frame]) -> AsyncIterator[bytes]:
        pieces = encoded(frames, wanted.response_format)
        return events_of(_events(pieces), None) if as_events else pieces

    kind = "text/event-stream" if as_events else FORMATS[wanted.response_format]
    async with holding() as held:
        return await streamed(request, job, content, kind, held)


async def encoded(frames: AsyncIterator[Frame], form: str) -> AsyncIterator[bytes]:
    """The sounds among the events, in a format for files."""
    encoder: Encoder | None = None
    async for frame in frames:
        if isinstance(item := decode(frame), Sound):
            encoder = encoder or Encoder(form, item.sample_rate)
            if piece := encoder.push(item.samples):
                yield piece
    # Where the model said nothing, a file of silence is still a file.
    if piece := (encoder or Encoder(form, SILENT_RATE)).finish():
        yield piece


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        audio = base64.b64encode(piece).decode()
        yield as_event({"type": "speech.audio.delta", "audio": audio})
    yield as_event({"type": "speech.audio.done"})


ROUTES = [Route("/v1/audio/speech", speech, methods=["POST"])]
