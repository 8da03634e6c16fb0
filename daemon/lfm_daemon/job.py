"""A request for the worker (see `lfm_daemon.jobs`), and its events on the way to its client."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from lfm_daemon.child import Model
from lfm_daemon.faults import Fault
from lfm_daemon.wire import Frame

__all__ = ["BATCH_SECONDS", "Job"]

AHEAD, BEHIND = 4 << 20, 1 << 20
"""Bytes that a job may be ahead of its client, and from which it goes on: 44 s and 11 s of
speech."""
INTERACTIVE_SECONDS, BATCH_SECONDS = 600.0, 24 * 3600.0
"""What a job may take of the daemon's time unless its request says otherwise; the time that its
client takes to read does not count."""


@dataclass(eq=False)
class Job:
    """One request, and what has become of it so far."""

    kind: str
    model: Model
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    sounds: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    batch: bool = False
    keep_alive: float | None = None
    budget: float = INTERACTIVE_SECONDS
    """Seconds that are left to it."""
    id: int = field(default_factory=count(1).__next__)
    paused: bool = False
    """Its client has not read what there is."""
    begun: bool = False
    spoke: bool = False
    admitted: float = field(default_factory=time.monotonic)
    started: float = 0.0
    sound_seconds: float = 0.0
    heard: float = 0.0
    """Seconds of a recording that its client was told are done."""
    unread: int = 0
    """Bytes of its events that its client has not taken yet."""
    _events: asyncio.Queue[Frame | Fault] = field(default_factory=asyncio.Queue[Frame | Fault])

    def request(self) -> Frame:
        """As the worker takes it."""
        header = {"id": self.id, "job": self.kind, "batch": self.batch}
        return Frame({**header, "options": self.options, "sounds": self.sounds})

    def tell(self, event: Frame | Fault) -> None:
        """Something for its client."""
        self._events.put_nowait(event)
        self.unread += len(event.blob) if isinstance(event, Frame) else 0

    async def next(self) -> Frame:
        """What its client has not heard yet; waits for it.

        Raises:
            Fault: the job has failed, or its time is over.
        """
        begun = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, self.budget)):
                event = await self._events.get()
        except TimeoutError:
            raise Fault(504, "deadline_exceeded", "the request took too long") from None
        finally:
            self.budget -= time.monotonic() - begun
        if isinstance(event, Fault):
            raise event
        self.unread -= len(event.blob)
        return event

    @property
    def ahead(self) -> bool:
        """Is there more than its client should have to hold?"""
        return self.unread > AHEAD

    @property
    def caught_up(self) -> bool:
        """Has its client read nearly all there is?"""
        return self.unread <= BEHIND
