"""`/v1/realtime`: live voice over a WebSocket, as OpenAI's Realtime API has it.

One client is one session (`lfm_daemon.realtime.session`); here are its socket, its jobs and its
files. An answer waits for a client that does not read it, and so, much later, does all else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from lfm2audio_mlx.results import Span
from lfm_daemon.faults import Fault
from lfm_daemon.job import Job
from lfm_daemon.realtime.session import (
    Begin,
    Foresee,
    Forget,
    Hear,
    Out,
    Session,
    Stop,
    Wake,
    error,
)
from lfm_daemon.service import Service, service_of
from lfm_daemon.uploads import spooled
from lfm_daemon.values import decode

__all__ = ["ROUTES"]

log = logging.getLogger(__name__)

ANSWER_AHEAD, AHEAD = 256 << 10, 4 << 20
"""Bytes that may wait for a client to read them before its answer waits (4 s of speech), and before
it is not listened to any more."""
STALLED_SECONDS = 60.0
"""A client that takes nothing for so long is gone, whatever its connection says."""
HEARD_AT_ONCE = 30.0
"""Seconds of speech that are written down in one pass; more is cut at its pauses."""
SUBPROTOCOL = "realtime"
"""What browsers insist on, having asked for it."""
NOT_SERVED, INTERNAL_ERROR = 1008, 1011
"""Why a socket is closed from here (RFC 6455, 7.4.1)."""


async def realtime(socket: WebSocket) -> None:
    """A session, until the client leaves."""
    service, name = service_of(socket), socket.query_params.get("model")
    await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
    try:
        model = service.model_of(name).name
    except Fault as fault:
        with contextlib.suppress(WebSocketDisconnect):
            await socket.send_text(json.dumps(error(fault)))
            await socket.close(NOT_SERVED, fault.code)
        return
    with spooled() as spool:
        await Connection(socket, service, name, Session(model, spool.keep)).serve()


@dataclass(eq=False)
class Answer:
    """An answer on its way. What comes of it waits until it is known whether it is `wanted`."""

    wish: Begin
    wanted: asyncio.Future[bool]
    task: asyncio.Task[None] | None = None
    job: Job | None = None
    unneeded: str | None = None
    """A file that was made for it alone."""


class Connection:
    """A session's socket and its work."""

    def __init__(self, socket: WebSocket, service: Service, model: str | None, session: Session):
        self._socket, self._service, self._model = socket, service, model
        self._session = session
        self._tasks = asyncio.TaskGroup()
        self._one = asyncio.Lock()
        """Held by whoever moves the session on, until all that comes of it is done."""
        self._unsent: asyncio.Queue[str] = asyncio.Queue()
        self._waiting = 0
        """Characters in it, and on their way."""
        self._changed = asyncio.Condition()
        self._foreseen: Answer | None = None
        self._answer: Answer | None = None
        self._loading: asyncio.Task[None] | None = None
        self._unheard: asyncio.Queue[Hear] = asyncio.Queue()

    async def serve(self) -> None:
        """Until the client leaves; nothing of it goes on then."""
        try:
            async with self._tasks:
                self._tasks.create_task(self._send())
                self._tasks.create_task(self._write_down())
                await self._act(self._session.begin())
                while True:
                    await self._room(AHEAD)
                    await self._act(self._session.receive(await self._message()))
                    if self._session.stopping and self._answer and self._answer.task:
                        # What the client says next refers to an answer that has ended.
                        await asyncio.wait([self._answer.task])
        except* (WebSocketDisconnect, TimeoutError):
            log.info("a client of live voice has left")
        except* Exception as faults:  # noqa: BLE001 - the other clients are served on
            # Their messages may hold what somebody said.
            names = ", ".join(type(fault).__name__ for fault in faults.exceptions)
            log.error("%s in %s", names, self._socket.url.path)
            with contextlib.suppress(Exception):
                await self._socket.close(INTERNAL_ERROR)

    async def _message(self) -> str | bytes:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        return message.get("text") or message.get("bytes") or ""

    async def _act(self, outs: Iterator[Out]) -> None:
        """Move the session on: nobody else does meanwhile."""
        async with self._one:
            for out in outs:
                match out:
                    case Foresee(wish):
                        self._foreseen = await self._begin(wish)
                    case Forget(path):
                        self._forget(path)
                    case Begin():
                        self._answer = self._foreseen or await self._begin(out)
                        self._foreseen = None
                        self._answer.wanted.set_result(True)
                    case Stop():
                        self._end(self._answer)
                        await self._tell()
                    case Hear():
                        self._unheard.put_nowait(out)
                    case Wake():
                        if not self._loading or self._loading.done():
                            self._loading = self._tasks.create_task(self._load())
                    case None:
                        await asyncio.sleep(0)
                    case _:
                        text = json.dumps(out, allow_nan=False, separators=(",", ":"))
                        self._unsent.put_nowait(text)
                        self._waiting += len(text)

    async def _send(self) -> None:
        """One event after the other; whatever else happens need not wait for a slow client."""
        while True:
            text = await self._unsent.get()
            async with asyncio.timeout(STALLED_SECONDS):
                await self._socket.send_text(text)
            self._waiting -= len(text)
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _room(self, most: int) -> None:
        """Once the client has read all but so much. An answer that is to end need not wait: its
        sound is not sent any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting <= most or self._session.stopping)

    async def _begin(self, wish: Begin) -> Answer:
        answer = Answer(wish, asyncio.get_running_loop().create_future())
        answer.task = self._tasks.create_task(self._give(answer))
        # So that its job is admitted, and can be cancelled, from here on.
        await asyncio.sleep(0)
        return answer

    def _end(self, answer: Answer | None) -> None:
        """Its last events still come."""
        if answer and answer.job:
            self._service.resident.cancel(answer.job.id)

    def _forget(self, path: str | None) -> None:
        """What was foreseen is not wanted."""
        if answer := self._foreseen:
            self._foreseen, answer.unneeded = None, path
            answer.wanted.set_result(False)
            self._end(answer)

    async def _give(self, answer: Answer) -> None:
        fault = await self._tell_of(answer)
        if fault and not answer.wanted.done() and await answer.wanted:
            # It was only foreseen then; now it may be possible.
            fault = await self._tell_of(answer)
        if await answer.wanted:
            await self._act(self._session.ended(fault))
        elif answer.unneeded:  # by the worker neither, for which it has ended
            Path(answer.unneeded).unlink(missing_ok=True)

    async def _tell_of(self, answer: Answer) -> Fault | None:
        """What the worker gives, to the session; why that came to no end, if it did not."""
        wish = answer.wish
        try:
            answer.job = self._service.job(
                self._socket, "chat", self._model, wish.options, wish.sounds
            )
            async with contextlib.aclosing(self._service.resident.events(answer.job)) as frames:
                async for frame in frames:
                    if await answer.wanted:
                        await self._room(ANSWER_AHEAD)
                        await self._act(self._session.told(frame))
        except Fault as fault:
            return fault
        return None

    async def _load(self) -> None:
        try:
            job = self._service.job(self._socket, "load", self._model, {})
            await self._service.resident.load(job)
        except Fault as fault:
            await self._act(self._session.failed(fault))

    async def _write_down(self) -> None:
        """What was said, one turn after the other, whenever no answer is being made."""
        while True:
            wish = await self._unheard.get()
            kind = "hear" if wish.sound.seconds <= HEARD_AT_ONCE else "spans"
            text: str | Fault = ""
            try:
                job = self._service.job(
                    self._socket, kind, self._model, {}, [wish.sound.source], batch=True
                )
                async with contextlib.aclosing(self._service.resident.events(job)) as frames:
                    spans = [item async for frame in frames if (item := decode(frame))]
                text = " ".join(span.text for span in spans if isinstance(span, Span) and span.text)
            except Fault as fault:
                text = fault
            await self._act(self._session.transcribed(wish, text))


ROUTES = [WebSocketRoute("/v1/realtime", realtime)]
