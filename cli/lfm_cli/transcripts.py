"""Where transcripts go: onto stdout, or into files, one for each format."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.text.subtitles import FORMATS, render

if TYPE_CHECKING:
    from lfm2audio_mlx.results import Transcript
    from lfm2audio_mlx.text.cues import Layout

__all__ = ["ALL", "Outputs", "write_text"]

ALL = "all"


@dataclass(frozen=True)
class Outputs:
    """Files of transcripts: in `folder`, in one format or `ALL`."""

    folder: Path
    form: str
    layout: Layout

    @property
    def forms(self) -> tuple[str, ...]:
        return FORMATS if self.form == ALL else (self.form,)

    def check(self, places: Iterable[Path]) -> None:
        """Refuse what would go wrong at the end, before any work.

        Raises:
            RequestError: the folder cannot be written, or two recordings would go into one file.
        """
        for place in (self.folder, *self.folder.absolute().parents):
            if place.exists():
                if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
                    raise RequestError(f"{place}: is no folder that can be written")
                break
        seen: set[str] = set()
        for place in places:
            if str(place).casefold() in seen:
                raise RequestError(
                    f"two recordings are called '{place}' and would go into one file: transcribe "
                    "them one by one, or into folders of their own (--output-dir)"
                )
            seen.add(str(place).casefold())

    def exist(self, place: Path, since: float = 0.0) -> bool:
        """Is everything there already, no older than `since` (a time of modification)?"""
        paths = [self.path(place, form) for form in self.forms]
        return all(path.exists() and path.stat().st_mtime >= since for path in paths)

    def path(self, place: Path, form: str) -> Path:
        return self.folder / place.with_name(f"{place.name}.{form}")

    def write(self, place: Path, transcript: Transcript, about: dict[str, Any]) -> list[Path]:
        """Write one transcript; the files appear when they are whole.

        Raises:
            RequestError: a file cannot be written.
        """
        paths: list[Path] = []
        for form in self.forms:
            paths.append(self.path(place, form))
            write_text(paths[-1], render(transcript, form, self.layout, about=about))
        return paths


def write_text(path: Path, text: str) -> None:
    """Write a file that appears when it is whole, and its folders.

    Raises:
        RequestError: it cannot be written.
    """
    unfinished = path.with_name(f".lfm-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise RequestError(f"{path}: cannot be written: {error.strerror}") from error
