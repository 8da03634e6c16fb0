"""A transcript as a file: plain text, subtitles (SubRip, WebVTT), a table or JSON."""

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import SCHEMA, Transcript
from lfm2audio_mlx.text.cues import BROADCAST, Layout, cues, milliseconds, plain

__all__ = ["FORMATS", "document", "render"]

FORMATS = ("txt", "srt", "vtt", "tsv", "json")

# SubRip has no escapes, and players take these for a time line (all dashes: of "--->" a shorter
# arrow would be left), for HTML's tags and for `{\an8}`, and hide words between them.
SUBRIP_ARROW = re.compile("--+>")
SUBRIP_MARKUP = str.maketrans({"<": "‹", "{": "(", "}": ")"})  # noqa: RUF001
# What JSON may hold as it is, and a terminal, a file or a reader of lines may not.
UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def render(
    transcript: Transcript,
    form: str,
    layout: Layout = BROADCAST,
    *,
    about: Mapping[str, object] | None = None,
) -> str:
    """The transcript in one of `FORMATS`, with "\\n" line ends and one at the end of all.

    `layout` is for srt and vtt; `about`, for json, is what else to say, such as the file.

    Raises:
        RequestError: there is no such format.
        ValueError: `about` has a number that JSON has not (NaN, infinity).
    """
    if form == "txt":
        return _txt(transcript)
    if form == "srt":
        return _srt(transcript, layout)
    if form == "vtt":
        return _vtt(transcript, layout)
    if form == "tsv":
        return _tsv(transcript)
    if form == "json":
        return _json(transcript, about)
    raise RequestError(f"there is no format '{form}', only {', '.join(FORMATS)}")


def document(transcript: Transcript, about: Mapping[str, object] | None = None) -> dict[str, Any]:
    """What json says of a transcript, as plain values; times in seconds, to the millisecond.

    `about` comes after the kind, and cannot replace what the transcript itself says.
    """
    head = {"schema": SCHEMA, "kind": "transcript"}
    rest = {key: value for key, value in (about or {}).items() if key not in head}
    return {
        **head,
        **rest,
        "duration": _seconds(transcript.duration),
        "text": transcript.text,
        "complete": transcript.complete,
        "segments": [
            {
                "id": number,
                "start": _seconds(span.start),
                "end": _seconds(span.end),
                "text": span.text,
                "complete": span.complete,
                "loop": span.loop,
            }
            for number, span in enumerate(transcript.spans)
        ],
    }


def _txt(transcript: Transcript) -> str:
    """A line a span, none for silence."""
    lines = (plain(span.text) for span in transcript.spans)
    return "".join(f"{line}\n" for line in lines if line)


def _srt(transcript: Transcript, layout: Layout) -> str:
    """SubRip, as most players read it; what would be a time line or a tag is written otherwise."""
    blocks: list[str] = []
    for number, cue in enumerate(cues(transcript.spans, layout), 1):
        text = SUBRIP_ARROW.sub("->", "\n".join(cue.lines)).translate(SUBRIP_MARKUP)
        blocks.append(f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{text}\n")
    return "\n".join(blocks)


def _vtt(transcript: Transcript, layout: Layout) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/), cues without names or settings."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript.spans, layout):
        text = html.escape("\n".join(cue.lines), quote=False)
        blocks.append(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def _tsv(transcript: Transcript) -> str:
    """The table that whisper writes: milliseconds, a row a span, silent ones too."""
    rows = ["start\tend\ttext\n"]
    for span in transcript.spans:
        start, end = milliseconds(span.start), milliseconds(span.end)
        rows.append(f"{start}\t{end}\t{plain(span.text)}\n")
    return "".join(rows)


def _json(transcript: Transcript, about: Mapping[str, object] | None) -> str:
    text = json.dumps(document(transcript, about), indent=2, ensure_ascii=False, allow_nan=False)
    return UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _clock(seconds: float, point: str) -> str:
    """HH:MM:SS and milliseconds; from 100 hours on HHH."""
    rest, thousandths = divmod(milliseconds(seconds), 1000)
    minutes, whole = divmod(rest, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{whole:02}{point}{thousandths:03}"


def _seconds(time: float) -> float:
    return milliseconds(time) / 1000
