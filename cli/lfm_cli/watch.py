"""`lfm transcribe --watch`: a folder whose recordings are transcribed as they come in."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from lfm_cli.recordings import Recording, gather, sounds_in
from lfm_cli.transcription import Job, transcribe_all

__all__ = ["watch_folder"]

log = logging.getLogger(__name__)

SECONDS = 1.0
"""Between two looks; a file that did not change from one to the next is whole."""


def watch_folder(folder: Path, recursive: bool, job: Job) -> None:
    """Transcribe what has no transcript yet and what comes, until ctrl-C. A recording that fails
    is named at once, and tried again only when it changes.

    Raises:
        AudioError: the folder cannot be read.
    """
    assert job.outputs is not None
    log.info("watching %s; ctrl-C ends it", folder)
    seen: dict[Path, tuple[int, int]] = {}
    done: dict[Path, tuple[int, int]] = {}
    owners: dict[str, Path] = {}
    while True:
        for path in sounds_in(folder, recursive):
            try:
                state = path.stat()
            except OSError:
                continue  # gone again
            now = state.st_size, state.st_mtime_ns
            stable, seen[path] = seen.get(path) == now, now
            place = path.relative_to(folder).with_suffix("")
            if not stable or done.get(path) == now:
                continue
            done[path] = now
            owner = owners.setdefault(str(place).casefold(), path)
            if owner != path:
                log.error("%s: its transcript would replace that of %s; rename it", path, owner)
            elif not job.outputs.exist(place):
                _transcribe(Recording(str(path), path, place), job)
        time.sleep(SECONDS)


def _transcribe(recording: Recording, job: Job) -> None:
    _, failed = gather([recording.name], recursive=False)
    for error in failed or transcribe_all([recording], job):
        log.error("%s", error)
    job.texts.clear()
