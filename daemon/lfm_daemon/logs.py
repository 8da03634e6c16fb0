"""The daemon's log: what happened when, with ids, times and sizes; never what anybody said."""

import logging
import os
import sys
import time
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler

from lfm_daemon.paths import log_path, private

__all__ = ["log_to"]

LARGEST, KEPT = 2 << 20, 3
"""Bytes of a file, and how many older ones are kept."""


class PrivateFile(RotatingFileHandler):
    """Files that only their owner can read, whatever the umask."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(
            self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        return os.fdopen(descriptor, "a", encoding="utf-8")


def log_to(foreground: bool) -> None:
    """Begin to write the log, in the foreground to stderr too.

    Raises:
        DaemonError: its folder cannot be made.
    """
    private(log_path().parent)
    # A full disk keeps nobody from being served.
    logging.raiseExceptions = False
    line = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    line.converter = time.gmtime
    handlers: list[logging.Handler] = [
        PrivateFile(log_path(), maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8", delay=True)
    ]
    if foreground:
        handlers.append(logging.StreamHandler(sys.stderr))
    for name, level in (("lfm_daemon", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], False
        logger.setLevel(level)
        for handler in handlers:
            handler.setFormatter(line)
            logger.addHandler(handler)
