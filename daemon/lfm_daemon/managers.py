"""launchd and systemd, asked by their own programs: an agent is put in place, and taken away.

Both verbs may be used again and again. What fails leaves things as they were.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from lfm2audio_mlx.errors import DaemonError
from lfm_daemon import launch
from lfm_daemon.agent import LABEL, Agent, from_plist, from_units, to_plist, to_units
from lfm_daemon.instance import held, listening
from lfm_daemon.paths import log_path, private, run_folder, socket_path

__all__ = ["Launchd", "Manager", "Systemd", "install", "installed", "manager", "uninstall"]

PATIENCE = 60.0
"""Seconds for one answer of `launchctl` or `systemctl`."""
GONE_SECONDS = 25.0
"""launchd gives an agent 20 s to end."""
TRIES, PAUSE = 4, 0.5
"""launchd refuses an agent for a moment after one of that name has left ("5: Input/output
error")."""


class Manager(Protocol):
    """What starts the daemon when it is needed."""

    name: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its files; the first one stands for all."""
        ...

    def render(self, agent: Agent) -> tuple[bytes, ...]:
        """What stands in them."""
        ...

    def read(self, contents: tuple[bytes, ...]) -> Agent | None:
        """The agent that they tell of; None, if they are none of ours."""
        ...

    def loaded(self) -> bool:
        """Does it listen for the daemon?

        Raises:
            DaemonError: it cannot be asked.
        """
        ...

    def load(self) -> None:
        """Have it listen, now and after each login.

        Raises:
            DaemonError: it does not.
        """
        ...

    def unload(self) -> None:
        """Have it listen no more, and its daemon end.

        Raises:
            DaemonError: it does not end.
        """
        ...

    def forget(self) -> None:
        """The files are gone."""
        ...


class Launchd:
    """An agent of the user who is logged in, see launchctl(1)."""

    name = "launchd"

    def __init__(self) -> None:
        self._domain = f"gui/{os.getuid()}"
        self._service = f"{self._domain}/{LABEL}"

    @property
    def paths(self) -> tuple[Path, ...]:
        return (Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist",)

    def render(self, agent: Agent) -> tuple[bytes, ...]:
        return (to_plist(agent),)

    def read(self, contents: tuple[bytes, ...]) -> Agent | None:
        return from_plist(contents[0])

    def loaded(self) -> bool:
        return _asked("launchctl", "print", self._service).returncode == 0

    def load(self) -> None:
        _told("launchctl", "enable", self._service)
        command = ("launchctl", "bootstrap", self._domain, str(self.paths[0]))
        for _ in range(TRIES - 1):
            if _asked(*command).returncode == 0:
                return
            time.sleep(PAUSE)
        _told(*command)

    def unload(self) -> None:
        done = _asked("launchctl", "bootout", self._service)
        end = time.monotonic() + GONE_SECONDS
        while self.loaded():  # it leaves later than the command ends, and may say that it is busy
            if time.monotonic() > end:
                raise _fault(done)
            time.sleep(PAUSE / 5)

    def forget(self) -> None:
        """launchd knows by itself."""


class Systemd:
    """Two units of the user, see systemctl(1)."""

    name = "systemd"

    @property
    def paths(self) -> tuple[Path, ...]:
        folder = Path.home() / ".config" / "systemd" / "user"
        return folder / "lfm.socket", folder / "lfm.service"

    def render(self, agent: Agent) -> tuple[bytes, ...]:
        return to_units(agent)

    def read(self, contents: tuple[bytes, ...]) -> Agent | None:
        return from_units(*contents)

    def loaded(self) -> bool:
        return _asked(*USER, "is-active", "--quiet", "lfm.socket").returncode == 0

    def load(self) -> None:
        _told(*USER, "daemon-reload")
        # It may have failed before, and would not be tried again.
        _asked(*USER, "reset-failed", "lfm.socket", "lfm.service")
        _told(*USER, "enable", "--now", "lfm.socket")

    def unload(self) -> None:
        _told(*USER, "disable", "--now", "lfm.socket")
        _told(*USER, "stop", "lfm.service")

    def forget(self) -> None:
        _asked(*USER, "daemon-reload")


USER = ("systemctl", "--user")


def manager() -> Manager:
    """Of this system.

    Raises:
        DaemonError: it has neither.
    """
    if sys.platform == "darwin":
        return Launchd()
    if sys.platform == "linux":
        return Systemd()
    raise DaemonError(f"{sys.platform}: has neither launchd nor systemd, `lfm serve` goes anywhere")


def installed() -> Agent | None:
    """The agent that keeps this home's socket, as its files tell of it; None, if there is none."""
    try:
        system = manager()
    except DaemonError:
        return None
    contents = _contents(system.paths)
    there = [content for content in contents.values() if content is not None]
    agent = system.read(tuple(there)) if len(there) == len(contents) else None
    return agent if agent and agent.socket == str(socket_path()) else None


def install(agent: Agent) -> bool:
    """Put an agent in place, of whatever version an earlier one was; a daemon that runs ends,
    after its requests. False, if it is in place already.

    Raises:
        DaemonError: it cannot be.
    """
    system = manager()
    wanted = dict(zip(system.paths, system.render(agent), strict=True))
    before = _contents(system.paths)
    loaded = system.loaded()
    if before == wanted and loaded:
        return False
    private(run_folder())
    _begin_log()
    try:
        if loaded:
            system.unload()
        launch.stop()
        _clear()
        _write(wanted)
        system.load()
    except BaseException:  # ctrl-C and SIGTERM too
        with suppress(DaemonError):
            system.unload()
        with suppress(DaemonError):
            _write(before)
            if loaded:
                _clear()
                system.load()
            else:
                system.forget()
        raise
    return True


def uninstall() -> bool:
    """Take the agent away; its daemon ends, after its requests. False, if there was none.

    Raises:
        DaemonError: it cannot be.
    """
    system = manager()
    there = any(content is not None for content in _contents(system.paths).values())
    if not there and not system.loaded():
        return False
    system.unload()
    _write(dict.fromkeys(system.paths))
    system.forget()
    _clear()
    return True


def _begin_log() -> None:
    """Have the log there, for this user alone: launchd and systemd open it before the daemon."""
    private(log_path().parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        os.close(os.open(log_path(), flags, 0o600))
    except OSError as error:
        raise DaemonError(f"{log_path()}: cannot be written: {error.strerror}") from error


def _clear() -> None:
    """A socket that nobody keeps is in the way of whoever binds the next one."""
    if not held() and not listening():
        socket_path().unlink(missing_ok=True)


def _contents(paths: tuple[Path, ...]) -> dict[Path, bytes | None]:
    found: dict[Path, bytes | None] = {}
    for path in paths:
        try:
            found[path] = path.read_bytes()
        except FileNotFoundError:
            found[path] = None
        except OSError as error:
            raise DaemonError(f"{path}: cannot be read: {error.strerror}") from error
    return found


def _write(contents: Mapping[Path, bytes | None]) -> None:
    """Have the files so, each of them whole; None is for one that is not to be there.

    Raises:
        DaemonError: one cannot be written.
    """
    for path, content in contents.items():
        beside = path.with_name(f".{path.name}.new")
        try:
            if content is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(content)
            beside.chmod(0o644)  # launchd refuses what others may change
            beside.replace(path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise DaemonError(f"{path}: cannot be written: {error.strerror}") from error


def _asked(*command: str) -> subprocess.CompletedProcess[str]:
    """What a program answers.

    Raises:
        DaemonError: it is not there, or gives no answer.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise DaemonError(f"{' '.join(command)}: gives no answer") from error
    except OSError as error:
        raise DaemonError(
            f"{command[0]}: cannot be run ({error.strerror}); without it nothing can be installed, "
            "and the daemon starts with the first command that needs it, as ever"
        ) from error


def _told(*command: str) -> None:
    done = _asked(*command)
    if done.returncode:
        raise _fault(done)


def _fault(done: subprocess.CompletedProcess[str]) -> DaemonError:
    """What a program said that failed, in one line."""
    said = " ".join((done.stderr or done.stdout).split()) or f"ends with {done.returncode}"
    return DaemonError(f"{' '.join(done.args)}: {said}")
