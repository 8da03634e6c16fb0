"""Who may speak to the daemon, and how much they may say.

At the Unix socket: processes of the same user, whatever the socket's mode has become. At a port
(`lfm serve --port`): who has the token and means this machine by its name, so that no page in a
browser can (DNS rebinding, as in CVE-2024-28224).
"""

from __future__ import annotations

import hmac
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from lfm_daemon.faults import Fault, as_json
from lfm_daemon.uploads import LARGEST_SOUND

__all__ = ["BodyLimit", "PrivateProtocol", "TokenRequired", "peer_uid"]

LOCAL_PEERCRED = 1
"""sys/un.h of macOS."""
XUCRED = struct.Struct("=IIh")
"""The beginning of `struct xucred` there: version, uid, number of groups."""
HOSTS = ("127.0.0.1", "localhost", "[::1]")


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end of a Unix socket.

    Raises:
        OSError: the system does not tell.
    """
    if sys.platform == "darwin":
        credentials = connection.getsockopt(0, LOCAL_PEERCRED, 76)
        return XUCRED.unpack_from(credentials)[1]
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return struct.unpack("=iII", credentials)[1]


class PrivateProtocol(H11Protocol):
    """HTTP that hangs up on other users before a byte of theirs is read."""

    def connection_made(self, transport: Any) -> None:
        connection = transport.get_extra_info("socket")
        try:
            if connection.family == socket.AF_UNIX and peer_uid(connection) != os.getuid():
                transport.abort()
        except OSError:
            transport.abort()
        super().connection_made(transport)


class BodyLimit:
    """Counts what a client sends while it does."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_SOUND):
        self._app, self._largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        told = dict(scope["headers"]).get(b"content-length", b"0")
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._largest:
                raise self._fault()
            return message

        if told.isdigit() and int(told) > self._largest:
            return await _answer(self._fault(), scope, receive, send)
        await self._app(scope, counted, send)

    def _fault(self) -> Fault:
        return Fault(413, "too_large", f"a request may have {self._largest >> 20:,} MB")


class TokenRequired:
    """Asks for the token at a port; at the Unix socket nobody needs one."""

    def __init__(self, app: ASGIApp, token: str):
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("server", (None, None))[1] is None:
            return await self._app(scope, receive, send)
        if fault := self._refused(dict(scope["headers"]).get):
            return await _answer(fault, scope, receive, send)
        await self._app(scope, receive, send)

    def _refused(self, header: Callable[[bytes, bytes], bytes]) -> Fault | None:
        host = header(b"host", b"").decode("latin-1").lower()
        if host.rpartition(":")[0] not in HOSTS and host not in HOSTS:
            return Fault(421, "wrong_host", f"this is {HOSTS[0]}, and nothing else")
        given = header(b"authorization", b"").partition(b"Bearer ")[2].strip()
        if not hmac.compare_digest(given, self._token.encode()):
            return Fault(401, "wrong_token", "send the token as `Authorization: Bearer TOKEN`")
        return None


async def _answer(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    from starlette.responses import JSONResponse
    from starlette.websockets import WebSocketClose

    if scope["type"] == "websocket":
        return await WebSocketClose(1008, fault.message)(scope, receive, send)
    await JSONResponse(as_json(fault), fault.status, fault.headers)(scope, receive, send)
