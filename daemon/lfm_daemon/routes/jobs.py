"""`POST /api/jobs`: what `lfm` itself uses; the engine's own values in frames, nothing converted.

The body is a frame (`job`, `model`, `options`, `sounds`) and then the bytes of the sounds, one
after the other, each as long as its `size` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lfm2audio_mlx.tokens import END_OF_AUDIO
from lfm_daemon.bodies import checked
from lfm_daemon.faults import Fault
from lfm_daemon.schemas import KeepAlive, Strict
from lfm_daemon.service import service_of
from lfm_daemon.streams import holding, streamed
from lfm_daemon.uploads import BATCH_BYTES, LARGEST_SOUND, Body, spooled
from lfm_daemon.wire import CONTENT_TYPE, Frame, WireError, read_async

__all__ = ["ROUTES"]

Seed: TypeAlias = Annotated[int | None, Field(ge=0, lt=1 << 64)]
Code: TypeAlias = Annotated[int, Field(ge=0, le=END_OF_AUDIO)]


class Part(Strict):
    """Words, or the number of a sound."""

    text: str | None = None
    sound: Annotated[int | None, Field(ge=0)] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.sound is None):
            raise ValueError("either a text or a sound")
        return self


class Past(Strict):
    """An earlier exchange; of its answer, tokens of words and codes of frames."""

    said: list[Part]
    answer: list[Annotated[int, Field(ge=0)] | Annotated[list[Code], Field(min_length=1)]]


class Hear(Strict):
    prompt: str | None = None


class Spans(Hear):
    after: Annotated[float | None, Field(ge=0)] = None


class Say(Strict):
    text: str
    voice: str | None = None
    raw: bool | None = None
    seed: Seed = None


class Classify(Strict):
    labels: list[str]
    question: str | None = None


class Chat(Strict):
    parts: list[Part]
    becomes: Annotated[str, Field(min_length=1, max_length=100)]
    after: str | None = None
    answered: int | None = None
    history: list[Past] | None = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    system: str | None = None
    mode: Literal["interleaved", "sequential"] | None = None
    seed: Seed = None

    @property
    def sounds(self) -> int:
        """How many it speaks of."""
        parts = [*self.parts, *(part for past in self.history or () for part in past.said)]
        return 1 + max((part.sound for part in parts if part.sound is not None), default=-1)


OPTIONS: dict[str, type[Strict]] = {
    "spans": Spans,
    "hear": Hear,
    "say": Say,
    "classify": Classify,
    "chat": Chat,
}
"""What each job takes; see `lfm2audio_mlx.engine.Engine`."""
SOUNDS = {"spans": 1, "hear": 1, "classify": 1}


class SentSound(Strict):
    """A file by its name, or bare samples (mono, float32, little-endian) with their rate."""

    size: int = Field(ge=0, le=LARGEST_SOUND)
    name: str | None = None
    rate: int | None = Field(default=None, ge=1)


class JobRequest(Strict):
    job: Literal["spans", "hear", "say", "classify", "chat"]
    model: str | None = None
    options: dict[str, Any] = Field(default={})
    sounds: list[SentSound] = Field(default=[])
    keep_alive: KeepAlive = None


async def jobs(request: Request) -> Response:
    """The events of a job, the first of which tells its number."""
    body, service = Body(request.stream()), service_of(request)
    async with holding() as held:
        spool = held.enter_context(spooled())
        try:
            head = await read_async(body.exactly)
            wanted = checked(JobRequest, head.header if head else None)
            options = checked(OPTIONS[wanted.job], wanted.options)
            needed = options.sounds if isinstance(options, Chat) else SOUNDS.get(wanted.job, 0)
            if len(wanted.sounds) < needed:
                raise Fault(400, "invalid_request", f"sounds: {needed} of them are spoken of")
            sounds: list[dict[str, Any]] = []
            for sound in wanted.sounds:
                with spool.new() as (file, path):
                    await body.copy(sound.size, file)
                sounds.append({**sound.model_dump(exclude_none=True), "path": path})
        except (WireError, asyncio.IncompleteReadError) as error:
            raise Fault(400, "invalid_request", "the body is cut off, or none") from error
        job = service.job(
            request,
            wanted.job,
            wanted.model,
            options.model_dump(exclude_none=True),
            sounds,
            batch=wanted.job == "spans" and sounds[0]["size"] >= BATCH_BYTES,
            keep_alive=wanted.keep_alive,
        )
        return await streamed(request, job, partial(_encoded, job.id), CONTENT_TYPE, held)


async def _encoded(id: int, frames: AsyncIterator[Frame]) -> AsyncIterator[bytes]:
    yield Frame({"event": "job", "number": id}).encode()
    try:
        async for frame in frames:
            yield frame.encode()
    except Fault as fault:
        error = {"event": "error", "kind": fault.kind, "message": fault.message}
        yield Frame(error).encode()
        return
    yield Frame({"event": "done"}).encode()


ROUTES = [Route("/api/jobs", jobs, methods=["POST"])]
