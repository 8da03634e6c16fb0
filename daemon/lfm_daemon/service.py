"""What all routes have in common: the resident model, and how requests become jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, HTTPConnection, Request

from lfm2audio_mlx.errors import LfmError, ModelError, RequestError
from lfm2audio_mlx.installed import NANO, find, find_model, preferred
from lfm_daemon.child import Model
from lfm_daemon.faults import Fault, fault_of
from lfm_daemon.job import BATCH_SECONDS, Job
from lfm_daemon.keepalive import seconds_of
from lfm_daemon.resident import Resident
from lfm_daemon.threads import Threads
from lfm_daemon.wire import Frame

__all__ = ["Service", "service_of", "unless_gone"]

T = TypeVar("T")

FOREIGN = ("whisper", "tts", "gpt")
"""Models of OpenAI's that clients ask for unless told otherwise: they get the usual one."""
DEADLINE = "LFM-Deadline"
"""A header: seconds that a request may take of the daemon's time."""


@dataclass(frozen=True)
class Service:
    """One daemon."""

    resident: Resident
    threads: Threads
    model: str | None = None
    """The model of requests that name none; without it, an installed one."""

    def model_of(self, name: str | None) -> Model:
        """The model that a request means.

        Raises:
            Fault: there is no such model, or none at all.
        """
        try:
            folder = self._folder(name)
        except LfmError as error:
            raise fault_of(error) from error
        return Model.at(folder)

    def _folder(self, name: str | None) -> Path:
        if name and (name == NANO or name.startswith("/")):
            return find_model(name)
        if name:
            with contextlib.suppress(RequestError):
                return find(name)
            if name.partition("-")[0] not in FOREIGN:
                raise ModelError(f"no model '{name[:100]}' is installed: `lfm list` shows what is")
        folder = find_model(self.model) if self.model else preferred()
        if folder is None:
            raise ModelError("no model is installed: `lfm pull` gets one")
        return folder

    def job(
        self,
        request: HTTPConnection,
        kind: str,
        model: str | None,
        options: dict[str, Any],
        sounds: list[dict[str, Any]] | None = None,
        *,
        batch: bool = False,
        keep_alive: str | float | None = None,
    ) -> Job:
        """A request as a job; options that are None are left out.

        Raises:
            Fault: there is no such model, or a value is at fault.
        """
        given = {name: value for name, value in options.items() if value is not None}
        job = Job(kind, self.model_of(model), given, sounds or [], batch)
        try:
            job.keep_alive = None if keep_alive is None else seconds_of(keep_alive)
        except LfmError as error:
            raise fault_of(error) from error
        if batch:
            job.budget = BATCH_SECONDS
        if deadline := request.headers.get(DEADLINE):
            try:
                job.budget = min(job.budget, max(0.0, float(deadline)))
            except ValueError as error:
                raise Fault(400, "invalid_request", f"{DEADLINE}: is no number") from error
        return job

    @contextlib.asynccontextmanager
    async def begun(self, request: Request, job: Job) -> AsyncGenerator[AsyncIterator[Frame]]:
        """A job's events, after the first has come: what cannot be done at all fails here, while
        there is still a status to say so with.

        Raises:
            Fault: see `Resident.events`.
        """
        async with contextlib.aclosing(self.resident.events(job)) as events:
            first = await unless_gone(request, anext(events, None))

            async def all_of_them() -> AsyncIterator[Frame]:
                if first:
                    yield first
                    async for frame in events:
                        yield frame

            yield all_of_them()


def service_of(connection: HTTPConnection) -> Service:
    """The daemon that a request has come to."""
    return connection.app.state.service


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of some work, which is given up when the client leaves.

    Raises:
        ClientDisconnect: it has left.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.wait({task, gone})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
