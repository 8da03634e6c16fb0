"""`lfm shortcuts`: LFM in the Services menu, in Shortcuts, and so behind Siri."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lfm2audio_mlx.errors import LfmError, RequestError
from lfm_cli import shortcut_places as places
from lfm_cli.shortcut_catalogue import NAMES, QUICK_ACTIONS, SHORTCUTS, QuickAction, Shortcut
from lfm_cli.shortcut_places import Entry
from lfm_cli.terminal import JsonOption, columns, emit

__all__ = ["install", "list_shortcuts", "look", "shortcuts", "uninstall"]

log = logging.getLogger(__name__)

shortcuts = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _check_names(names: list[str] | None) -> list[str] | None:
    for name in names or []:
        if name not in NAMES:
            raise typer.BadParameter(f"'{name}' is none of {', '.join(NAMES)}")
    return names


NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME...",
        show_default=False,
        callback=_check_names,
        help=f"{', '.join(NAMES)}; all of them, if none is named.",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also where somebody else wrote or changed what is there.")
]


@shortcuts.callback(invoke_without_command=True)
def look(context: typer.Context, as_json: JsonOption = False) -> None:
    """Put LFM into the Services menu and into Shortcuts, or take it out.

    Example: lfm shortcuts
    """
    if context.invoked_subcommand is None:
        list_shortcuts(as_json)


@shortcuts.command("list")
def list_shortcuts(as_json: JsonOption = False) -> None:
    """List what there is, and what of it is installed.

    Example: lfm shortcuts list
    """
    entries = places.entries(NAMES)
    if as_json:
        _tell(entries)
        return
    rows = [("NAME", "TITLE", "IS A", "STATE", "TAKES", "GIVES")]
    for entry, each in zip(entries, (*QUICK_ACTIONS, *SHORTCUTS), strict=True):
        rows.append((entry.name, entry.title, entry.form, entry.state, each.takes, each.gives))
    columns(rows)


@shortcuts.command()
def install(
    names: NamesArgument = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            file_okay=False,
            help="Only write the files there, to look at; anywhere.",
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put LFM into the Services menu and Shortcuts.

    Quick Actions are there at once; Shortcuts asks for each shortcut whether to add it.

    Example: lfm shortcuts install transcribe
    """
    quick, own = _chosen(names)
    if folder:
        lfm = places.find_installation()
        work = [partial(places.put, each, lfm, folder, force, "written") for each in quick]
        work += [partial(places.write_unsigned, each, lfm, folder, force) for each in own]
        _finish(work, as_json)
        return
    _insist_on_a_mac("--folder DIR writes the files to look at")
    lfm, there, place = places.find_installation(), places.imported(), places.services_folder()
    work = [partial(places.put, each, lfm, place, force, "installed") for each in quick]
    work += [partial(places.hand_over, each, lfm, there, force) for each in own]
    _finish(work, as_json, places.refresh_services)


@shortcuts.command()
def uninstall(
    names: NamesArgument = None, force: ForceOption = False, as_json: JsonOption = False
) -> None:
    """Take LFM out of the Services menu.

    Shortcuts stay: macOS lets only you delete them, in the app.

    Example: lfm shortcuts uninstall dictate
    """
    _insist_on_a_mac("nothing of it is installed")
    quick, own = _chosen(names)
    there = places.imported()
    work = [partial(places.remove, each, force) for each in quick]
    work += [partial(places.delete_signed, each, there) for each in own]
    left = [each.title for each in own if there and each.title in there]
    if left:
        log.info("macOS lets only you delete shortcuts, in the app: %s", ", ".join(left))
    _finish(work, as_json, places.refresh_services)


def _chosen(names: list[str] | None) -> tuple[list[QuickAction], list[Shortcut]]:
    wanted = names or NAMES
    return (
        [each for each in QUICK_ACTIONS if each.name in wanted],
        [each for each in SHORTCUTS if each.name in wanted],
    )


def _insist_on_a_mac(instead: str) -> None:
    if platform.system() != "Darwin":
        raise RequestError(
            f"Services and Shortcuts are part of macOS, and this is no Mac; {instead}"
        )


def _finish(
    work: Iterable[Callable[[], Entry]],
    as_json: bool,
    afterwards: Callable[[], None] | None = None,
) -> None:
    """Do one after the other and tell what came of it; a failure keeps no other from being done."""
    done: list[Entry] = []
    failed: list[LfmError] = []
    for each in work:
        try:
            done.append(each())
        except LfmError as error:
            failed.append(error)
        else:
            if not as_json:
                print(f"{done[-1].title} ({done[-1].form}): {done[-1].state}")
    if afterwards:
        afterwards()
    if as_json:
        _tell(done)
    for error in failed:
        log.error("%s", error)
    if failed:
        raise typer.Exit(1)


def _tell(entries: Iterable[Entry]) -> None:
    emit("shortcuts", shortcuts=[asdict(entry) for entry in entries])
