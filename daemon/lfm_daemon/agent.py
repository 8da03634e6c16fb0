"""How launchd or systemd is to start the daemon: as data, as their files, and read back from them.

The property list is one of launchd.plist(5), the units are of systemd.socket(5) and
systemd.service(5). Both keep the socket and start the daemon at the first connection; both start
it again when it has crashed, and not when it ended in peace.
"""

from __future__ import annotations

import os
import plistlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.parsers.expat import ExpatError

from lfm2audio_mlx.errors import DaemonError
from lfm2audio_mlx.home import data_folder
from lfm_daemon.activation import LISTENER
from lfm_daemon.paths import log_path, socket_path

__all__ = ["LABEL", "Agent", "from_plist", "from_units", "to_plist", "to_units", "wished"]

LABEL = "io.github.lfm2audio-mlx.daemon"
KEPT = ("LFM_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
"""Of the environment: where this user's things are. A daemon that does not know would look for
them, and for its lock, in another place."""
KEEP_ALIVE = "--keep-alive="
REFUSALS = "1 2 3 4"
"""Exit codes with which `lfm` says why it cannot serve: trying again would change nothing."""


@dataclass(frozen=True)
class Agent:
    """A daemon that the system starts. `program` stays where it is when a new version comes."""

    program: tuple[str, ...]
    options: tuple[str, ...]
    environment: Mapping[str, str]
    socket: str
    log: str

    @property
    def command(self) -> tuple[str, ...]:
        """What is started."""
        return (*self.program, "serve", "--detached", *self.options)

    @property
    def keep_alive(self) -> str | None:
        """How long a model stays without use; None is as long as usual."""
        for option in self.options:
            if option.startswith(KEEP_ALIVE):
                return option.removeprefix(KEEP_ALIVE)
        return None


def wished(
    program: tuple[str, ...], keep_alive: str | None = None, model: str | None = None
) -> Agent:
    """The agent of this user, this home and this program.

    Raises:
        DaemonError: a path is none that these files can hold.
    """
    environment = {name: os.environ[name] for name in KEPT if os.environ.get(name)}
    if "LFM_HOME" in environment:
        environment["LFM_HOME"] = str(data_folder())
    if model is not None:
        environment["LFM_MODEL"] = model
    options = () if keep_alive is None else (f"{KEEP_ALIVE}{keep_alive}",)
    agent = Agent(program, options, environment, str(socket_path()), str(log_path()))
    if not socket_path().is_relative_to(data_folder()):
        # It is in /tmp then, which is empty after a restart, and nobody would make its folder.
        raise DaemonError(
            f"{data_folder()}: is too long a path for a socket that stays: set LFM_HOME to a "
            "shorter one"
        )
    for value in (*agent.command, *environment.values(), agent.socket, agent.log):
        if any(ord(char) < 0x20 or 0xD800 <= ord(char) < 0xE000 for char in value):
            raise DaemonError(f"{value!r}: cannot stand in the file of an agent; rename it")
    return agent


# launchd


def to_plist(agent: Agent) -> bytes:
    """The property list; nothing in it is run by a shell."""
    entries: dict[str, Any] = {
        "Label": LABEL,
        "ProgramArguments": list(agent.command),
        "RunAtLoad": False,
        "KeepAlive": {"Crashed": True},
        "ProcessType": "Interactive",
        "LimitLoadToSessionType": "Aqua",
        "Umask": 0o077,
        "StandardOutPath": agent.log,
        "StandardErrorPath": agent.log,
        "Sockets": {
            LISTENER: {
                "SockFamily": "Unix",
                "SockType": "stream",
                "SockPathName": agent.socket,
                "SockPathMode": 0o600,
            }
        },
    }
    if agent.environment:
        entries["EnvironmentVariables"] = dict(agent.environment)
    return plistlib.dumps(entries)


def from_plist(data: bytes) -> Agent | None:
    """The agent of a property list; None, if it is none of ours."""
    try:
        entries = plistlib.loads(data)
        return _read(
            entries["ProgramArguments"],
            entries.get("EnvironmentVariables", {}),
            entries["Sockets"][LISTENER]["SockPathName"],
            entries["StandardErrorPath"],
        )
    except (ValueError, LookupError, TypeError, AttributeError, ExpatError):
        return None


# systemd

SOCKET = """\
[Unit]
Description=lfm: the socket of the speech model's daemon

[Socket]
ListenStream={socket}
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""
SERVICE = """\
[Unit]
Description=lfm: the speech model's daemon
Requires=lfm.socket
After=lfm.socket

[Service]
ExecStart={command}
{environment}\
Restart=on-failure
RestartPreventExitStatus={refusals}
UMask=0077
StandardOutput=append:{log}
StandardError=append:{log}
"""


UNLOVED = set("'\"\\")
"""systemd starts no program in whose path one of these stands ("contains special characters")."""
SHELL = ("/bin/sh", "-c", 'exec "$@"', "lfm")
"""Starts it then, and is gone."""


def to_units(agent: Agent) -> tuple[bytes, bytes]:
    """lfm.socket and lfm.service."""
    lines = [f"Environment={_word(f'{n}={v}')}\n" for n, v in agent.environment.items()]
    shell = SHELL if set(agent.program[0]) & UNLOVED else ()
    # systemd puts variables into arguments, not into the path of the program.
    first, *others = map(_word, (*shell, *agent.command))
    command = " ".join([first, *(word.replace("$", "$$") for word in others)])
    socket = SOCKET.format(socket=_literal(agent.socket))
    service = SERVICE.format(
        command=command,
        environment="".join(lines),
        refusals=REFUSALS,
        log=_literal(agent.log),
    )
    return socket.encode(), service.encode()


def from_units(socket: bytes, service: bytes) -> Agent | None:
    """The agent of the two; None, if they are none of ours."""
    told: dict[str, list[str]] = {}
    for line in (socket + b"\n" + service).decode("utf-8", "replace").splitlines():
        name, _, value = line.partition("=")
        told.setdefault(name, []).append(value)
    try:
        first, *others = _words(told["ExecStart"][0])
        command = [first, *(word.replace("$$", "$") for word in others)]
        if tuple(command[: len(SHELL)]) == SHELL:
            command = command[len(SHELL) :]
        pairs = [_words(value)[0].partition("=") for value in told.get("Environment", [])]
        return _read(
            command,
            {name: value for name, _, value in pairs},
            told["ListenStream"][0].replace("%%", "%"),
            told["StandardError"][0].removeprefix("append:").replace("%%", "%"),
        )
    except (LookupError, ValueError):
        return None


def _literal(value: str) -> str:
    return value.replace("%", "%%")


def _word(value: str) -> str:
    """One word in quotes, see "QUOTING" in systemd.syntax(7)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_literal(escaped)}"'


def _words(line: str) -> list[str]:
    """The words that `_word` wrote."""
    found: list[str] = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    return [re.sub(r"\\(.)", r"\1", word).replace("%%", "%") for word in found]


def _read(
    command: list[str], environment: Mapping[str, str], socket: str, log: str
) -> Agent | None:
    """An agent of its parts. `serve --detached` divides what is started from how."""
    at = command.index("--detached")
    if command[at - 1] != "serve":
        return None
    program, options = tuple(command[: at - 1]), tuple(command[at + 1 :])
    return Agent(program, options, dict(environment), socket, log)
