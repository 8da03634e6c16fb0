"""`lfm daemon`: the resident service in the background; and what the other commands need of it."""

import logging
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from lfm2audio_mlx.errors import DaemonError, RequestError
from lfm_cli.model import ModelOption
from lfm_cli.options import KeepAliveOption
from lfm_cli.program import stable_program
from lfm_cli.terminal import JsonOption, columns, emit, printable, waiting

__all__ = ["daemon", "ensure_daemon"]

log = logging.getLogger(__name__)

daemon = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

POLL_SECONDS = 0.2
NONE_RUNS = "no daemon runs; `lfm daemon start` starts one"
SLEEPS = "no daemon runs; it is installed, and starts when something connects"


@daemon.command()
def start(keep_alive: KeepAliveOption = None, as_json: JsonOption = False) -> None:
    """Start the daemon in the background; nothing happens if one runs.

    Example: lfm daemon start --keep-alive 30m
    """
    from lfm_daemon.launch import ensure, health

    options = [] if keep_alive is None else ["--keep-alive", keep_alive]
    if keep_alive is not None:
        _checked(keep_alive)
    with waiting("starting the daemon"):
        ensure(_command(*options), _environment())
    if as_json:
        _tell(health())


@daemon.command()
def stop(as_json: JsonOption = False) -> None:
    """End the daemon, after the requests that are under way.

    Example: lfm daemon stop
    """
    from lfm_daemon import launch

    with waiting("the daemon ends"):
        ended = launch.stop()
    again = _installed()
    if not ended:
        raise DaemonError(SLEEPS if again else NONE_RUNS)
    if again:
        log.info("it starts again when something connects; `lfm daemon uninstall` ends that")
    if as_json:
        _tell(None)


@daemon.command()
def restart(keep_alive: KeepAliveOption = None, as_json: JsonOption = False) -> None:
    """End the daemon if one runs, and start one.

    Example: lfm daemon restart
    """
    from lfm_daemon import launch

    if keep_alive is not None:
        _checked(keep_alive)
    with waiting("the daemon ends"):
        launch.stop()
    start(keep_alive, as_json)


@daemon.command()
def install(
    keep_alive: KeepAliveOption = None, model: ModelOption = None, as_json: JsonOption = False
) -> None:
    """Have the daemon there after each login: it starts when something connects.

    On a Mac launchd sees to it, by an agent in ~/Library/LaunchAgents; on Linux systemd, by units
    in ~/.config/systemd/user. Installing again changes what has changed, and nothing else.

    Example: lfm daemon install --keep-alive 30m
    """
    from lfm2audio_mlx.installed import find_model, model_name
    from lfm_daemon import managers
    from lfm_daemon.agent import wished
    from lfm_daemon.keepalive import USUAL, seconds_of

    seconds_of(USUAL if keep_alive is None else keep_alive)
    name = None if model is None else model_name(find_model(model).absolute())
    agent = wished(stable_program(), keep_alive, name)
    with waiting("the daemon is installed"):
        changed = managers.install(agent)
    path = managers.manager().paths[0]
    log.info("%s: %s", path, "installed" if changed else "is installed already")
    if as_json:
        _tell(None)


@daemon.command()
def uninstall(as_json: JsonOption = False) -> None:
    """Undo what `lfm daemon install` did; the daemon ends. Nothing happens if it did nothing.

    Example: lfm daemon uninstall
    """
    from lfm_daemon import managers

    with waiting("the daemon ends"):
        gone = managers.uninstall()
    log.info("uninstalled" if gone else "the daemon is not installed")
    if as_json:
        _tell(None)


@daemon.callback(invoke_without_command=True)
def look(context: typer.Context, as_json: JsonOption = False) -> None:
    """Tell of the service that keeps the model in memory, or start, stop and look after it.

    Example: lfm daemon
    """
    if context.invoked_subcommand is None:
        status(as_json)


@daemon.command()
def status(as_json: JsonOption = False) -> None:
    """Tell whether a daemon runs, and where its socket is.

    Example: lfm daemon status
    """
    from lfm_daemon.launch import health
    from lfm_daemon.paths import log_path, socket_path

    found = health()
    if as_json:
        _tell(found)
        raise typer.Exit(0 if found else 4)
    path = _installed()
    if not found:
        raise DaemonError(SLEEPS if path else NONE_RUNS)
    rows = [
        ("state", found["state"]),
        ("version", found["version"]),
        ("process", str(found["pid"])),
        ("socket", str(socket_path())),
        ("log", str(log_path())),
        ("installed", str(path or "no")),
    ]
    columns(rows)


@daemon.command()
def socket(as_json: JsonOption = False) -> None:
    """Print where the socket is; whether a daemon listens there is another question.

    Example: curl --unix-socket "$(lfm daemon socket)" http://lfm/health
    """
    from lfm_daemon.launch import health
    from lfm_daemon.paths import socket_path

    if as_json:
        _tell(health())
    else:
        print(socket_path())


@daemon.command()
def logs(
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, help="How many of the last lines.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as more is written, until ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the daemon did; nothing in it is anything that was said.

    Example: lfm daemon logs -f
    """
    from lfm_daemon.paths import log_path

    path = log_path()
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DaemonError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        for line in deque(file, maxlen=lines):
            _show(line, as_json)
        if follow:
            _follow(file, path, as_json)


def _tell(found: dict[str, Any] | None) -> None:
    """What `health` gave, as JSON."""
    from lfm_daemon.paths import log_path, socket_path

    about = {name: found[name] for name in ("state", "version", "pid")} if found else {}
    where = {"socket": str(socket_path()), "log": str(log_path())}
    if path := _installed():
        where["agent"] = str(path)
    emit("daemon", running=found is not None, installed=path is not None, **about, **where)


def _installed() -> Path | None:
    """The agent's file, if launchd or systemd starts the daemon."""
    from lfm_daemon import managers

    return managers.manager().paths[0] if managers.installed() else None


def _checked(keep_alive: str) -> None:
    """A time for a daemon that this command starts.

    Raises:
        RequestError: it is none, or somebody else starts the daemon.
    """
    from lfm_daemon.keepalive import seconds_of

    seconds_of(keep_alive)
    if _installed():
        raise RequestError(
            f"the daemon is installed: `lfm daemon install --keep-alive={keep_alive}` changes that"
        )


def _show(line: str, as_json: bool) -> None:
    if as_json:
        time, _, rest = line.strip().partition(" ")
        level, _, message = rest.partition(" ")
        emit("log", time=time, level=level, message=message)
    else:
        print(printable(line), end="", flush=True)


def _follow(file: TextIO, path: Path, as_json: bool) -> None:
    """Print what is written to a log from now on, also to the one that takes its place."""
    while True:
        while line := file.readline():
            _show(line, as_json)
        time.sleep(POLL_SECONDS)
        try:
            replaced = path.stat().st_ino != os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            continue
        if replaced:
            with path.open(encoding="utf-8", errors="replace") as newer:
                return _follow(newer, path, as_json)


def ensure_daemon() -> None:
    """Have a daemon running, for a command that works through it.

    Raises:
        DaemonError: there is none to be had.
    """
    from lfm_daemon.launch import ensure

    env = _environment()
    env.pop("LFM_MODEL", None)  # is meant for this command, not for the requests of others
    with waiting("starting the daemon"):
        ensure(_command(), env)


def _command(*options: str) -> list[str]:
    # -P: the daemon imports nothing from the folder where it is started.
    return [sys.executable, "-P", "-m", "lfm_cli", "serve", "--detached", *options]


def _environment() -> dict[str, str]:
    """This process's, without what holds only here: the daemon works in another folder."""
    env = dict(os.environ)
    if home := env.get("LFM_HOME"):
        env["LFM_HOME"] = os.path.abspath(os.path.expanduser(home))
    return env
