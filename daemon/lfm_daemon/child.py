"""The supervisor's end of a worker: starts the process, speaks with it, and outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import psutil

from lfm2audio_mlx.installed import model_name
from lfm_daemon.paths import private, temporary_folder
from lfm_daemon.wire import Frame, WireError, read_async

__all__ = ["Child", "Model"]

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
"""For a worker to end by itself when its stdin has; then it is killed."""
LINE = 500
"""Characters of a line that a worker's libraries print, at most."""


@dataclass(frozen=True)
class Model:
    """Which model: its folder, what it is called, and since when it is so: one that was made anew
    in its place is another."""

    folder: Path
    name: str
    made: float = 0.0

    @classmethod
    def at(cls, folder: Path) -> Model:
        """The one in a folder."""
        try:
            made = (folder / "config.json").stat().st_mtime
        except OSError:
            made = 0.0  # the worker tells what is wrong
        return cls(folder.resolve(), model_name(folder), made)


class Child:
    """A worker process with one model."""

    def __init__(self, process: asyncio.subprocess.Process, model: Model, folder: str):
        self.model = model
        self._folder = folder
        self._process = process
        self._stderr = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, model: Model) -> Child:
        """A new process, which begins to load the model.

        Raises:
            OSError: the system starts no more processes.
        """
        # -P: nothing is imported from the folder that somebody happens to stand in. A session of
        # its own: ctrl-C at the supervisor's terminal is the supervisor's to act on.
        command = [sys.executable, "-P", "-W", "ignore", "-m", "lfm_daemon.worker"]
        folder = tempfile.mkdtemp(dir=private(temporary_folder()))
        process = await asyncio.create_subprocess_exec(
            *command,
            str(model.folder),
            model.name,
            folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process, model, folder)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def memory(self) -> int:
        """Bytes of memory that the process holds."""
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.pid).memory_info().rss
        return 0

    def send(self, frame: Frame) -> None:
        """Give it something to do; what a dead one is told is lost, `events` tells of its end."""
        assert self._process.stdin
        if not self._process.stdin.is_closing():
            self._process.stdin.write(frame.encode())

    async def events(self) -> AsyncGenerator[Frame]:
        """All that it says, until it ends, however it ends."""
        assert self._process.stdout
        try:
            while frame := await read_async(self._process.stdout.readexactly):
                yield frame
        except (WireError, ConnectionError) as error:
            log.error("worker %d: %s", self.pid, error)

    def kill(self) -> None:
        """End it, whatever it does."""
        log.error("worker %d does not heed that a job is to end", self.pid)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Its memory is the system's again when this returns."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        # What it has started (a converter) and laid down must not outlive it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._stderr
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def fate(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        if code is None:
            return "is at work"
        return f"ended with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"

    async def _listen(self) -> None:
        """What it or its libraries print goes to the log; no words of anybody's are printed."""
        assert self._process.stderr
        while not self._process.stderr.at_eof():
            with contextlib.suppress(ValueError):  # a line without end, which is passed over
                line = await self._process.stderr.readline()
                told = "".join(filter(str.isprintable, line.decode(errors="replace")))
                if told:
                    log.warning("worker %d: %s", self.pid, told[:LINE])
