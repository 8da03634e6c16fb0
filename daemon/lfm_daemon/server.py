"""Runs the daemon: one instance, one socket, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator
from dataclasses import dataclass

import uvicorn

from lfm2audio_mlx import __version__
from lfm2audio_mlx.errors import DaemonError, RequestError
from lfm_daemon.access import HOSTS, PrivateProtocol
from lfm_daemon.activation import handed_over
from lfm_daemon.app import application
from lfm_daemon.instance import BACKLOG, claimed
from lfm_daemon.logs import log_to
from lfm_daemon.metrics import Metrics
from lfm_daemon.resident import Resident
from lfm_daemon.service import Service
from lfm_daemon.threads import Threads
from lfm_daemon.uploads import cleared

__all__ = ["Settings", "serve"]

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10
"""For requests that are under way when the daemon is to end."""
LOOPBACK = [host.strip("[]") for host in HOSTS]


@dataclass(frozen=True)
class Settings:
    """How a daemon runs. Without a `port` it listens at its socket only."""

    keep_alive: float
    """Seconds; infinity is for ever."""
    model: str | None = None
    host: str = LOOPBACK[0]
    port: int | None = None
    token: str | None = None
    foreground: bool = True


def serve(settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or ctrl-C; `ready` is called when clients can connect.

    Raises:
        DaemonError: a daemon runs already, or an address cannot be used.
        RequestError: a port without a token, or for others than this machine.
    """
    if settings.port is not None:
        if settings.host not in LOOPBACK:
            raise RequestError(f"--host {settings.host}: only {', '.join(LOOPBACK)} are served")
        if not settings.token or len(settings.token) < 16:
            raise RequestError("--port needs a token of 16 characters or more: --token, LFM_TOKEN")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(claimed(handed_over()))]
        log_to(settings.foreground)
        cleared()
        if settings.port is not None:
            sockets.append(stack.enter_context(_port(settings.host, settings.port)))
        resident = Resident(Metrics(), settings.keep_alive)
        app = application(Service(resident, Threads(), settings.model), settings.token)
        config = uvicorn.Config(
            app,
            http=PrivateProtocol,
            ws="websockets-sansio",
            # A ping would wait behind sound that is played as it is read, and end the connection.
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        asyncio.run(Server(config, ready).serve(sockets))
        log.info("process %d ends", os.getpid())


class Server(uvicorn.Server):
    """Tells when clients can connect. Ends when it is told to, which is no failure: uvicorn's own
    would raise the signal again."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]):
        super().__init__(config)
        self._ready = ready
        self._told = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log.info("lfm %s, process %d, serves", __version__, os.getpid())
        self._ready()

    async def main_loop(self) -> None:
        """Nothing to do but to wait; uvicorn's own wakes up ten times a second."""
        await self._told.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, self._end, number)
        try:
            yield
        finally:
            for number in numbers:
                asyncio.get_running_loop().remove_signal_handler(number)

    def _end(self, number: int) -> None:
        self.handle_exit(number, None)
        self._told.set()


def _port(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise DaemonError(f"{host}:{port}: cannot be used: {error.strerror}") from error
    return listener
