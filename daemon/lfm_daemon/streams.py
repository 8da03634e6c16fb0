"""Answers that come bit by bit: server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from lfm_daemon.faults import Fault, as_json
from lfm_daemon.job import Job
from lfm_daemon.service import service_of
from lfm_daemon.wire import Frame

__all__ = ["as_event", "events_of", "holding", "streamed"]

log = logging.getLogger(__name__)

STALLED_SECONDS = 600.0
"""A client that takes nothing for so long is gone, whatever its connection says."""


class HeldStream(StreamingResponse):
    """A stream whose sources (a job, its files) are held open until it ends, however it ends."""

    def __init__(self, held: AsyncExitStack, content: AsyncIterator[bytes], media_type: str):
        super().__init__(content, media_type=media_type)
        self.headers["Cache-Control"] = "no-store"
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def patiently(message: Message) -> None:
            async with asyncio.timeout(STALLED_SECONDS):
                await send(message)

        async with self._held:
            try:
                await super().__call__(scope, receive, patiently)
            except* TimeoutError:
                log.info("a client that read nothing for %.0f s was given up", STALLED_SECONDS)


@asynccontextmanager
async def holding() -> AsyncGenerator[AsyncExitStack]:
    """What an answer needs until its end, which may be after its route has returned."""
    async with AsyncExitStack() as stack:
        yield stack


async def streamed(
    request: Request,
    job: Job,
    content: Callable[[AsyncIterator[Frame]], AsyncIterator[bytes]],
    media_type: str,
    held: AsyncExitStack,
) -> Response:
    """An answer made of a job's events as they come; what is `held` is let go at its end.

    Raises:
        Fault: the job cannot be done; nothing was sent yet.
    """
    frames = await held.enter_async_context(service_of(request).begun(request, job))
    return HeldStream(held.pop_all(), content(frames), media_type)


def as_event(value: dict[str, Any] | str, name: str | None = None) -> bytes:
    """One event."""
    data = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data}\n\n".encode()


async def events_of(content: AsyncIterator[bytes], end: str | None) -> AsyncIterator[bytes]:
    """The events, then `end`. A fault in their midst is the last one: the status has long been
    sent."""
    try:
        async for event in content:
            yield event
    except Fault as fault:
        yield as_event(as_json(fault), "error")
        return
    if end:
        yield as_event(end)
