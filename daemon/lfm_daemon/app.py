"""The daemon as an ASGI application: its routes, and how every fault becomes an answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from lfm_daemon.access import BodyLimit, TokenRequired
from lfm_daemon.faults import Fault, as_json
from lfm_daemon.routes import chat, jobs, life, realtime, speech, transcriptions
from lfm_daemon.service import Service

__all__ = ["application"]

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""nginx' status for it; nobody reads it."""


def application(service: Service, token: str | None = None) -> Starlette:
    """All of it. `token` is asked for at a port."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        yield
        await service.resident.close(patience=0.0)

    middleware = [Middleware(BodyLimit)]
    if token is not None:
        middleware.insert(0, Middleware(TokenRequired, token=token))
    app = Starlette(
        routes=[
            *life.ROUTES,
            *transcriptions.ROUTES,
            *speech.ROUTES,
            *chat.ROUTES,
            *realtime.ROUTES,
            *jobs.ROUTES,
        ],
        middleware=middleware,
        exception_handlers={
            Fault: _fault,
            HTTPException: _http_fault,
            ClientDisconnect: _gone,
            Exception: _own_fault,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # there is one path to each thing
    app.state.service = service
    return app


async def _fault(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, Fault)
    return JSONResponse(as_json(fault), fault.status, fault.headers)


async def _http_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower()
    what = f"{request.method} {request.scope['path']}: {error.detail}"
    fault = Fault(error.status_code, code, what)
    return JSONResponse(as_json(fault), fault.status, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _own_fault(request: Request, error: Exception) -> Response:
    # Its message may hold what somebody said.
    log.error("%s in %s", type(error).__name__, request.scope["path"])
    fault = Fault(500, "internal_error", f"a fault of lfm itself: {type(error).__name__}")
    return JSONResponse(as_json(fault), fault.status)
