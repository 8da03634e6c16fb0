"""Where Quick Actions and Shortcuts are put, what stands there, and how they are taken away.

A Quick Action is a folder in `~/Library/Services`. A Shortcut lives in the app Shortcuts, which
alone adds and deletes them: it is handed a signed file, and asks the user.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.home import data_folder
from lfm_cli import quick_actions, shortcut_files
from lfm_cli.program import stable_program
from lfm_cli.shortcut_catalogue import (
    QUICK_ACTIONS,
    SHORTCUTS,
    Installation,
    QuickAction,
    Shortcut,
)

__all__ = [
    "Entry",
    "delete_signed",
    "entries",
    "find_installation",
    "hand_over",
    "imported",
    "put",
    "refresh_services",
    "remove",
    "services_folder",
    "write_unsigned",
]

SERVICES = Path("/System/Library/CoreServices/pbs")
"""What keeps the Services menu; it looks for new entries now and then, and when it is told to."""


NOWHERE = Installation("lfm")
"""Stands in where no `lfm` is found; nothing is installed for it."""


@dataclass(frozen=True)
class Entry:
    """A Quick Action or a Shortcut (`form`) at its place. What `state` may be of the one,
    `quick_actions.state` says; the other is absent, installed (there is one of its name), opened
    (for the user to add it) or unknown. After their work they may be removed, or written."""

    name: str
    form: str
    title: str
    state: str
    file: str


def find_installation() -> Installation:
    """By what path services find `lfm`, and where its things are.

    Raises:
        RequestError: `lfm` has no place of its own, and runs as a module.
    """
    program, *more = stable_program()
    if more:
        raise RequestError("lfm is not on the PATH, and services need to know where it is")
    home = str(data_folder()) if os.environ.get("LFM_HOME") else None
    return Installation(program, home)


def entries(names: Iterable[str]) -> list[Entry]:
    """What there is of these names, as it stands."""
    wanted, there = set(names), imported()
    try:
        installation = find_installation()
    except RequestError:
        installation = NOWHERE
    quick = [_standing(action, services_folder(), installation) for action in QUICK_ACTIONS]
    shortcuts = [_known(shortcut, there) for shortcut in SHORTCUTS]
    return [entry for entry in (*quick, *shortcuts) if entry.name in wanted]


@contextmanager
def _telling(place: Path, deed: str) -> Generator[None]:
    """What the system refuses becomes an error that names the place."""
    try:
        yield
    except OSError as error:
        raise RequestError(f"{place}: cannot be {deed}: {error.strerror}") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise RequestError(f"{folder}: is a file where a folder has to be; move it away") from None


# Quick Actions


def services_folder() -> Path:
    """Where macOS looks for a user's Quick Actions."""
    return Path.home() / "Library" / "Services"


def put(
    action: QuickAction, installation: Installation, folder: Path, force: bool, done: str
) -> Entry:
    """Write a Quick Action where it is not, or not as it should be; `done` is its state then.

    Raises:
        RequestError: what stands there is not ours alone, or it cannot be written.
    """
    entry = _standing(action, folder, installation)
    _spare(entry, force)
    place = Path(entry.file)
    if entry.state != "installed":
        with _telling(place, "written"):
            _make_folder(place.parent)
            _replace(place, quick_actions.contents(action, installation))
    return _quick(action, done, place)


def remove(action: QuickAction, force: bool) -> Entry:
    """Delete a Quick Action, if there is one.

    Raises:
        RequestError: it is not ours, or somebody changed it, or it cannot be deleted.
    """
    entry = _standing(action, services_folder(), NOWHERE)
    if entry.state == "absent":
        return entry
    if entry.state == "foreign":
        raise RequestError(f"{entry.file}: was not written by lfm, and is left alone")
    _spare(entry, force)
    with _telling(Path(entry.file), "deleted"):
        _replace(Path(entry.file), {})
    return _quick(action, "removed", Path(entry.file))


def refresh_services() -> None:
    """Have the Services menu look again; where that fails it does so by itself, later."""
    if SERVICES.exists():
        for order in ("-flush", "-update"):
            subprocess.run([SERVICES, order], capture_output=True)


def _quick(action: QuickAction, state: str, place: Path) -> Entry:
    return Entry(action.name, "quick action", action.title, state, str(place))


def _standing(action: QuickAction, folder: Path, installation: Installation) -> Entry:
    place = folder / quick_actions.folder_name(action)
    wanted = quick_actions.contents(action, installation)
    with _telling(place, "read"):
        return _quick(action, quick_actions.state(place, action, wanted), place)


def _spare(entry: Entry, force: bool) -> None:
    """Refuse to touch what somebody else made or changed."""
    if entry.state == "foreign" and not force:
        raise RequestError(f"{entry.file}: is there already, and not lfm's; --force replaces it")
    if entry.state == "changed" and not force:
        raise RequestError(f"{entry.file}: was changed since lfm wrote it; --force loses that")


def _replace(place: Path, contents: dict[str, bytes]) -> None:
    """A folder with these files in place of what is there, or nothing; at no time half of it."""
    with tempfile.TemporaryDirectory(prefix=".lfm-", dir=place.parent) as work:
        new, old = Path(work) / "new", Path(work) / "old"
        for name, data in contents.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(data)
        if place.exists() or place.is_symlink():
            place.rename(old)  # goes with the folder; of a link, only the link
        if contents:
            new.rename(place)


# Shortcuts


def imported() -> set[str] | None:
    """The names of all shortcuts that the user has; None if that cannot be known."""
    if platform.system() != "Darwin":
        return None
    try:
        result = subprocess.run(
            ["shortcuts", "list"], capture_output=True, text=True, errors="replace"
        )
    except OSError:
        return None
    return set(result.stdout.splitlines()) if result.returncode == 0 else None


def hand_over(
    shortcut: Shortcut, installation: Installation, there: set[str] | None, force: bool
) -> Entry:
    """Sign a shortcut and open it, unless there is one of its name; then the user is asked whether
    to add it. The file stays, for the app reads it after that.

    Raises:
        RequestError: macOS does not sign or open it, or it cannot be written.
    """
    entry = _known(shortcut, there)
    if entry.state == "installed" and not force:
        return entry
    _sign(shortcut_files.content(shortcut, installation), _signed(shortcut))
    _run("open", entry.file, what=entry.file, mend="open it yourself")
    return _made(shortcut, "opened", _signed(shortcut))


def write_unsigned(
    shortcut: Shortcut, installation: Installation, folder: Path, force: bool
) -> Entry:
    """Write the file of a shortcut to look at; the app does not take it as it is.

    Raises:
        RequestError: another one is there, or it cannot be written.
    """
    place = folder / shortcut_files.file_name(shortcut)
    data = shortcut_files.content(shortcut, installation)
    with _telling(place, "written"):
        if not force and place.exists() and place.read_bytes() != data:
            raise RequestError(f"{place}: is there already; --force replaces it")
        _make_folder(folder)
        with tempfile.TemporaryDirectory(prefix=".lfm-", dir=folder) as work:
            (Path(work) / place.name).write_bytes(data)
            (Path(work) / place.name).replace(place)
    return _made(shortcut, "written", place)


def delete_signed(shortcut: Shortcut, there: set[str] | None) -> Entry:
    """Delete our file of a shortcut. The shortcut itself is the user's to delete.

    Raises:
        RequestError: it cannot be deleted.
    """
    place = _signed(shortcut)
    with _telling(place, "deleted"):
        place.unlink(missing_ok=True)
    return _known(shortcut, there)


def _signed(shortcut: Shortcut) -> Path:
    return data_folder() / "shortcuts" / shortcut_files.file_name(shortcut)


def _known(shortcut: Shortcut, there: set[str] | None) -> Entry:
    if there is None:
        return _made(shortcut, "unknown", _signed(shortcut))
    state = "installed" if shortcut.title in there else "absent"
    return _made(shortcut, state, _signed(shortcut))


def _made(shortcut: Shortcut, state: str, place: Path) -> Entry:
    return Entry(shortcut.name, "shortcut", shortcut.title, state, str(place))


def _sign(unsigned: bytes, place: Path) -> None:
    mend = "signing needs iCloud and the network; docs/shortcuts.md shows the steps to build it"
    with _telling(place, "written"), tempfile.TemporaryDirectory() as work:
        _make_folder(place.parent)
        place.unlink(missing_ok=True)
        source = Path(work) / place.name
        source.write_bytes(unsigned)
        order = ("sign", "--mode", "anyone", "--input", str(source), "--output", str(place))
        _run("shortcuts", *order, what=place.name, mend=mend)
    if not place.exists():  # it has been seen to fail and say nothing
        raise RequestError(f"{place.name}: was not signed; {mend}")


def _run(program: str, *arguments: str, what: str, mend: str) -> None:
    """Have a program of macOS do it.

    Raises:
        RequestError: it is not there, or fails.
    """
    try:
        result = subprocess.run(
            [program, *arguments], capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise RequestError(f"{what}: {program} cannot be run: {error.strerror}") from error
    if result.returncode:
        told = " ".join(result.stderr.split()) or f"it ended with {result.returncode}"
        raise RequestError(f"{what}: `{program}` failed: {told}; {mend}")
