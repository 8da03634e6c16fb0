"""Where the daemon's socket, lock, uploads and log are: folders for one user alone."""

import hashlib
import os
import stat
from pathlib import Path

from lfm2audio_mlx.errors import DaemonError
from lfm2audio_mlx.home import data_folder, log_folder

__all__ = [
    "lock_path",
    "log_path",
    "private",
    "run_folder",
    "socket_path",
    "spool_folder",
    "temporary_folder",
]

LONGEST_SOCKET = 100
"""Bytes; macOS takes 104 with the zero at the end (`sun_path` in sys/un.h), Linux 108."""


def run_folder() -> Path:
    """The socket's folder; it may not exist yet. Where its usual path would be too long for a
    socket, a short one with a name of its own."""
    folder = data_folder() / "run"
    if len(os.fsencode(folder / "lfm.sock")) <= LONGEST_SOCKET:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(f"/tmp/lfm-{os.getuid()}-{digest}")


def socket_path() -> Path:
    """The Unix socket; nobody listens there unless a daemon runs."""
    return run_folder() / "lfm.sock"


def lock_path() -> Path:
    """Held by the one daemon that runs, and its process number."""
    return run_folder() / "lock"


def spool_folder() -> Path:
    """Recordings that were sent, until they are heard."""
    return run_folder() / "spool"


def temporary_folder() -> Path:
    """What the daemon's processes lay down for a moment."""
    return run_folder() / "tmp"


def log_path() -> Path:
    """What the daemon did, in lines."""
    return log_folder() / "daemon.log"


def private(folder: Path) -> Path:
    """The folder itself, made if need be, and nobody's but this user's.

    Raises:
        DaemonError: it cannot be made, or is another user's or a link to somewhere.
    """
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise DaemonError(f"{folder}: is not a folder of yours; remove it")
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise DaemonError(f"{folder}: cannot be made: {error.strerror}") from error
    return folder
