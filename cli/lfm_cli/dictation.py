"""`lfm transcribe --mic`: what is said now, a line for each pause."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from lfm2audio_mlx.audio.vad import SAMPLE_RATE, Speech, SpeechCutter
from lfm2audio_mlx.results import Span, Transcript
from lfm_cli.microphone import listening
from lfm_cli.recordings import Recording
from lfm_cli.signals import stopped_by_interrupt
from lfm_cli.transcription import Job, finish, show

__all__ = ["dictate"]

log = logging.getLogger(__name__)


def dictate(job: Job) -> None:
    """Listen until ctrl-C, which is the way to end it.

    Raises:
        AudioError: there is no microphone.
        RequestError: a file cannot be written.
    """
    place = Path(f"dictation-{datetime.now():%Y-%m-%d-%H%M%S}")
    recording = Recording("microphone", b"", place)
    cutter = SpeechCutter()
    spans: list[Span] = []
    heard = 0

    def hear(speech: Speech) -> None:
        span = job.backend.hear((speech.samples, SAMPLE_RATE), prompt=job.prompt)
        spans.append(replace(span, start=speech.start, end=speech.end))
        show(spans[-1], recording.name, job)

    try:
        with stopped_by_interrupt() as stop, listening(SAMPLE_RATE, stop) as blocks:
            log.info("listening; ctrl-C ends it")
            for block in blocks:
                heard += len(block)
                for speech in cutter.push(block):
                    hear(speech)
            for speech in cutter.finish():
                hear(speech)
    finally:  # whatever ended it: what was heard is not lost
        if heard:
            finish(recording, Transcript(heard / SAMPLE_RATE, tuple(spans)), job)
