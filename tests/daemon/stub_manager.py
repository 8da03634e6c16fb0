"""Stands in for `launchctl` and for `systemctl`, whichever its first argument names: it writes down
what it was asked, fails when it is told to, and keeps a socket as they do, by `activator.py`.

Its folder (`STUB_FOLDER`) holds `calls`, a JSON list a line; `faults.json`, by verb an exit code,
words and how often; `activator`, the number of the process that keeps the socket.
"""

import configparser
import json
import os
import plistlib
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["STUB_FOLDER"])
UNITS = Path.home() / ".config" / "systemd" / "user"


def of_plist(path: Path) -> dict[str, object]:
    """What launchd would do with a property list."""
    entries = plistlib.loads(path.read_bytes())
    return {
        "command": entries["ProgramArguments"],
        "environment": entries.get("EnvironmentVariables", {}),
        "socket": entries["Sockets"]["Listener"]["SockPathName"],
        "log": entries["StandardErrorPath"],
    }


def of_units() -> dict[str, object]:
    """What systemd would do with the units: systemd.syntax(7), by Python's readers of such."""

    class Unit(configparser.RawConfigParser):
        def optionxform(self, optionstr: str) -> str:
            return optionstr

    class Several(dict[str, Any]):
        """Keeps all values of a key that stands there more than once."""

        def __setitem__(self, key: str, value: Any) -> None:
            if key in self and isinstance(value, list):
                value = [*self[key], *value]
            super().__setitem__(key, value)

    unit = Unit(dict_type=Several, strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    unit.read([UNITS / "lfm.socket", UNITS / "lfm.service"], "utf-8")
    service = unit["Service"]
    pairs = shlex.split(service.get("Environment", "").replace("\n", " ").replace("%%", "%"))
    command = shlex.split(service["ExecStart"].replace("%%", "%"))
    return {
        "command": [command[0], *(word.replace("$$", "$") for word in command[1:])],
        "environment": dict(pair.split("=", 1) for pair in pairs),
        "socket": unit["Socket"]["ListenStream"].replace("%%", "%"),
        "remove": unit["Socket"]["RemoveOnStop"] == "yes",
        "log": service["StandardError"].removeprefix("append:").replace("%%", "%"),
    }


def keeper() -> int | None:
    """The process that keeps the socket."""
    try:
        number = int((FOLDER / "activator").read_text())
        os.kill(number, 0)
    except (OSError, ValueError):
        return None
    return number


def load(about: dict[str, object]) -> None:
    (FOLDER / "command.json").write_text(json.dumps(about), "utf-8")
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("activator.py")), FOLDER / "command.json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=(FOLDER / "errors").open("ab"),
        start_new_session=True,
    )
    assert process.stdout
    if process.stdout.readline() != b"listens\n":
        sys.exit("the socket cannot be bound")
    (FOLDER / "activator").write_text(str(process.pid))


def unload() -> None:
    if number := keeper():
        os.kill(number, signal.SIGTERM)
        while keeper():
            time.sleep(0.01)


def fail(verb: str) -> None:
    """As a test wants it."""
    path = FOLDER / "faults.json"
    faults = json.loads(path.read_text()) if path.exists() else {}
    if fault := faults.get(verb):
        code, words, times = fault
        faults[verb] = [code, words, times - 1] if times > 1 else None
        path.write_text(json.dumps(faults))
        print(words, file=sys.stderr)
        sys.exit(code)


def main() -> None:
    name, words = sys.argv[1], sys.argv[2:]
    with (FOLDER / "calls").open("a") as calls:
        print(json.dumps([name, *words]), file=calls)
    if name == "systemctl":
        assert words.pop(0) == "--user"
    verb = words[0]
    fail(verb)
    match verb:
        case "bootstrap":
            assert re.fullmatch(r"gui/\d+", words[1])
            if keeper():
                sys.exit("Bootstrap failed: 5: Input/output error")
            load(of_plist(Path(words[2])))
        case "bootout" | "disable":
            if verb == "bootout" and not keeper():
                print("Boot-out failed: 3: No such process", file=sys.stderr)
                sys.exit(3)
            unload()
        case "print" | "is-active":
            sys.exit(0 if keeper() else 113 if verb == "print" else 3)
        case "enable" if name == "systemctl" and not keeper():
            load(of_units())
        case _:
            pass


main()
