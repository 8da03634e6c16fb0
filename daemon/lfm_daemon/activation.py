"""The socket that launchd or systemd listens at for the daemon, and hands over when it starts it.

systemd's protocol is that of sd_listen_fds(3): file descriptors from 3 on, counted in `LISTEN_FDS`,
for the process that `LISTEN_PID` names. launchd is asked: launch_activate_socket(3).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from collections.abc import MutableMapping
from typing import Any

from lfm2audio_mlx.errors import DaemonError

__all__ = ["LISTENER", "handed_over"]

LISTENER = "Listener"
"""What the agent's property list calls the socket."""
FIRST = 3
"""The first file descriptor after stdin, stdout and stderr."""
NONE_OURS = (errno.ESRCH, errno.ENOENT)
"""launchd did not start this process, or knows no socket of that name for it."""


def handed_over(environment: MutableMapping[str, str] = os.environ) -> socket.socket | None:
    """The socket, already listening; None, if whoever started this process handed none over.

    What tells of it leaves `environment`, so that the worker does not take it for its own.

    Raises:
        DaemonError: several were handed over, or something else.
    """
    found = _from_systemd(environment)
    if not found and sys.platform == "darwin":
        found = _from_launchd(ctypes.CDLL(None))
    if not found:
        return None
    if len(found) > 1:
        raise DaemonError(f"{len(found)} sockets were handed over, and one is served")
    try:
        os.set_inheritable(found[0], False)
        handed = socket.socket(fileno=found[0])
    except OSError as error:
        raise DaemonError(f"what was handed over is no socket: {error.strerror}") from error
    if handed.family != socket.AF_UNIX or handed.type != socket.SOCK_STREAM:
        handed.close()
        raise DaemonError("the socket that was handed over is no Unix socket of streams")
    return handed


def _from_systemd(environment: MutableMapping[str, str]) -> list[int]:
    told = {
        name: environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    }
    # Both were inherited where they were meant for a process above.
    if told["LISTEN_PID"] != str(os.getpid()) or not told["LISTEN_FDS"].isdecimal():
        return []
    return list(range(FIRST, FIRST + int(told["LISTEN_FDS"])))


def _from_launchd(library: Any) -> list[int]:
    """`library`: libSystem, which every process on a Mac has.

    Raises:
        DaemonError: launchd has one, and does not give it.
    """
    descriptors = ctypes.POINTER(ctypes.c_int)()
    count = ctypes.c_size_t()
    fault = library.launch_activate_socket(
        ctypes.c_char_p(LISTENER.encode()), ctypes.byref(descriptors), ctypes.byref(count)
    )
    if fault in NONE_OURS:
        return []
    if fault:
        raise DaemonError(f"launchd does not hand the socket over: {os.strerror(fault)}")
    found = [descriptors[index] for index in range(count.value)]
    library.free(ctypes.cast(descriptors, ctypes.c_void_p))
    return found
