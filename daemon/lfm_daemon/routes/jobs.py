"""`POST /api/jobs`: what `lfm` itself uses; the engine's own values in frames, nothing converted.

The body is a frame (`job`, `model`, `options`, `sounds`) and then the bytes of the sounds, one
after the other, each as long as its `size` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lfm_daemon.faults import Fault
from lfm_daemon.requests import checked
from lfm_daemon.schemas import KeepAlive, Strict
from lfm_daemon.service import service_of
from lfm_daemon.streams import HeldStream
from lfm_daemon.uploads import LARGEST_SOUND, Body, spooled
from lfm_daemon.wire import CONTENT_TYPE, Frame, WireError, read_async

__all__ = ["ROUTES"]

OPTIONS = {
    "spans": {"prompt", "after"},
    "hear": {"prompt"},
    "say": {"text", "voice", "raw", "seed"},
    "classify": {"labels", "question"},
    "chat": {
        *("parts", "becomes", "after", "answered", "history", "max_tokens"),
        *("system", "mode", "seed"),
    },
}


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
    batch: bool = False
    keep_alive: KeepAlive = None


async def jobs(request: Request) -> Response:
    """The events of a job, the first of which tells its number."""
    body, service = Body(request.stream()), service_of(request)
    async with AsyncExitStack() as stack:
        spool = stack.enter_context(spooled())
        try:
            head = await read_async(body.exactly)
            wanted = checked(JobRequest, head.header if head else None)
            if unknown := wanted.options.keys() - OPTIONS[wanted.job]:
                raise Fault(400, "invalid_request", f"options: no {', '.join(sorted(unknown))}")
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
            wanted.options,
            sounds,
            batch=wanted.batch,
            keep_alive=wanted.keep_alive,
        )
        frames = await stack.enter_async_context(service.begun(job))
        content = _encoded(job.id, frames)
        return HeldStream(stack.pop_all(), content, CONTENT_TYPE)
    raise AssertionError


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
