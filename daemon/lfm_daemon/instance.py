"""The one daemon of a user: it holds a lock, and listens at a socket that is only theirs."""

import fcntl
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress

from lfm2audio_mlx.errors import DaemonError
from lfm_daemon.paths import lock_path, private, run_folder, socket_path

__all__ = ["claimed", "connected", "running"]

BACKLOG = 128


@contextmanager
def claimed() -> Generator[socket.socket]:
    """The socket, bound and not yet listening; this process is its only owner until the end.

    A lock ends with its process however that ends, so that a socket which is found under the
    lock is a stale one.

    Raises:
        DaemonError: a daemon runs already, or the folder cannot be used.
    """
    private(run_folder())
    path = socket_path()
    try:
        descriptor = os.open(lock_path(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DaemonError(f"{lock_path()}: cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DaemonError("a daemon runs already; `lfm daemon status` tells of it") from None
        lock.truncate()
        print(os.getpid(), file=lock, flush=True)
        with socket.socket(socket.AF_UNIX) as listener:
            before = os.umask(0o177)  # the socket is 0600 from its first moment on
            try:
                path.unlink(missing_ok=True)
                listener.bind(str(path))
            except OSError as error:
                raise DaemonError(f"{path}: cannot be bound: {error.strerror}") from error
            finally:
                os.umask(before)
            try:
                yield listener
            finally:
                path.unlink(missing_ok=True)


def connected(timeout: float) -> socket.socket:
    """A connection to the daemon.

    Raises:
        DaemonError: none runs.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(str(socket_path()))
    except OSError as error:
        connection.close()
        raise DaemonError("no daemon runs") from error
    return connection


def running() -> int | None:
    """The process number of the daemon, if one runs."""
    with suppress(DaemonError, OSError, ValueError):
        connected(timeout=5.0).close()
        return int(lock_path().read_text("ascii"))
    return None
