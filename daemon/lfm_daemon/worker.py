"""The disposable process that owns MLX: one model, one thread, one step of one job at a time.

Run as `python -m lfm_daemon.worker FOLDER NAME TEMPORARY-FOLDER`. Jobs come as frames on stdin,
events go out on stdout; the end of stdin ends it. It may die at any time: whoever started it
answers for what was under way. Between two events of a job, which are a word or a frame of speech
apart, another may have its turn: interactive ones before batch ones, in order of arrival.
"""

import logging
import os
import queue
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

import mlx.core as mx

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import LfmError
from lfm_daemon.jobs import Cancelled, Jobs
from lfm_daemon.logs import places
from lfm_daemon.wire import Frame, WireError, read

__all__ = ["main"]

log = logging.getLogger("lfm_daemon.worker")


@dataclass
class Task:
    """A job on the way. Once it has `begun` a chat or speech ends between two events only, so that
    what the model remembers is what was told."""

    id: int
    batch: bool
    stepwise: bool
    events: Generator[Frame]
    begun: bool = False
    paused: bool = False
    """The client has not read what there is."""

    @property
    def interruptible(self) -> bool:
        return not (self.stepwise and self.begun)


class Inbox:
    """Messages as they come, read by a thread of its own; the wish to end a job interrupts it."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.messages: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self.unwanted: set[int] = set()
        self.current: Task | None = None
        """The job that computes at this moment."""
        signal.signal(signal.SIGINT, self._interrupted)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while frame := read(self._stream):
                if "cancel" in frame.header:
                    self.unwanted.add(frame.header["cancel"])
                self.messages.put(frame)
                if "cancel" in frame.header:
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        except WireError as error:
            log.error("%s", error)
        # Nobody is left to work for. MLX's streams belong to the main thread, and destroying them
        # from here would abort; so nothing is destroyed.
        os._exit(0)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        task = self.current
        if task and task.interruptible and task.id in self.unwanted:
            self.unwanted.discard(task.id)
            raise Cancelled


class Worker:
    """Has the jobs do their steps, and tells of each."""

    def __init__(self, jobs: Jobs, inbox: Inbox, events: BinaryIO):
        self._jobs, self._inbox, self._events = jobs, inbox, events
        self._tasks: dict[int, Task] = {}
        self._last: Task | None = None
        self._notes: list[str] = []
        logging.getLogger("lfm2audio_mlx").addHandler(Notes(self._notes))

    def run(self) -> NoReturn:
        while True:
            task = self._next()
            try:
                self._step(task)
            except Cancelled:
                self._end(task, {"event": "cancelled"})

    def _next(self) -> Task:
        """The job whose turn it is; waits for one."""
        while True:
            ready = [task for task in self._tasks.values() if not task.paused]
            try:
                self._take(self._inbox.messages.get(block=not ready))
            except queue.Empty:
                return min(ready, key=lambda task: (task.batch, task.id))

    def _take(self, message: Frame) -> None:
        match message.header:
            case {"job": kind, "id": id}:
                stepwise = kind in ("say", "chat")
                events = self._jobs.events(message)
                self._tasks[id] = Task(id, message.header["batch"], stepwise, events)
            case {"cancel": id}:
                self._inbox.unwanted.discard(id)
                if task := self._tasks.get(id):
                    with suppress(Cancelled, StopIteration):
                        task.events.throw(Cancelled)
                    self._end(task, {"event": "cancelled"})
            case {"pause": id} if task := self._tasks.get(id):
                task.paused = True
            case {"resume": id} if task := self._tasks.get(id):
                task.paused = False
            case _:
                pass  # of a job that has ended meanwhile

    def _step(self, task: Task) -> None:
        """One event of a job; the last one is `done`, `cancelled`, `error` or `fault`."""
        if task is not self._last:
            self._send(task, Frame({"event": "turn"}))
            self._last = task
        try:
            self._inbox.current = task
            event = next(task.events)
            self._inbox.current = None
        except StopIteration:
            self._end(task, {"event": "done"})
        except LfmError as error:
            self._end(task, _error(error))
        except Exception as error:  # noqa: BLE001 - one job's fault is not the next one's
            log.error("job %d: %s", task.id, places(error))
            self._end(task, {"event": "fault", "kind": type(error).__name__})
        else:
            task.begun = True
            self._send(task, event)

    def _end(self, task: Task, header: dict[str, object]) -> None:
        self._inbox.current = None
        if task is self._last:
            self._last = None
        del self._tasks[task.id]
        self._send(task, Frame({**header, "memory": mx.get_active_memory()}))

    def _send(self, task: Task, event: Frame) -> None:
        """An event, and before it what the engine had to say on the way to it."""
        notes = [Frame({"event": "note", "message": note}) for note in self._notes]
        self._notes.clear()
        for each in (*notes, event):
            frame = Frame({"id": task.id, **each.header}, each.blob)
            self._events.write(frame.encode())
        self._events.flush()


class Notes(logging.Handler):
    """What the engine has to say about the job at hand goes to the client, and nowhere else: it
    may quote what somebody said."""

    def __init__(self, notes: list[str]):
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.append(record.getMessage())


def main() -> None:
    """Load the model, tell of it, and work."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("lfm2audio_mlx").propagate = False
    sys.excepthook = lambda kind, error, trace: log.critical("%s", places(error))
    # What libraries print must not end up between the events.
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    inbox = Inbox(sys.stdin.buffer)
    # Of ours alone: MLX keeps what it compiles in the system's.
    tempfile.tempdir = sys.argv[3]
    begun = time.monotonic()
    try:
        engine = Engine.load(Path(sys.argv[1]), name=sys.argv[2])
        engine.prepare()
        ready = {
            "event": "ready",
            "sample_rate": engine.sample_rate,
            "voices": list(engine.voices),
            "device": str(mx.default_device().type).rpartition(".")[2],
            "seconds": time.monotonic() - begun,
        }
    except LfmError as error:
        events.write(Frame(_error(error)).encode())
        events.flush()
        os._exit(1)
    events.write(Frame(ready).encode())
    events.flush()
    Worker(Jobs(engine), inbox, events).run()


def _error(error: LfmError) -> dict[str, object]:
    return {"event": "error", "kind": type(error).__name__, "message": str(error)}


if __name__ == "__main__":
    main()
