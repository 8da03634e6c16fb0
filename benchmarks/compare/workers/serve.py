"""The measured side of `make compare`: a worker answers one JSON line with another.

    {"run": "encode 4 s"}   -> {"ms": 12.3}
    {"count": "launches"}   -> {"value": {"depth frame": 824}}
    what it does not have   -> {"missing": "why"}
    what fails              -> {"error": "what"}

The first line comes unasked: {"ready": {...}}, what is measured and how. This file needs nothing
but Python, for it runs in every peer's own environment.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["Missing", "Peer", "Place", "Run", "serve", "timed"]

Run = Callable[[], float]
"""Does a stage's work and gives milliseconds."""
SLOW = 5000.0
"""Milliseconds after which a first run counts: what it warmed up is no longer seen in it."""
UNIT = 1 if sys.platform == "darwin" else 1024
"""`ru_maxrss` counts bytes on a Mac, kilobytes on Linux."""


class Missing(Exception):
    """A worker has no such figure; the message says why."""


@dataclass(frozen=True)
class Place:
    """What a worker is told on its command line.

    `original` and `converted` are folders of the same weights, `cache` one that the worker may
    fill, `material` the one that `material.py` filled. `mode` is "timed", "counted" (graphs in
    bfloat16, nothing timed).
    """

    original: Path
    converted: Path
    cache: Path
    material: Path
    mode: str

    @classmethod
    def told(cls) -> Place:
        original, converted, cache, material, mode = sys.argv[1:6]
        return cls(Path(original), Path(converted), Path(cache), Path(material), mode)

    @property
    def heard(self) -> Path:
        """What is heard and read, for `numpy.load`."""
        return self.material / "heard.npz"

    @property
    def codec(self) -> Path:
        """Mimi's weights, under their published names."""
        return self.material / "codec.safetensors"


class Peer(ABC):
    """One engine under measurement."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Versions, threads, device and number format."""

    @abstractmethod
    def load(self) -> None:
        """Load the model; the one before is dropped first."""

    def actions(self) -> dict[str, Callable[[], Run]]:
        """What gets each stage ready."""
        return {}

    def figures(self) -> dict[str, Callable[[], Any]]:
        """What counts each figure that is no time."""
        return {}

    def prepare(self, stage: str) -> Run:
        """Get a stage ready to be run again and again.

        Raises:
            Missing: there is no such stage.
        """
        return _found(self.actions(), stage)()

    @abstractmethod
    def drop(self) -> None:
        """Let go of the model: two may be more than there is memory for."""

    def count(self, what: str) -> Any:
        """A figure that is no time: "launches", "bytes" or "syncs".

        Raises:
            Missing: there is no such figure.
        """
        return _found(self.figures(), what)()


class Whole(Peer):
    """A peer that does all of speech: a method for each stage."""

    STAGES: ClassVar = {
        "log-mel of 4 s": "_mel",
        "encode 4 s": "_encode",
        "prefill 75 positions": "_prefill",
        "text token": "_text",
        "backbone step": "_backbone",
        "depth frame": "_depth",
        "codec frame": "_codec",
        # It prepares nothing, so this is its "first audio" as well.
        "first audio, nothing prepared": "_first_audio",
    }

    def actions(self) -> dict[str, Callable[[], Run]]:
        return {stage: getattr(self, name) for stage, name in self.STAGES.items()}


def _found(known: dict[str, Callable[[], Any]], wanted: str) -> Callable[[], Any]:
    if wanted not in known:
        raise Missing(f"it has no '{wanted}'")
    return known[wanted]


def timed(action: Callable[[], Any], times: int = 1) -> Run:
    """An action as a run: how long it takes, on average over so many `times`."""

    def run() -> float:
        start = time.perf_counter()
        for _ in range(times):
            action()
        return 1000 * (time.perf_counter() - start) / times

    return run


def serve(peer: Peer) -> None:
    """Answer until the other side closes."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    session = _Session(peer)
    say({"ready": peer.about()})
    for line in sys.stdin:
        try:
            say(session.answer(json.loads(line)))
        except Missing as error:
            say({"missing": str(error)})
        except Exception as error:  # noqa: BLE001 (whatever it is, the comparison goes on)
            traceback.print_exc()
            reason = next(iter(str(error).splitlines()), "")
            say({"error": f"{type(error).__name__}: {reason}"[:200]})


class _Session:
    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.loaded = False
        self.ready: dict[str, Run] = {}

    def answer(self, request: dict[str, str]) -> dict[str, Any]:
        if request.get("run") == "load":
            return {"ms": self._load()}
        if request.get("count") == "memory":
            return {"value": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT}
        if not self.loaded:
            self._load()
        if "count" in request:
            return {"value": self.peer.count(request["count"])}
        return {"ms": self._run(request["run"])}

    def _load(self) -> float:
        self.ready.clear()
        self.peer.drop()
        gc.collect()
        took = timed(self.peer.load)()
        self.loaded = True
        return took

    def _run(self, stage: str) -> float:
        if stage not in self.ready:
            run = self.peer.prepare(stage)
            first = run()
            self.ready[stage] = run
            if first > SLOW:
                return first
        return self.ready[stage]()
