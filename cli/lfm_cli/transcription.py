"""The work of `lfm transcribe`: recordings through the backend, spans to where they should go."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from lfm2audio_mlx.errors import AudioError, LfmError
from lfm2audio_mlx.results import Progress, Span, Transcript
from lfm2audio_mlx.text.cues import Layout, plain
from lfm2audio_mlx.text.subtitles import document, render
from lfm_cli.journal import Journal, identity
from lfm_cli.terminal import emit, progress_bar

if TYPE_CHECKING:
    from lfm_cli.backend import Backend
    from lfm_cli.recordings import Recording
    from lfm_cli.transcripts import Outputs

__all__ = ["Job", "finish", "show", "transcribe_all", "transcribe_one"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """How recordings are transcribed and where it goes. Without `outputs`, to stdout: as text
    that comes as it is heard, or at the end as `form`, or as JSON."""

    backend: Backend
    form: str
    layout: Layout
    outputs: Outputs | None = None
    prompt: str | None = None
    as_json: bool = False
    resume: bool = False
    several: bool = False
    """Say at each line which recording it is of."""
    texts: list[str] = field(default_factory=list[str])
    """What was heard so far, for the clipboard."""

    @property
    def live(self) -> bool:
        """Is text printed as it comes?"""
        return self.form == "txt" and self.outputs is None and not self.as_json


def transcribe_all(recordings: Iterable[Recording], job: Job) -> Iterator[LfmError]:
    """Transcribe one after the other; gives what fails, and goes on."""
    for recording in recordings:
        try:
            transcribe_one(recording, job)
        except LfmError as error:
            yield error


def transcribe_one(recording: Recording, job: Job) -> None:
    """Transcribe one recording to where the job wants it, from where an earlier run was
    interrupted.

    Raises:
        AudioError: the recording is at fault.
        RequestError: the transcript cannot be written.
    """
    if job.resume and _is_done(recording, job):
        log.info("%s: is transcribed already", recording.name)
        return
    journal = _journal(recording, job)
    try:
        with journal or nullcontext():
            if journal and journal.spans:
                left = journal.spans[-1].end
                log.info("%s: going on at %.0f s, where it was left", recording.name, left)
            finish(recording, Transcript.of(_heard(recording, job, journal)), job)
    except (KeyboardInterrupt, SystemExit):
        if journal and journal.spans:
            log.info("what is finished is kept: the same command with --resume goes on from there")
        raise
    except AudioError as error:
        if isinstance(recording.source, bytes):  # which have no name of their own
            raise AudioError(str(error).replace("audio:", f"{recording.name}:", 1)) from error
        raise


def _heard(recording: Recording, job: Job, journal: Journal | None) -> Iterator[Span | Progress]:
    """All spans, those that are known and the others as they are heard, each told of."""
    known = tuple(journal.spans) if journal else ()
    after = known[-1].end if known else 0.0
    fresh = job.backend.spans(recording.source, prompt=job.prompt, after=after)
    with progress_bar(recording.name, "seconds") as bar:
        for item in chain(known, journal.keeping(fresh) if journal else fresh):
            if isinstance(item, Progress):
                bar(item.done, item.duration)
            else:
                with bar.aside():
                    show(item, recording.name, job)
            yield item


def show(span: Span, name: str, job: Job) -> None:
    """What is to be said of a span as soon as it was heard."""
    if not span.complete:
        what = "the model repeated itself and was" if span.loop else "the text is too long and was"
        log.warning("%s: from %.0f to %.0f s %s cut off", name, span.start, span.end, what)
    if job.live and span.text:
        line = plain(span.text)
        print(f"{name}: {line}" if job.several else line, flush=True)


def finish(recording: Recording, transcript: Transcript, job: Job) -> None:
    """What is to be done once all was heard.

    Raises:
        RequestError: a file cannot be written.
    """
    about = {"file": recording.name, "model": job.backend.name}
    job.texts.append(render(transcript, "txt"))
    if not transcript.text:
        log.info("%s: nobody speaks in it", recording.name)
    if job.outputs:
        for path in job.outputs.write(recording.place, transcript, about):
            if not job.as_json:
                print(path, flush=True)
    elif not job.live and not job.as_json:
        print(render(transcript, job.form, job.layout, about=about), end="", flush=True)
    if job.as_json:
        emit(**document(transcript, about))


def _journal(recording: Recording, job: Job) -> Journal | None:
    """Where finished spans are kept: beside the files that are to be written."""
    if job.outputs is None or isinstance(recording.source, bytes):
        return None
    place = job.outputs.path(recording.place, "part")
    key = identity(recording.source, job.backend.name, job.prompt)
    return Journal(place.with_name(f".{place.name}"), key)


def _is_done(recording: Recording, job: Job) -> bool:
    """Are its transcripts there, and younger than it?"""
    if job.outputs is None or isinstance(recording.source, bytes):
        return False
    try:
        return job.outputs.exist(recording.place, recording.source.stat().st_mtime)
    except OSError:
        return False
