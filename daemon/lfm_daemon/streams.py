"""Answers that come bit by bit: server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from lfm_daemon.faults import Fault, as_json

__all__ = ["HeldStream", "as_event", "events_of"]

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
