"""The model in memory, if one is: who may use it, which it is, and when it leaves.

Jobs are admitted here, go to the worker at once, which orders them, and come back as events. When
a worker dies, the job that was computing is lost with it, and so is speech that was half given; the
others are given to the next one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator
from typing import Any

from lfm_daemon.child import Child, Model
from lfm_daemon.faults import Fault, fault_in
from lfm_daemon.job import Job
from lfm_daemon.metrics import Metrics
from lfm_daemon.wire import Frame

__all__ = ["Resident"]

log = logging.getLogger(__name__)

QUEUE = 64
"""Jobs that may wait or be under way."""
RETRY_SECONDS = 2
HUNG_SECONDS = 10.0
"""In which a worker must heed that the job at hand is not wanted any more, or is taken for hung;
longer than any single step of MLX takes."""
LOADED_SECONDS = 10.0
"""A model that was loaded stays for that long at least: whoever asked for it is about to use it."""


class Resident:
    """At most one worker with one model; it is there when a job needs it, and a while after."""

    def __init__(self, metrics: Metrics, keep_alive: float):
        self._metrics, self._usual = metrics, keep_alive
        self._keep_alive = keep_alive
        self._waiting: list[Job] = []
        self._at_work: dict[int, Job] = {}
        self._computing: int | None = None
        """The job that has the turn."""
        self._child: Child | None = None
        self._ready: dict[str, Any] | None = None
        self._turning: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._unwanted: dict[int, asyncio.TimerHandle] = {}
        """Jobs that the worker is to end, and when it must have."""
        self._held = 0.0
        """Until then no long transcription brings another model: somebody is using this one."""
        self.closing = False

    # What is there

    @property
    def state(self) -> str:
        """absent, loading, ready or busy; closing at the end."""
        if self.closing:
            return "closing"
        if self._turning or (self._child and not self._ready):
            return "loading"
        if not self._child:
            return "absent"
        return "busy" if self._at_work else "ready"

    @property
    def model(self) -> Model | None:
        """The one in memory, or on its way there."""
        return self._child.model if self._child else None

    @property
    def queue(self) -> int:
        """Jobs that wait or are under way."""
        return len(self._waiting) + len(self._at_work)

    def status(self) -> dict[str, Any]:
        """What `lfm ps` shows of the model in memory. `until`: seconds from now, None for ever."""
        child, ready = self._child, self._ready or {}
        if not child:
            return {}
        left = max(0.0, self._idle.when() - asyncio.get_running_loop().time()) if self._idle else 0
        return {
            "name": child.model.name,
            "folder": str(child.model.folder),
            "memory": child.memory,
            "device": ready.get("device", ""),
            "until": None if math.isinf(self._keep_alive) else left or self._keep_alive,
            "pid": child.pid,
        }

    def measured(self) -> bytes:
        """The metrics, as of now."""
        self._metrics.queue.set(self.queue)
        self._metrics.memory.set(self._child.memory if self._child else 0)
        return self._metrics.text()

    # Jobs

    async def events(self, job: Job) -> AsyncGenerator[Frame]:
        """Have a job done; its events as they come. Leaving early ends the job.

        Raises:
            Fault: it is not admitted, its request is at fault, its time is over, or its worker
                died.
        """
        self._admit(job)
        outcome = "cancelled"
        try:
            while True:
                frame = await job.next()
                if job.paused and job.caught_up and self._child:
                    job.paused = False
                    self._child.send(Frame({"resume": job.id}))
                self._metrics.saw(job, frame)
                event = frame.header["event"]
                if event == "done":
                    outcome = "done"
                    return
                yield frame
                if event == "cancelled":
                    return
        except Fault as fault:
            outcome = fault.code
            raise
        finally:
            self._dismiss(job, outcome)

    async def load(self, job: Job) -> dict[str, Any]:
        """Have a job's model in memory; what it says of itself (`sample_rate`, `voices`, ...).

        Raises:
            Fault: see `events`.
        """
        ready, *_ = [frame async for frame in self.events(job)]
        return ready.header

    def cancel(self, id: int) -> bool:
        """End a job; its last events still come. False, if there is none of that number."""
        if job := self._at_work.get(id):
            self._tell_to_end(id)
        for waiting in [job for job in self._waiting if job.id == id]:
            self._waiting.remove(waiting)
            waiting.tell(Frame({"event": "cancelled"}))
            job = waiting
        return job is not None

    async def unload(self) -> None:
        """The model leaves as soon as nobody uses it, and its memory is the system's again."""
        self._keep_alive = 0.0
        self._advance()
        while self._turning:
            await asyncio.wait([self._turning])

    async def close(self, patience: float) -> None:
        """Take no more jobs, let those that are there end, for so many seconds, and unload."""
        self.closing = True
        end = time.monotonic() + patience
        while self.queue and time.monotonic() < end:
            await asyncio.sleep(0.02)
        for job in (*self._waiting, *self._at_work.values()):
            job.tell(Fault(503, "closing", "the daemon ends"))
        self._waiting.clear()
        while self._turning:
            await asyncio.wait([self._turning])
        await self._leave()

    def _admit(self, job: Job) -> None:
        if self.closing:
            raise Fault(503, "closing", "the daemon ends; it takes no more requests")
        if self.queue >= QUEUE:
            raise Fault(
                503,
                "queue_full",
                f"{QUEUE} requests wait or are under way; try again later",
                retry_after=RETRY_SECONDS,
            )
        self._keep_alive = self._usual if job.keep_alive is None else job.keep_alive
        if job.kind == "load" and job.keep_alive is None:
            self._keep_alive = max(LOADED_SECONDS, self._keep_alive)
        self._waiting.append(job)
        self._advance()

    def _dismiss(self, job: Job, outcome: str) -> None:
        """It is over for its client; the worker may have to be told."""
        if job in self._waiting:
            self._waiting.remove(job)
        if self._at_work.pop(job.id, None):
            self._tell_to_end(job.id)
        if not job.batch:
            self._held = time.monotonic() + LOADED_SECONDS
        seconds = time.monotonic() - job.admitted
        log.info("job %d %s: %s after %.2f s", job.id, job.kind, outcome, seconds)
        if job.kind != "load":
            self._metrics.ended(job, outcome)
        self._advance()

    # The worker

    def _advance(self) -> None:
        """Do what can be done now: hand over jobs, change the model, or begin to be idle."""
        self._stay()
        while self._waiting and not self._turning and (self._ready or not self._child):
            job = min(self._waiting, key=lambda job: (job.batch, job.id))
            if self._child and self._child.model == job.model:
                self._waiting.remove(job)
                self._hand_over(job)
            elif self._at_work and not self._suspended(for_=job):
                return  # another model's; this one's turn comes
            elif self._child and job.batch and (left := self._held - time.monotonic()) > 0:
                self._idle = asyncio.get_running_loop().call_later(left, self._advance)
                return
            else:
                self._turning = asyncio.create_task(self._turn_to(job.model))
        if self._ready and not self.queue and not self._turning:
            self._rest()

    def _suspended(self, for_: Job) -> bool:
        """Make way for another model, if all that is under way are long transcriptions: these go on
        afterwards from where they were."""
        at_work = list(self._at_work.values())
        if for_.batch or not all(job.batch and job.kind == "spans" for job in at_work):
            return False
        for job in at_work:
            job.paused = False
        self._at_work.clear()
        self._waiting.extend(at_work)
        return True

    def _hand_over(self, job: Job) -> None:
        assert self._child and self._ready
        if not job.batch:
            self._held = time.monotonic() + LOADED_SECONDS
        if job.kind == "load":
            job.tell(Frame(self._ready))
            job.tell(Frame({"event": "done"}))
            return
        try:
            self._child.send(job.request())
            self._at_work[job.id] = job
        except ValueError as error:  # a number that JSON has not, or megabytes of text
            job.tell(Fault(400, "invalid_request", str(error), "RequestError"))

    async def _turn_to(self, model: Model | None) -> None:
        """End the worker that there is, and start one with this model."""
        try:
            await self._leave()
            if model:
                log.info("loading %s", model.name)
                self._child = await Child.start(model)
                self._listening = asyncio.create_task(self._listen(self._child))
        except OSError as error:
            self._refuse(model, Fault(503, "worker_failed", f"no worker can be started: {error}"))
        finally:
            self._turning = None
            self._advance()

    async def _leave(self) -> None:
        child, self._child, self._ready = self._child, None, None
        self._forget_unwanted()
        if child:
            log.info("unloading %s", child.model.name)
            await child.end()
        if self._listening:  # also to one that ends by itself, having refused its model
            await self._listening

    def _tell_to_end(self, id: int) -> None:
        """The worker is to end a job, and soon."""
        if self._child and id not in self._unwanted:
            self._child.send(Frame({"cancel": id}))
            self._watch(self._child, id)

    def _watch(self, child: Child, id: int) -> None:
        timer = asyncio.get_running_loop().call_later(HUNG_SECONDS, self._check, child, id)
        self._unwanted[id] = timer

    def _check(self, child: Child, id: int) -> None:
        """A job that should have ended has not: because it hangs, or another has the turn."""
        if self._computing in (id, None):
            child.kill()
        else:
            self._watch(child, id)

    def _forget_unwanted(self) -> None:
        for timer in self._unwanted.values():
            timer.cancel()
        self._unwanted.clear()

    def _stay(self) -> None:
        if self._idle:
            self._idle.cancel()
            self._idle = None

    def _rest(self) -> None:
        """Nobody uses the model; it stays for a while."""
        if self._keep_alive <= 0:
            self._turning = asyncio.create_task(self._turn_to(None))
        elif not math.isinf(self._keep_alive):
            self._idle = asyncio.get_running_loop().call_later(self._keep_alive, self._expire)

    def _expire(self) -> None:
        self._keep_alive = 0.0
        self._advance()

    async def _listen(self, child: Child) -> None:
        """Give each job its events, as long as the worker lives."""
        async for frame in child.events():
            if "id" in frame.header:
                self._deliver(child, frame)
            elif frame.header["event"] == "ready":
                self._ready = frame.header
                self._metrics.loading.observe(frame.header["seconds"])
                self._advance()
            else:
                self._refuse(child.model, fault_in(frame))
                self._child = None  # which ends by itself
                await child.end()
                self._advance()
        if child is self._child:  # nobody has ended it
            await child.end()
            self._lost(child)

    def _deliver(self, child: Child, frame: Frame) -> None:
        job, event = self._at_work.get(frame.header["id"]), frame.header["event"]
        if event == "turn":
            self._computing = frame.header["id"]
        if event in ("done", "cancelled", "error", "fault"):
            if self._computing == frame.header["id"]:
                self._computing = None
            self._at_work.pop(frame.header["id"], None)
            if timer := self._unwanted.pop(frame.header["id"], None):
                timer.cancel()
        if not job:
            return
        if event == "turn":
            job.started = job.started or time.monotonic()
            return
        job.begun = True
        if event == "span":
            job.options["after"] = frame.header["end"]
        if event == "progress":
            if frame.header["done"] < job.heard:
                return  # a new worker goes through what the last one has heard
            job.heard = frame.header["done"]
        job.tell(fault_in(frame) if event in ("error", "fault") else frame)
        if job.ahead and not job.paused:
            job.paused = True
            child.send(Frame({"pause": job.id}))

    def _lost(self, child: Child) -> None:
        """A worker has died. What was computing is lost with it, and what cannot be begun again."""
        log.error("worker %d %s", child.pid, child.fate)
        died = Fault(
            503,
            "worker_died",
            f"the process that computes died ({child.fate}); the next request gets a new one",
            retry_after=1,
        )
        at_work, computing = list(self._at_work.values()), self._computing
        loading = self._ready is None
        self._at_work.clear()
        self._forget_unwanted()
        self._child = self._ready = self._computing = None
        self._metrics.restarts.inc()
        for job in at_work:
            if job.id == computing or (job.begun and job.kind != "spans"):
                job.tell(died)
            else:
                job.paused = False
                self._waiting.append(job)
        if loading:
            self._refuse(child.model, died)
        self._advance()

    def _refuse(self, model: Model | None, fault: Fault) -> None:
        """What waits for a model waits in vain."""
        for job in [job for job in self._waiting if job.model == model]:
            self._waiting.remove(job)
            job.tell(fault)
