"""Starting a daemon that outlives who starts it, ending one, and replacing one that is outdated."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lfm2audio_mlx import __version__
from lfm2audio_mlx.errors import DaemonError
from lfm_daemon.client import ask
from lfm_daemon.instance import held, listening, running
from lfm_daemon.paths import log_path, private

__all__ = ["ensure", "health", "start", "stop"]

HEALTH_SECONDS = 5.0
START_SECONDS = 15.0
STOP_SECONDS = 15.0
"""A little more than a daemon takes to let its requests end."""
POLL_SECONDS = 0.02


def health(patience: float = HEALTH_SECONDS) -> dict[str, Any] | None:
    """What the daemon says of itself, after `patience` seconds at most; None, if none runs.

    Raises:
        DaemonError: one runs, and does not answer.
    """
    if running() is None:
        return None
    return ask("GET", "/health", timeout=patience)


def ensure(command: Sequence[str], env: Mapping[str, str]) -> None:
    """Have a daemon of this very version running; `command` starts one in the foreground, unless
    launchd or systemd does.

    Raises:
        DaemonError: it cannot be started, or an old one does not end.
    """
    # At a socket of the system's, one that ends leaves the answer to the next one.
    found = health(START_SECONDS)
    if found and found["version"] != __version__:
        # A new one was installed over it; or two are, and then neither cuts the other off.
        if found["queue"]:
            raise DaemonError(f"a daemon of version {found['version']} runs, and is busy")
        stop()
        found = None
    if not found and not _woken():
        start(command, env)


def _woken() -> bool:
    """Have launchd or systemd start the daemon, by asking it something; False, if they keep no
    socket for it.

    Raises:
        DaemonError: they do, and start none, or one of another version.
    """
    if not listening():
        return False
    try:
        found = ask("GET", "/health", timeout=START_SECONDS)
    except DaemonError as error:
        raise DaemonError(
            f"the installed daemon does not start: {log_path()} may say why, `lfm doctor` what to "
            "do about it"
        ) from error
    if found["version"] != __version__:
        raise DaemonError(
            f"the installed daemon is of version {found['version']}, and this is {__version__}: "
            "`lfm daemon install` puts this one in its place"
        )
    return True


def start(command: Sequence[str], env: Mapping[str, str]) -> None:
    """Start a daemon and wait until it answers; one that is ending is waited for first. Of several
    that are started at the same time one remains, and all who wait find it.

    Raises:
        DaemonError: it ended at once, or does not answer in time.
    """
    end = time.monotonic() + STOP_SECONDS
    while held() and not listening() and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    private(log_path().parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    log = os.open(log_path(), flags, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        raise DaemonError(f"the daemon cannot be started: {error}") from error
    finally:
        os.close(log)
    # Should it end before this process does, it is waited for.
    threading.Thread(target=process.wait, daemon=True).start()
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with suppress(DaemonError):
            if found := health():
                if found["pid"] != process.pid:
                    process.terminate()  # or it would take over when the other one ends
                    process.wait()
                return
        if not _lives(process.pid) and not held():
            raise DaemonError(f"the daemon ended at once; {log_path()} may say why")
        time.sleep(POLL_SECONDS)
    raise DaemonError(f"the daemon does not answer after {START_SECONDS:.0f} s")


def stop() -> bool:
    """End the daemon; its requests may come to their end. False, if none runs.

    Raises:
        DaemonError: it does not end.
    """
    pid = running()
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        if not _lives(pid):
            return True
        time.sleep(POLL_SECONDS)
    raise DaemonError(f"the daemon, process {pid}, does not end: `kill -9 {pid}` does")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
