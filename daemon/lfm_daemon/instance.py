"""The one daemon of a user: it holds a lock, and listens at a socket that is only theirs."""

import fcntl
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lfm2audio_mlx.errors import DaemonError
from lfm_daemon.paths import lock_path, private, run_folder, socket_path

__all__ = ["claimed", "connected", "held", "listening", "running"]

BACKLOG = 128
LOCK_SECONDS = 0.25
"""For whoever only looks at the lock, as `held` does, to let go of it."""
POLL_SECONDS = 0.01


@contextmanager
def claimed(handed: socket.socket | None = None) -> Generator[socket.socket]:
    """The socket, bound and maybe not yet listening; this process is its only owner until the end.

    A lock ends with its process however that ends, so that a socket which is found under the
    lock is a stale one, unless launchd or systemd listens there. The one that they `handed` over
    is theirs: it is neither bound nor removed here.

    Raises:
        DaemonError: a daemon runs already, the folder cannot be used, or the socket belongs to
            launchd or systemd, who did not start this process.
    """
    private(run_folder())
    try:
        descriptor = os.open(lock_path(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DaemonError(f"{lock_path()}: cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "r+") as lock:
        _lock(lock)
        lock.truncate()
        print(os.getpid(), file=lock, flush=True)
        try:
            with _bound(socket_path()) if handed is None else _theirs(handed) as listener:
                yield listener
        finally:
            # Where the socket stays, nobody is to take the number for that of a daemon.
            os.ftruncate(lock.fileno(), 0)


def _lock(lock: IO[str]) -> None:
    """Hold the lock of the one daemon.

    Raises:
        DaemonError: another one does.
    """
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise DaemonError(
                    "a daemon runs already; `lfm daemon status` tells of it"
                ) from None
        time.sleep(POLL_SECONDS)


@contextmanager
def _bound(path: Path) -> Generator[socket.socket]:
    """A socket of our own, which goes in the end."""
    if listening():
        raise DaemonError(
            f"{path}: is kept by `lfm daemon install`, whose daemon starts when it is needed; "
            "`lfm daemon uninstall` gives it free"
        )
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


@contextmanager
def _theirs(handed: socket.socket) -> Generator[socket.socket]:
    """A socket that was handed over, if it is the one where clients look for it."""
    with handed:
        path = socket_path()
        try:
            same = os.path.samefile(handed.getsockname(), path)
            path.chmod(0o600)
        except (OSError, ValueError):
            same = False
        if not same:
            raise DaemonError(
                f"the socket that was handed over is not {path}: `lfm daemon install` mends it"
            )
        yield handed


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


def listening() -> bool:
    """Does anybody listen at the socket? If that is launchd or systemd, they start the daemon."""
    with suppress(DaemonError):
        connected(timeout=5.0).close()
        return True
    return False


def held() -> bool:
    """Is there a daemon, if only one that is starting or ending? Asked without a connection, which
    would start one."""
    try:
        descriptor = os.open(lock_path(), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(descriptor) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def running() -> int | None:
    """The process number of the daemon, if one runs. A socket alone is no daemon: launchd or
    systemd may listen there for one."""
    if held() and listening():
        with suppress(OSError, ValueError):
            return int(lock_path().read_text("ascii"))
    return None
