"""`lfm ps` and `lfm stop`: the model that the daemon keeps in memory."""

import logging
from typing import Any

from lfm_cli.terminal import JsonOption, columns, emit, megabytes

__all__ = ["ps", "stop"]

log = logging.getLogger(__name__)


def ps(as_json: JsonOption = False) -> None:
    """Show the model in memory, what it takes, and until when it stays without use.

    Example: lfm ps
    """
    from lfm_daemon.client import ask
    from lfm_daemon.keepalive import told
    from lfm_daemon.launch import health

    found: Any = ask("GET", "/api/ps") if health() else {"models": []}
    models: list[dict[str, Any]] = found["models"]
    if as_json:
        names = ("name", "size", "memory", "device", "until")
        emit("resident", models=[{name: model[name] for name in names} for model in models])
        return
    if not models:
        log.info("no model is in memory")
        return
    rows = [
        (
            model["name"],
            megabytes(model["size"]),
            megabytes(model["memory"]),
            model["device"],
            told(model["until"]),
        )
        for model in models
    ]
    columns([("NAME", "SIZE", "MEMORY", "DEVICE", "IDLE UNTIL"), *rows], right=(1, 2))


def stop(as_json: JsonOption = False) -> None:
    """Let the model go: its memory is free again. The daemon stays, and loads it when it must.

    Example: lfm stop
    """
    from lfm_daemon.client import ask
    from lfm_daemon.launch import health

    gone = ask("POST", "/api/unload", {})["model"] if health() else None
    if as_json:
        emit("resident", models=[])
        return
    if not gone:
        log.info("no model is in memory")
