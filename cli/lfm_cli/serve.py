"""`lfm serve`: the daemon in the foreground."""

import logging
from typing import Annotated

import typer

from lfm_cli.model import ModelOption
from lfm_cli.options import KeepAliveOption
from lfm_cli.terminal import JsonOption, emit

__all__ = ["serve"]

log = logging.getLogger(__name__)


def serve(
    keep_alive: KeepAliveOption = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="N",
            min=1,
            max=65535,
            help="Listen at this TCP port too; needs a token.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="This machine's own address, for --port."),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            envvar="LFM_TOKEN",
            help="What clients of --port must send as `Authorization: Bearer TOKEN`.",
        ),
    ] = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    detached: Annotated[bool, typer.Option("--detached", hidden=True)] = False,
) -> None:
    """Serve the model to `lfm` and to clients of OpenAI's API, until ctrl-C.

    Only processes of yours can connect, through a Unix socket that `lfm daemon status` names.
    A model is loaded when the first request needs it. `lfm daemon start` does the same in the
    background.

    Example: lfm serve --keep-alive 30m
    """
    from lfm2audio_mlx.installed import find_model
    from lfm_daemon.keepalive import USUAL, seconds_of
    from lfm_daemon.paths import log_path, socket_path
    from lfm_daemon.server import Settings, serve

    if model is not None:
        find_model(model)

    def ready() -> None:
        where = {"socket": str(socket_path()), "log": str(log_path())}
        if as_json:
            emit("daemon", running=True, **where)
        elif not detached:
            log.info("serving at %s; ctrl-C ends it", where["socket"])

    serve(
        Settings(
            keep_alive=seconds_of(USUAL if keep_alive is None else keep_alive),
            model=model,
            host=host,
            port=port,
            token=token,
            foreground=not detached,
        ),
        ready,
    )
