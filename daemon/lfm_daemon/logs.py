"""The daemon's log: what happened when, with ids, times and sizes; never what anybody said."""

import logging
import os
import sys
import time
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from lfm_daemon.paths import log_path, private

__all__ = ["log_to", "places"]

LOGGERS = {
    "lfm_daemon": logging.INFO,
    "uvicorn.error": logging.WARNING,
    "asyncio": logging.WARNING,
}
LARGEST, KEPT = 2 << 20, 3
"""Bytes of a file, and how many older ones are kept."""


def places(error: BaseException) -> str:
    """What kind of error and where, but not its message, which may hold what somebody said."""
    trace, found = error.__traceback__, list[str]()
    while trace:
        code = trace.tb_frame.f_code
        found.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' > '.join(found)}"


class Line(logging.Formatter):
    """One line; of an exception that a library logs, neither the message nor its own words."""

    converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info and record.exc_info[1]:
            told = f"{record.name}: {places(record.exc_info[1])}"
            record = logging.makeLogRecord(
                {**vars(record), "msg": told, "args": (), "exc_info": None, "exc_text": None}
            )
        return super().format(record)


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
    line = Line("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    handlers: list[logging.Handler] = [
        PrivateFile(log_path(), maxBytes=LARGEST, backupCount=KEPT, encoding="utf-8", delay=True)
    ]
    if foreground:
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(line)
    logging.basicConfig(
        handlers=[logging.NullHandler()], force=True
    )  # nobody knows what others say
    for name, level in LOGGERS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = list(handlers), False
        logger.setLevel(level)
