"""Programs of macOS that Linux lacks, as stand-ins that write down what they were asked, and the
shell lines of workflows run as macOS runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["NAMES", "Mac", "make_mac"]

NAMES = (
    "two words.wav",
    'it\'s "quoted".wav',
    "$HOME `id` $(id).wav",
    "-f.wav",
    "--output-dir=x.wav",
    "grün 🥝.wav",
    "line\nbreak.wav",
    "a; rm b & *.wav",
    "back\\slash\\n.wav",
    "v1.2.wav",
)
"""What recordings may be called."""

STAND_IN = """\
#!{python}
import json, os, pathlib, shutil, sys
name = pathlib.Path(sys.argv[0]).name
asked = sys.argv[1:]
text = sys.stdin.read() if name in ("pbcopy", "lfm") and not sys.stdin.isatty() else ""
with open({log!r}, "a") as log:
    log.write(json.dumps([name, asked, text]) + "\\n")
answers = json.loads(pathlib.Path({answers!r}).read_text())
answer = answers.get(name, "")
if name == "osascript":
    lines = [asked[i + 1] for i in range(len(asked)) if asked[i] == "-e"]
    assert lines[0] == "on run argv" and lines[-1] == "end run", lines
    assert all(line.count('"') % 2 == 0 and "\\\\" not in line for line in lines), lines
    answer = answers["text" if "text returned of result" in lines else "button"]
    if "display alert" in lines[1]:
        answer = ""
if name == "open" and len(asked) == 3:
    shutil.copy(asked[2], {copy!r})
if name == "shortcuts" and asked[0] == "sign" and answer is not None:
    shutil.copy(asked[asked.index("--input") + 1], asked[asked.index("--output") + 1])
if answer is None:
    sys.exit(name + ": no")
sys.stdout.write(answer)
"""

PROGRAMS = ("osascript", "pbcopy", "open", "shortcuts", "pbs")


@dataclass(frozen=True)
class Mac:
    """A folder of stand-ins that is first on the PATH. `lfm` is the real one, in a folder whose
    name wants quoting, until `pretend_lfm`."""

    folder: Path

    @property
    def lfm(self) -> Path:
        return self.folder / "it's $mine" / "lfm"

    @property
    def opened(self) -> Path:
        """What was opened in Terminal, as it was."""
        return self.folder / "opened"

    def answer(self, **answers: str | None) -> None:
        """What programs print from now on; None has them fail. `text` and `button` are what a
        user gives to dialogs (None: cancels)."""
        place = self.folder / "answers.json"
        place.write_text(json.dumps({**json.loads(place.read_text()), **answers}))

    def pretend_lfm(self) -> None:
        """From now on lfm too only writes down what it was asked."""
        self._write(self.lfm)

    def asked(self, program: str) -> list[tuple[list[str], str]]:
        """What a program was asked so far, and what it had on stdin."""
        log = self.folder / "log"
        entries = map(json.loads, log.read_text().splitlines() if log.exists() else [])
        return [(asked, text) for name, asked, text in entries if name == program]

    def alerts(self) -> list[list[str]]:
        """Title and message of the failures that the user saw."""
        seen = [asked for asked, _ in self.asked("osascript") if "display alert" in asked[3]]
        return [asked[6:] for asked in seen]

    def run(
        self,
        shell: str,
        lines: str,
        arguments: Sequence[str] = (),
        stdin: str = "",
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a workflow's lines as Automator does: given to the shell, with a bare PATH."""
        surroundings = {**os.environ, "PATH": f"{self.folder}:/usr/bin:/bin", **(env or {})}
        return subprocess.run(
            [shell, "-c", lines, "-", *arguments],
            input=stdin,
            env=surroundings,
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def make(self) -> None:
        (self.folder / "answers.json").write_text(json.dumps({"text": None, "button": "OK"}))
        for name in PROGRAMS:
            self._write(self.folder / name)
        self.lfm.parent.mkdir()
        packages = os.pathsep.join(filter(None, sys.path))
        self.lfm.write_text(
            f"#!/bin/sh\nPYTHONPATH='{packages}' exec '{sys.executable}' -m lfm_cli \"$@\"\n"
        )
        self.lfm.chmod(0o755)

    def _write(self, place: Path) -> None:
        names: dict[str, Any] = {
            "log": str(self.folder / "log"),
            "answers": str(self.folder / "answers.json"),
            "copy": str(self.opened),
        }
        text = STAND_IN.replace("{python}", sys.executable)
        for name, value in names.items():
            text = text.replace(f"{{{name}!r}}", repr(value))
        place.write_text(text)
        place.chmod(0o755)


@pytest.fixture(name="mac")
def make_mac(tmp_path_factory: pytest.TempPathFactory) -> Mac:
    """The stand-ins, in a folder of their own."""
    made = Mac(tmp_path_factory.mktemp("mac"))
    made.make()
    return made
