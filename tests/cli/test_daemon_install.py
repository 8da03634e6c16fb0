"""`lfm daemon install` and `uninstall`, and how the other commands behave where it is installed."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import FakeSystem
from typer.testing import CliRunner, Result

from lfm2audio_mlx.errors import DaemonError, LfmError, ModelError
from lfm_cli import program
from lfm_cli.app import app
from lfm_cli.program import stable_program
from lfm_daemon.instance import running
from lfm_daemon.launch import stop
from lfm_daemon.managers import installed
from lfm_daemon.paths import log_path, socket_path

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH, SAID = RECORDINGS / "seen_00.wav", "alarm set for five thirty"
Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]
Here = Callable[..., Result]


@pytest.fixture(autouse=True)
def with_daemon(home: Path, no_daemon: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands use a daemon here, and none stays."""
    monkeypatch.delenv("LFM_DAEMON")
    monkeypatch.delenv("LFM_MODEL")
    yield
    stop()


@pytest.fixture
def here(system: FakeSystem) -> Here:
    """Runs `lfm ARGUMENTS...` in this process, where the fake system is."""

    def run(*arguments: str, fails: type[LfmError] | None = None) -> Result:
        result = CliRunner().invoke(app, arguments)
        if fails:
            assert isinstance(result.exception, fails), result.output
        else:
            assert result.exit_code == 0, result.exception
        return result

    return run


def transcribed(lfm: Run) -> str:
    result = lfm("transcribe", SPEECH, "-m", "nano")
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def check(document: Document) -> dict[str, str]:
    """What `lfm doctor` says of it."""
    checks = document(CliRunner().invoke(app, ["doctor", "-m", "nano", "--json"]).stdout)["checks"]
    return next(each for each in checks if each["name"] == "agent")


def test_a_life(here: Here, lfm: Run, document: Document, system: FakeSystem):
    """Install, use, stop, use again, uninstall."""
    told = document(here("daemon", "install", "--keep-alive", "30m", "--json").stdout)
    path = str(system.manager.paths[0])
    assert (told["installed"], told["agent"], told["running"]) == (True, path, False)
    assert "starts when something connects" in str(
        here("daemon", "status", fails=DaemonError).exception
    )
    assert running() is None
    assert transcribed(lfm) == SAID
    first = running()
    assert first and path in here("daemon", "status").stdout
    (model,) = json.loads(lfm("ps", "--json").stdout)["models"]
    assert 1700 < model["until"] <= 1800
    told = document(here("daemon", "stop", "--json").stdout)
    assert (told["running"], told["installed"]) == (False, True)
    assert running() is None
    assert "installed" in str(here("daemon", "stop", fails=DaemonError).exception)
    assert transcribed(lfm) == SAID
    assert running() not in (None, first)
    again = running()
    told = document(here("daemon", "restart", "--json").stdout)
    assert told["running"] and told["pid"] not in (None, again)
    told = document(here("daemon", "uninstall", "--json").stdout)
    assert not told["installed"] and not told["running"] and "agent" not in told
    assert running() is None and system.files == {} and not socket_path().exists()
    assert transcribed(lfm) == SAID  # as without it
    here("daemon", "uninstall")


def test_people_are_told_what_was_done(
    here: Here, caplog: pytest.LogCaptureFixture, system: FakeSystem
):
    caplog.set_level("INFO")

    def said(*arguments: str) -> str:
        caplog.clear()
        assert here(*arguments).stdout == ""
        return " ".join(record.message for record in caplog.records)

    path = system.manager.paths[0]
    assert said("daemon", "install") == f"{path}: installed"
    assert said("daemon", "install") == f"{path}: is installed already"
    here("daemon", "start")
    assert "`lfm daemon uninstall`" in said("daemon", "stop")
    assert said("daemon", "uninstall") == "uninstalled"
    assert said("daemon", "uninstall") == "the daemon is not installed"


def test_a_model_is_the_one_that_requests_without_a_wish_get(here: Here, tmp_path: Path):
    here("daemon", "install", "--model", "nano")
    found = installed()
    assert found and found.environment["LFM_MODEL"] == "nano"
    here("daemon", "start")
    answer = subprocess.run(
        ["curl", "-s", "--unix-socket", socket_path(), "http://lfm/api/load", "-d", "{}"],
        capture_output=True,
        text=True,
    )
    assert json.loads(answer.stdout)["model"] == "nano"
    here("daemon", "install", "--model", "nothing", fails=ModelError)
    assert installed() == found


def test_a_folder_is_found_from_everywhere(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from lfm2audio_mlx.installed import EMBEDDED

    shutil.copytree(EMBEDDED, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    here("daemon", "install", "--model", "mine")
    found = installed()
    assert found and found.environment["LFM_MODEL"] == str(tmp_path / "mine")


def test_a_time_that_is_none_is_refused(here: Here):
    here("daemon", "install", "--keep-alive", "soon", fails=LfmError)
    assert installed() is None


def test_how_long_a_model_stays_is_asked_where_it_is_known(here: Here):
    here("daemon", "install")
    for verb in ("start", "restart"):
        error = here("daemon", verb, "--keep-alive=1h", fails=LfmError).exception
        assert "`lfm daemon install --keep-alive=1h`" in str(error)
    assert running() is None


@pytest.mark.parametrize("system", ["systemd"], indirect=True)
def test_what_the_system_says_is_one_line_and_exit_code_4(lfm: Run, system: FakeSystem):
    """As a process of its own, which finds the system that it is on."""
    system.fails("daemon-reload", 1, "Failed to connect to bus: No medium found")
    failed = lfm("daemon", "install")
    assert (failed.returncode, failed.stdout) == (4, "")
    (line,) = failed.stderr.splitlines()
    assert line == "lfm: systemctl --user daemon-reload: Failed to connect to bus: No medium found"
    assert system.files == {}
    system.works()
    assert lfm("daemon", "install").returncode == 0
    assert transcribed(lfm) == SAID
    assert lfm("daemon", "uninstall").returncode == 0


def test_help_and_looking_load_neither_mlx_nor_numpy():
    code = (
        "import sys\nfrom lfm_cli.app import app\n"
        "try:\n    app(['daemon', 'status'])\nexcept BaseException as error:\n    print(error)\n"
        "import lfm_daemon.managers, lfm_daemon.activation\n"
        "print([name for name in ('mlx', 'numpy', 'uvicorn') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "no daemon runs" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]", result.stderr


# The doctor


def test_the_doctor_says_whether_it_is_installed(
    here: Here, document: Document, system: FakeSystem
):
    assert (check(document)["state"], check(document)["mend"]) == ("ok", "")
    here("daemon", "install", "--keep-alive", "1h")
    found = check(document)
    assert found["state"] == "ok" and str(system.manager.paths[0]) in found["detail"]


def test_a_program_that_is_gone_is_a_fault(
    here: Here,
    document: Document,
    system: FakeSystem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    command = tmp_path / "bin" / "lfm"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr("lfm_cli.daemon.stable_program", lambda: (str(command),))
        here("daemon", "install")
    found = check(document)
    assert found["state"] == "note" and "and this is" in found["detail"]
    assert found["mend"] == "`lfm daemon install`"
    command.unlink()
    found = check(document)
    assert found["state"] == "fault"
    assert f"starts {command}, which is gone" in found["detail"]


def test_a_file_that_was_changed_or_not_loaded_is_noted(
    here: Here, document: Document, system: FakeSystem
):
    here("daemon", "install", "--keep-alive", "1h")
    path = system.manager.paths[-1]
    original = path.read_bytes()
    # The same agent, and a key that is not.
    path.write_bytes(original.replace(b"Interactive", b"Background").replace(b"on-failure", b"no"))
    found = check(document)
    assert found["state"] == "note" and "not as it would be installed" in found["detail"]
    assert found["mend"] == "`lfm daemon install --keep-alive=1h`"
    path.write_bytes(original)
    assert check(document)["state"] == "ok"
    system.manager.unload()
    found = check(document)
    assert found["state"] == "note" and "has not loaded it" in found["detail"]


# Which program


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Lays out an installation: a version's folder, and the link that people have on their PATH."""

    def lay(prefix: str, wrapper: str = "") -> Path:
        script = tmp_path / prefix / "bin" / "lfm"
        script.parent.mkdir(parents=True)
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
        if wrapper:
            (tmp_path / wrapper).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / wrapper).symlink_to(script)
            script = tmp_path / wrapper
        link = tmp_path / "homebrew" / "bin" / "lfm"
        link.parent.mkdir(parents=True)
        link.symlink_to(script)
        monkeypatch.setattr(sys, "prefix", str(tmp_path / prefix))
        monkeypatch.setattr(sys, "argv", ["-c"])
        monkeypatch.setenv("PATH", str(link.parent))
        return link

    return lay


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [
        ("Cellar/lfm/1.0/libexec", "Cellar/lfm/1.0/bin/lfm"),
        ("Cellar/lfm/1.0/libexec", ""),
        ("tools/lfm2audio-mlx", ""),
        ("my 'own' venv", ""),
    ],
)
def test_the_path_that_survives_an_upgrade_is_kept(
    installation: Callable[[str, str], Path], prefix: str, wrapper: str
):
    link = installation(prefix, wrapper)
    assert stable_program() == (str(link),)


def test_a_wrapper_that_homebrew_writes_is_as_good(
    installation: Callable[[str, str], Path], tmp_path: Path
):
    """A script in the keg's own bin, and not a link."""
    link = installation("Cellar/lfm/1.0/libexec", "")
    wrapper = tmp_path / "Cellar" / "lfm" / "1.0" / "bin" / "lfm"
    wrapper.parent.mkdir()
    shutil.copy(link, wrapper)
    link.unlink()
    link.symlink_to(wrapper)
    assert stable_program() == (str(link),)


def test_somebody_else_s_lfm_is_not_ours(
    installation: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """There is a file manager of that name."""
    installation("one", "")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "two"))
    assert stable_program() == (sys.executable, "-P", "-m", "lfm_cli")
    assert os.path.isabs(stable_program()[0])


def test_the_one_that_was_called_comes_before_the_path(
    installation: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    link = installation("venv", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["venv/bin/lfm"])
    assert stable_program() == (str(tmp_path / "venv" / "bin" / "lfm"),)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", [str(link)])
    assert program.stable_program() == (str(link),)


def test_the_agent_s_program_survives_an_upgrade(
    here: Here,
    installation: Callable[[str, str], Path],
    tmp_path: Path,
    system: FakeSystem,
    monkeypatch: pytest.MonkeyPatch,
):
    """The link leads to another version's folder, and the old one goes: nothing has to change."""
    path = os.environ["PATH"]
    link = installation("Cellar/lfm/1.0/libexec", "")
    monkeypatch.setenv("PATH", f"{link.parent}:{path}")
    here("daemon", "install")
    before = system.files
    new = tmp_path / "Cellar" / "lfm" / "1.1" / "libexec"
    shutil.copytree(tmp_path / "Cellar" / "lfm" / "1.0" / "libexec", new)
    link.unlink()
    link.symlink_to(new / "bin" / "lfm")
    shutil.rmtree(tmp_path / "Cellar" / "lfm" / "1.0")
    monkeypatch.setattr(sys, "prefix", str(new))
    here("daemon", "install")
    assert system.files == before
    found = installed()
    assert found and found.program == (str(link),) and Path(found.program[0]).exists()


def test_the_log_is_where_it_always_is(here: Here, lfm: Run, system: FakeSystem):
    here("daemon", "install")
    assert transcribed(lfm) == SAID
    end = time.monotonic() + 5
    while "serves" not in log_path().read_text("utf-8"):
        assert time.monotonic() < end
    assert log_path().stat().st_mode & 0o777 == 0o600
