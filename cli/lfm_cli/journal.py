"""What is finished of a long transcript, kept beside it so that the next run can go on from there.

A hidden file of JSON lines: the first says what is transcribed, by which model and how, each
other one is a span. It is there while the work is under way and after an interruption.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfm2audio_mlx import __version__
from lfm2audio_mlx.errors import AudioError, RequestError
from lfm2audio_mlx.results import Progress, Span
from lfm_cli.transcripts import write_text

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Journal", "identity"]


def identity(source: Path, model: str | None, prompt: str | None) -> dict[str, Any]:
    """What must be the same for finished spans to count.

    Raises:
        AudioError: the recording is not there any more.
    """
    try:
        state = source.stat()
    except OSError as error:
        raise AudioError(f"{source}: cannot be read: {error.strerror}") from error
    return {
        "journal": 1,
        "lfm": __version__,
        "size": state.st_size,
        "changed": state.st_mtime_ns,
        "model": model,
        "prompt": prompt,
    }


class Journal:
    """The finished `spans` of one recording. As a context it takes up those of an earlier run and
    writes down new ones; leaving it after an error keeps the file if there is anything in it,
    leaving it normally deletes it."""

    def __init__(self, path: Path, identity: dict[str, Any]):
        self.path, self._identity = path, identity
        self.spans: list[Span] = []

    def __enter__(self) -> Journal:
        self.spans = self.finished()
        lines = [self._identity, *map(asdict, self.spans)]
        # In one step: what an earlier run has done is never out of reach.
        write_text(self.path, "".join(map(_line, lines)))
        try:
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._fault(error) from error
        return self

    def finished(self) -> list[Span]:
        """The spans of an earlier run on the same recording with the same model; the last line
        may be half a line, which does not count."""
        try:
            head, *lines = self.path.read_text("utf-8").split("\n")[:-1]
            if json.loads(head) != self._identity:
                return []
            return [_span(json.loads(line)) for line in lines]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def add(self, span: Span) -> None:
        """Write a span down, at once.

        Raises:
            RequestError: the disk is full, or gone.
        """
        try:
            self._file.write(_line(asdict(span)))
            self._file.flush()
        except OSError as error:
            raise self._fault(error) from error
        self.spans.append(span)

    def keeping(self, heard: Iterable[Span | Progress]) -> Iterator[Span | Progress]:
        """The same, each span written down as it passes; see `add`."""
        for item in heard:
            if isinstance(item, Span):
                self.add(item)
            yield item

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # what is kept was flushed
            self._file.close()
        if error is None or not self.spans:
            self.path.unlink(missing_ok=True)

    def _fault(self, error: OSError) -> RequestError:
        return RequestError(f"{self.path}: cannot be written: {error.strerror}")


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry) + "\n"  # ASCII: no half of a character


def _span(entry: dict[str, Any]) -> Span:
    return Span(
        start=float(entry["start"]),
        end=float(entry["end"]),
        text=str(entry["text"]),
        tokens=tuple(map(int, entry["tokens"])),
        complete=bool(entry["complete"]),
        loop=bool(entry["loop"]),
    )
