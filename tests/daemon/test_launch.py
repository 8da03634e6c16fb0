"""Starting, ending and replacing daemons, as processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
from workbench import ending, soon

from lfm2audio_mlx import __version__
from lfm2audio_mlx.errors import DaemonError
from lfm_daemon import launch
from lfm_daemon.client import ask
from lfm_daemon.instance import running
from lfm_daemon.paths import log_path, socket_path

SERVE = [sys.executable, "-P", "-m", "lfm_cli", "serve", "--detached"]


@pytest.fixture(autouse=True)
def none_stays(home: Path) -> Iterator[None]:
    yield
    launch.stop()


def env(**more: str) -> Mapping[str, str]:
    return {**os.environ, **more}


def test_a_daemon_is_started_once_and_ended():
    assert launch.health() is None
    assert launch.stop() is False
    launch.ensure(SERVE, env())
    first = running()
    launch.ensure(SERVE, env())
    assert running() == first
    found = launch.health()
    assert found
    assert (found["version"], found["state"], found["pid"]) == (__version__, "absent", first)
    assert launch.stop() is True
    assert running() is None
    assert not socket_path().exists()
    assert first and not psutil.pid_exists(first)


def test_it_outlives_who_started_it_and_holds_nothing_of_theirs(tmp_path: Path):
    code = "import sys, os; from lfm_daemon.launch import start; start(sys.argv[1:], os.environ)"
    starter = subprocess.run(
        [sys.executable, "-c", code, *SERVE], cwd=tmp_path, capture_output=True, timeout=30
    )  # which would not return if the daemon held its stdout
    assert starter.returncode == 0, starter.stderr
    pid = running()
    assert pid
    process = psutil.Process(pid)
    assert process.cwd() == "/"
    assert os.getsid(pid) == pid
    assert process.ppid() != os.getpid()


def test_an_older_one_is_replaced(tmp_path: Path):
    """One that tells another version is ended by who needs a newer one."""
    code = (
        "import lfm2audio_mlx; lfm2audio_mlx.__version__ = '0.0.1'\n"
        "from lfm_daemon.server import Settings, serve; serve(Settings(keep_alive=300))"
    )
    launch.start([sys.executable, "-c", code], env())
    old = running()
    found = launch.health()
    assert found and found["version"] == "0.0.1"
    launch.ensure(SERVE, env())
    found = launch.health()
    assert found and found["version"] == __version__
    assert found["pid"] != old


def test_one_that_ends_at_once_is_told(home: Path):
    with pytest.raises(DaemonError, match=r"ended at once.*daemon\.log"):
        launch.start([sys.executable, "-c", "raise SystemExit(1)"], env())
    with pytest.raises(DaemonError, match="cannot be started"):
        launch.start([str(home / "nothing")], env())


def test_one_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launch, "START_SECONDS", 0.5)
    process = [sys.executable, "-c", "import time; time.sleep(5)"]
    begun = time.monotonic()
    with pytest.raises(DaemonError, match="does not answer"):
        launch.start(process, env())
    assert time.monotonic() - begun < 3


def test_eight_that_start_at_once_are_one(home: Path):
    code = "import sys, os; from lfm_daemon.launch import ensure; ensure(sys.argv[1:], os.environ)"
    racers = [subprocess.Popen([sys.executable, "-c", code, *SERVE]) for _ in range(8)]
    assert [racer.wait(60) for racer in racers] == [0] * 8
    told = ["pid", "cmdline", "environ"]  # nothing of processes that are another user's
    serving = [p.info for p in psutil.process_iter(told, {}) if p.info["cmdline"] == SERVE]
    here = [each["pid"] for each in serving if each["environ"].get("LFM_HOME") == str(home)]
    assert here == [running()]
    assert log_path().read_text("utf-8").count(" serves\n") == 1


def test_one_that_another_forestalled_goes(tmp_path: Path):
    """Else it would be the daemon as soon as the other has ended."""
    late = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        "import sys, os; from lfm_daemon.launch import start\n"
        f"start([sys.executable, '-c', {'import os, time; ' + late!r}], os.environ)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code])
    soon(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    launch.start(SERVE, env())
    assert starter.wait(30) == 0
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_who_comes_while_one_ends_has_the_next():
    """As after an upgrade, where the old one answers what is under way before it goes."""
    launch.start(SERVE, env())
    with ending(3.0) as old:
        launch.ensure(SERVE, env())
        assert running() not in (None, old)


def test_ending_lets_what_is_under_way_end():
    from lfm2audio_mlx.installed import EMBEDDED, NANO
    from lfm_daemon.client import Daemon

    launch.start(SERVE, env())
    code = (
        "from pathlib import Path; from lfm_daemon.client import Daemon\n"
        f"sounds = Daemon(Path({str(EMBEDDED)!r}), {NANO!r}).say('turn on the kitchen light')\n"
        "next(sounds); print('speaks', flush=True)\n"
        "print(sum(len(sound.samples) for sound in sounds) > 10_000)"
    )
    Daemon(EMBEDDED, NANO)
    client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert client.stdout and client.stdout.readline() == "speaks\n"
    launch.stop()
    assert client.communicate()[0] == "True\n"
    assert running() is None


def test_the_log_is_private_and_has_lines_that_programs_can_read():
    launch.start(SERVE, env())
    ask("POST", "/api/load", {"model": "nano"})
    launch.stop()
    assert log_path().stat().st_mode & 0o777 == 0o600
    assert log_path().parent.stat().st_mode & 0o777 == 0o700
    lines = log_path().read_text("utf-8").splitlines()
    assert all(line[10] == "T" and line[23] == "Z" for line in lines), json.dumps(lines)
    assert lines[0].split(" ")[1:3] == ["INFO", "lfm"]


def test_one_that_is_idle_takes_no_time(home: Path):
    launch.start(SERVE, env())
    process = psutil.Process(running())
    time.sleep(0.5)
    before = process.num_ctx_switches().voluntary
    time.sleep(2)
    assert process.num_ctx_switches().voluntary - before <= 2
