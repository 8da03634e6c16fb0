"""`lfm transcribe`: recordings in, text or subtitles out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lfm2audio_mlx.errors import LfmError, RequestError
from lfm_cli.backend import open_backend
from lfm_cli.model import ModelOption
from lfm_cli.options import DaemonOption, one_of
from lfm_cli.terminal import JsonOption

if TYPE_CHECKING:
    from lfm_cli.recordings import Recording
    from lfm_cli.transcription import Job

__all__ = ["transcribe"]

log = logging.getLogger(__name__)

FORMATS = ("txt", "srt", "vtt", "tsv", "json", "all")


def transcribe(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            show_default=False,
            help="Sound files (wav, flac, mp3, m4a, ...), folders, or - for stdin.",
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--output-format",
            "-f",
            metavar="|".join(FORMATS),
            callback=one_of(FORMATS),
            help="txt unless told otherwise; all writes one file of each.",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir", "-o", metavar="DIR", help="Write files there instead of to stdout."
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Take the sound files in folders.")
    ] = False,
    mic: Annotated[
        bool, typer.Option("--mic", help="Listen to the microphone until ctrl-C.")
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option(
            "--watch",
            metavar="DIR",
            help="Transcribe what is in this folder and what comes into it, until ctrl-C.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Pass over recordings whose files are there already.")
    ] = False,
    max_line_width: Annotated[
        int,
        typer.Option(
            "--max-line-width", min=8, max=1000, help="Characters in a line of subtitles."
        ),
    ] = 42,
    max_line_count: Annotated[
        int, typer.Option("--max-line-count", min=1, max=10, help="Lines in a subtitle.")
    ] = 2,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="A system prompt in place of the model's own."),
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Put the text on the clipboard too.")
    ] = False,
    as_json: JsonOption = False,
    model: ModelOption = None,
    daemon: DaemonOption = True,
) -> None:
    """Write down what recordings of any length say.

    Text goes to stdout as it is heard, a line for each span between pauses; subtitles and tables
    too, or into files with -o DIR. Where nobody speaks there is no text.

    Example: lfm transcribe talk.mp3 -f srt -o subtitles
    """
    from lfm2audio_mlx.text.cues import Layout
    from lfm_cli.clipboard import check_clipboard, copy_text
    from lfm_cli.recordings import gather
    from lfm_cli.transcription import Job
    from lfm_cli.transcripts import Outputs

    if sum([bool(files), mic, watch is not None]) != 1:
        raise typer.BadParameter("give files, or --mic, or --watch DIR: one of the three")
    form = output_format or "txt"
    if watch or form == "all":
        output_dir = output_dir or watch or Path()
    if watch and copy:
        raise typer.BadParameter("--watch goes on for ever: there is nothing to --copy at its end")
    if mic and (resume or recursive):
        raise typer.BadParameter("--mic has nothing to resume and no folders")
    if resume and output_dir is None:
        raise typer.BadParameter("--resume goes on writing files: it needs --output-dir")
    if watch and not watch.is_dir():
        raise RequestError(f"{watch}: is not a folder to watch")
    layout = Layout(max_line_width, max_line_count)
    outputs = Outputs(output_dir, form, layout) if output_dir else None
    recordings, failed = gather(files or [], recursive)
    if outputs:
        outputs.check(recording.place for recording in recordings)
    elif len(recordings) > 1 and form not in ("txt", "json"):
        raise typer.BadParameter(f"{form} of several recordings needs --output-dir")
    if copy:
        check_clipboard()
    try:
        if recordings or mic or watch:
            several = len(recordings) + len(failed) > 1
            backend = open_backend(model, daemon)
            job = Job(backend, form, layout, outputs, prompt, as_json, resume, several)
            _work(job, recordings, failed, mic, watch, recursive)
            if copy:
                copy_text("".join(job.texts))
    finally:
        for error in failed:
            log.error("%s", error)
    if failed:
        raise typer.Exit(1)


def _work(
    job: Job,
    recordings: list[Recording],
    failed: list[LfmError],
    mic: bool,
    watch: Path | None,
    recursive: bool,
) -> None:
    """What was asked for: the microphone, a folder, or recordings; what fails is noted."""
    from lfm_cli.transcription import transcribe_all

    if mic:
        from lfm_cli.dictation import dictate

        dictate(job)
    elif watch:
        from lfm_cli.watch import watch_folder

        watch_folder(watch, recursive, job)
    else:
        failed.extend(transcribe_all(recordings, job))  # one by one, for ctrl-C may come
