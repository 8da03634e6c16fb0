"""What the daemon measures of its work, for Prometheus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lfm_daemon.values import samples_in
from lfm_daemon.wire import Frame

if TYPE_CHECKING:
    from lfm_daemon.job import Job

__all__ = ["Metrics"]

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300)
FACTORS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)


class Metrics:
    """Counted since the daemon began. Nothing in it comes from what was said."""

    def __init__(self) -> None:
        self.registry = all_ = CollectorRegistry()
        self.jobs = Counter("lfm_jobs", "Jobs that ended.", ("job", "outcome"), registry=all_)
        self.queue = Gauge("lfm_queue", "Jobs that wait or are under way.", registry=all_)
        self.first_token = Histogram(
            "lfm_first_token_seconds",
            "From a job's admission to its first words.",
            ("job",),
            buckets=SECONDS,
            registry=all_,
        )
        self.first_audio = Histogram(
            "lfm_first_audio_seconds",
            "From a job's admission to its first sound.",
            ("job",),
            buckets=SECONDS,
            registry=all_,
        )
        self.real_time = Histogram(
            "lfm_real_time_factor",
            "Time that a job took, for each second of sound it heard or made.",
            ("job",),
            buckets=FACTORS,
            registry=all_,
        )
        self.loading = Histogram(
            "lfm_load_seconds", "Time to load a model.", buckets=SECONDS, registry=all_
        )
        self.restarts = Counter("lfm_worker_restarts", "Workers that died.", registry=all_)
        self.memory = Gauge("lfm_memory_bytes", "What the worker holds.", registry=all_)
        self.active = Gauge("lfm_active_memory_bytes", "What MLX holds of it.", registry=all_)

    def saw(self, job: Job, frame: Frame) -> None:
        """An event of a job has come."""
        event, since = frame.header["event"], time.monotonic() - job.admitted
        if event in ("words", "span") and not job.spoke:
            job.spoke = True
            self.first_token.labels(job.kind).observe(since)
        elif event == "sound":
            if not job.sound_seconds:
                self.first_audio.labels(job.kind).observe(since)
            job.sound_seconds += samples_in(frame) / frame.header["sample_rate"]
        elif event == "progress":
            job.sound_seconds = frame.header["done"]
        if "memory" in frame.header:
            self.active.set(frame.header["memory"])

    def ended(self, job: Job, outcome: str) -> None:
        """A job is over: done, cancelled, failed, or lost with its worker."""
        self.jobs.labels(job.kind, outcome).inc()
        if outcome == "done" and job.sound_seconds:
            taken = time.monotonic() - job.started
            self.real_time.labels(job.kind).observe(taken / job.sound_seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' format."""
        return generate_latest(self.registry)
