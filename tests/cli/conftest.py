"""The command as a person runs it: a process of its own, in a folder of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import jsonschema
import numpy as np
import pexpect
import pytest
from agents import system  # noqa: F401 - a fixture for all
from chatting import Terminal
from pulse import pulse  # noqa: F401 - a fixture for all
from short_answers import Brief
from transcribing import TALK, joined

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.text.cues import Layout
from lfm_cli.transcription import Job
from lfm_cli.transcripts import Outputs
from lfm_convert.convert import convert

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore interrupts, and so would every process that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., subprocess.CompletedProcess[str]]
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema.json").read_text("utf-8"))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for each test: nothing is installed, kept or configured there, and the
    embedded checkpoint is what is asked for."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LFM_HOME", str(folder))
    monkeypatch.setenv("LFM_MODEL", "nano")
    for name in ("LFM_OFFLINE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(autouse=True)
def no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands load the model themselves."""
    monkeypatch.setenv("LFM_DAEMON", "off")


@pytest.fixture
def lfm(tmp_path: Path) -> Run:
    """Runs `lfm ARGUMENTS...` quietly in `tmp_path` and gives exit code, stdout and stderr."""

    def run(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lfm_cli", "--quiet", *map(str, arguments)]
        env = {**os.environ, **more.pop("env", {})}
        if "input" not in more:
            more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=env, **more
        )

    return run


@pytest.fixture
def document() -> Callable[[str], dict[str, Any]]:
    """Reads one line of JSON and holds it to the documented schema."""

    def read(line: str) -> dict[str, Any]:
        found = json.loads(line)
        jsonschema.validate(found, SCHEMA)
        return found

    return read


@pytest.fixture(scope="session")
def short(originals: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint that answers anything, and whose context of 120 is soon full."""
    folder = tmp_path_factory.mktemp("short")
    shutil.copytree(originals["v1"], folder / "original")
    config = folder / "original" / "config.json"
    found = json.loads(config.read_text("utf-8"))
    found["lfm"]["max_position_embeddings"] = 120
    config.write_text(json.dumps(found), "utf-8")
    return convert(folder / "original", folder / "short", "f32")


@pytest.fixture
def unprivileged(home: Path, tmp_path: Path) -> Iterator[None]:
    """Nobody's rights for a while, where the tests run as root, who may do anything. What the test
    has made so far is nobody's."""
    if os.geteuid() != 0:
        yield
        return
    for folder in filter(Path.exists, (home, tmp_path)):
        # pytest's own folders above are only for root to enter.
        for above in folder.parents:
            if above == Path(gettempdir()):
                break
            above.chmod(above.stat().st_mode | 0o011)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


NOBODY = 65534


@pytest.fixture(scope="session")
def talk(
    transcripts: dict[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """A recording of four short sentences (11 s), and they."""
    some = {path: transcripts[path] for path in TALK}
    return joined(tmp_path_factory.mktemp("talk") / "talk.wav", TALK), list(some.values())


@pytest.fixture
def job(nano: Engine) -> Job:
    return Job(nano, "txt", Layout())


@pytest.fixture
def filing(job: Job, tmp_path: Path) -> Job:
    """A job that writes tables, which tell times and texts, into a folder of its own."""
    return replace(job, form="tsv", outputs=Outputs(tmp_path / "out", "tsv", Layout()))


@pytest.fixture
def brief(engines: dict[str, Engine]) -> Brief:
    return Brief(engines["v1"])


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Starts `lfm ARGUMENTS...` in a terminal of its own."""
    children: list[pexpect.spawn[str]] = []

    def start(*arguments: object, **env: str | None) -> "pexpect.spawn[str]":
        wanted = {"TERM": "xterm", **os.environ, **env}
        child = pexpect.spawn(
            sys.executable,
            ["-m", "lfm_cli", *map(str, arguments)],
            cwd=str(tmp_path),
            env={name: value for name, value in wanted.items() if value is not None},  # type: ignore[arg-type]
            encoding="utf-8",
            timeout=30,
            dimensions=(40, 500),
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


# A fake for a device that no test machine has


@contextmanager
def fake_loudspeaker(
    rate: int,
    device: str | None,
    instead: str,
    *,
    played: list[np.ndarray],
    after: int,
    fault: Any,
) -> Iterator[Callable[[np.ndarray], None]]:
    """A loudspeaker that plays `after` pieces, at most, and then raises `fault`."""

    def play(samples: np.ndarray) -> None:
        if len(played) >= after:
            raise fault
        played.append(samples)

    yield play
    if len(played) < after:
        raise fault


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], list[np.ndarray]]:
    """Lets the next answers' loudspeaker raise something after so many pieces; gives these."""

    def arrange(after: int, fault: BaseException) -> list[np.ndarray]:
        played: list[np.ndarray] = []
        loudspeaker = partial(fake_loudspeaker, played=played, after=after, fault=fault)
        monkeypatch.setattr("lfm_cli.sound.loudspeaker", loudspeaker)
        return played

    return arrange
