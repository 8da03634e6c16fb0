"""launchd and systemd as tests meet them: stubs that keep a socket, in a home with an odd name."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lfm_daemon import launch, managers
from lfm_daemon.managers import Launchd, Manager, Systemd

STUB = Path(__file__).with_name("stub_manager.py")
ODD = 'it\'s "my" 🏡 %h $HOME \\n'
"""A folder may be called so."""


@dataclass
class FakeSystem:
    """Stands in for the launchd of a Mac that is not here, or for systemd."""

    manager: Manager
    folder: Path
    home: Path

    @property
    def calls(self) -> list[list[str]]:
        """What its program was asked since the last look."""
        path = self.folder / "calls"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("")
        return found

    @property
    def verbs(self) -> list[str]:
        return [next(word for word in call[1:] if word != "--user") for call in self.calls]

    def fails(self, verb: str, code: int = 1, words: str = "cannot", times: int = 1000) -> None:
        (self.folder / "faults.json").write_text(json.dumps({verb: [code, words, times]}))

    def works(self) -> None:
        (self.folder / "faults.json").unlink()

    @property
    def files(self) -> dict[Path, bytes]:
        """All that lies where agents are."""
        there = self.manager.paths[0].parent
        return {path: path.read_bytes() for path in there.iterdir()} if there.exists() else {}


@pytest.fixture(params=["launchd", "systemd"])
def system(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeSystem]:
    """One of the two; `LFM_HOME` and `HOME` are in a folder with an odd name."""
    if request.param == "systemd" and sys.platform != "linux":
        pytest.skip("systemd is Linux's")
    with tempfile.TemporaryDirectory(prefix="lfm", dir="/tmp") as place:
        folder, home = Path(place) / "stub", Path(place) / ODD
        programs = folder / "bin"
        programs.mkdir(parents=True)
        home.mkdir(mode=0o700)
        (folder / "calls").touch()
        for name in ("launchctl", "systemctl"):
            told = " ".join(shlex.quote(word) for word in (sys.executable, str(STUB), name))
            stub = f'#!/bin/sh\nexec {told} "$@"\n'
            (programs / name).write_text(stub)
            (programs / name).chmod(0o755)
        for name, value in {
            "HOME": str(home),
            "LFM_HOME": str(home / "lfm"),
            "STUB_FOLDER": str(folder),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }.items():
            monkeypatch.setenv(name, value)
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            monkeypatch.delenv(name, raising=False)
        found: Manager = Launchd() if request.param == "launchd" else Systemd()
        monkeypatch.setattr(managers, "manager", lambda: found)
        monkeypatch.setattr(managers, "PAUSE", 0.05)
        try:
            yield FakeSystem(found, folder, home)
        finally:
            (folder / "faults.json").unlink(missing_ok=True)
            managers.uninstall()
            launch.stop()
