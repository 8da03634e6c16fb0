"""A worker, seen from the driver: a process that answers one JSON line with another."""

import json
import os
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

__all__ = ["Failed", "Lacks", "Worker"]


class Failed(Exception):
    """A worker broke, or says that something went wrong."""


class Lacks(Exception):
    """A worker has no such figure; the message says why."""


class Worker:
    """A running worker. `stages` are those it can be asked for, `about` is what it says of itself.

    What it writes to stderr goes into the file `log`.

    Raises:
        Failed: it does not start.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environ: Mapping[str, str] | None = None,
        patience: float = 900.0,
    ) -> None:
        self.name, self.patience, self.log = name, patience, log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **(environ or {})},
            )
        self._lines: queue.Queue[str] = queue.Queue()
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()
        self.about: dict[str, Any] = self._receive("ready")
        self.stages = frozenset(self.about.get("stages", ()))

    def run(self, stage: str) -> float:
        """Milliseconds that a stage takes, once.

        Raises:
            Lacks, Failed: see there.
        """
        took = self._ask({"run": stage}, "ms")
        if not isinstance(took, int | float):
            raise Failed(f"not a number: {took!r}")
        return took

    def count(self, what: str) -> Any:
        """A figure that is no time.

        Raises:
            Lacks, Failed: see there.
        """
        return self._ask({"count": what}, "value")

    def close(self) -> None:
        """End it; it is gone when this returns."""
        self._process.kill()
        self._process.wait()
        # What it was still to be told, nobody hears.
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._reader.join()

    def _ask(self, request: dict[str, str], key: str) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed(self._last_words()) from error
        return self._receive(key)

    def _receive(self, key: str) -> Any:
        try:
            line = self._lines.get(timeout=self.patience)
        except queue.Empty:
            self.close()
            raise Failed(f"no answer within {self.patience:.0f} s") from None
        if not line:
            raise Failed(self._last_words())
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise Failed(f"not an answer: {line.strip()[:80]}")
        told = cast(dict[str, Any], answer)
        if "missing" in told:
            raise Lacks(told["missing"])
        if "error" in told:
            raise Failed(told["error"])
        if key not in told:
            raise Failed(f"an answer without '{key}': {line.strip()[:80]}")
        return told[key]

    def _read(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")

    def _last_words(self) -> str:
        lines = self.log.read_text("utf-8", errors="replace").strip().splitlines()
        self._lines.put("")  # for whoever asks again
        said = lines[-1].strip()[:160] if lines else "nothing said"
        return f"it ended: {said}"
