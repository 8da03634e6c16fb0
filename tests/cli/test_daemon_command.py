"""`lfm serve`, `lfm daemon`, `lfm ps`, `lfm stop`, and how the other commands use the daemon."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lfm2audio_mlx.installed import EMBEDDED
from lfm_daemon.instance import running
from lfm_daemon.launch import health, stop
from lfm_daemon.paths import log_path, run_folder, socket_path

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH, SAID = RECORDINGS / "seen_00.wav", "alarm set for five thirty"
Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]


@pytest.fixture(autouse=True)
def with_daemon(home: Path, no_daemon: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands use a daemon here, and none stays."""
    monkeypatch.delenv("LFM_DAEMON")
    yield
    stop()


@pytest.fixture
def served() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`lfm serve ARGUMENTS...`, ready."""
    processes: list[subprocess.Popen[str]] = []

    def serve(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "lfm_cli", "serve", "--json", *arguments]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        assert processes[-1].stdout
        processes[-1].stdout.readline()
        return processes[-1]

    yield serve
    for process in processes:
        process.kill()
        process.communicate()


def jobs() -> list[str]:
    """What the daemon has done, by its log."""
    return re.findall(r"job \d+ (\w+): (?!.*load)", log_path().read_text("utf-8"))


def work() -> list[str]:
    return [job for job in jobs() if job != "load"]


# How the other commands use it


def test_the_first_command_starts_it_and_the_next_uses_it(lfm: Run):
    assert running() is None
    assert lfm("transcribe", SPEECH).stdout.strip() == SAID
    first = running()
    assert first
    assert lfm("transcribe", SPEECH).stdout.strip() == SAID
    assert running() == first
    assert work() == ["spans", "spans"]


def test_each_command_gives_the_same_with_and_without(lfm: Run, tmp_path: Path):
    commands: list[list[object]] = [
        ["transcribe", SPEECH, "-f", "srt"],
        ["transcribe", SPEECH, RECORDINGS / "seen_10.flac"],
        ["transcribe", SPEECH, "--json"],
        ["classify", SPEECH, "-l", "alarm set,lights off", "--json"],
        ["ask", SPEECH, "what is it?"],
        ["chat", "--once", SPEECH, "--no-audio", "--seed", "3"],
    ]
    for command in commands:
        resident, own = lfm(*command), lfm(*command, "--no-daemon")
        assert (resident.stdout, resident.returncode) == (own.stdout, own.returncode), command
        assert resident.stdout
    for name, option in (("a", "--daemon"), ("b", "--no-daemon")):
        spoken = lfm("say", "lights off", "-o", f"{name}.wav", "--seed", "3", option)
        assert spoken.returncode == 0
        answered = lfm("chat", "--once", SPEECH, "-o", f"{name}c.wav", "--seed", "3", option)
        assert answered.returncode == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert (tmp_path / "ac.wav").read_bytes() == (tmp_path / "bc.wav").read_bytes()
    assert len(work()) == 9  # two recordings are two jobs


def test_stdin_and_a_pipe_go_through_it(lfm: Run):
    data = SPEECH.read_bytes()
    command = [sys.executable, "-m", "lfm_cli", "-q", "transcribe", "-"]
    assert subprocess.run(command, input=data, capture_output=True).stdout.decode().strip() == SAID
    script = f"{sys.executable} -m lfm_cli -q transcribe <(cat {SPEECH})"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == SAID
    assert work() == ["spans", "spans"]


@pytest.mark.parametrize("how", ["option", "variable", "configuration", "section"])
def test_it_can_be_done_without(lfm: Run, how: str):
    if how == "configuration":
        lfm("config", "daemon", "false")
    elif how == "section":
        lfm("config", "transcribe.daemon", "false")
    options = ["--no-daemon"] if how == "option" else []
    env = {"LFM_DAEMON": "off"} if how == "variable" else {}
    assert lfm("transcribe", SPEECH, *options, env=env).stdout.strip() == SAID
    assert running() is None


def test_where_none_can_be_had_the_command_works_alone_and_says_so(home: Path, tmp_path: Path):
    (home / "run").write_text("in the way")
    command = [sys.executable, "-m", "lfm_cli", "transcribe", str(SPEECH)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout.strip()) == (0, SAID)
    assert "it goes without" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_model_that_is_at_fault_is_told_as_ever(lfm: Run, home: Path):
    broken = home / "models" / "broken"
    broken.mkdir(parents=True)
    (broken / "config.json").write_text("{}")
    resident = lfm("transcribe", SPEECH, "-m", "broken")
    own = lfm("transcribe", SPEECH, "-m", "broken", "--no-daemon")
    assert (resident.returncode, resident.stderr) == (own.returncode, own.stderr)
    assert resident.returncode == 3
    assert lfm("transcribe", SPEECH).stdout.strip() == SAID


def test_a_worker_that_dies_in_the_middle_is_exit_code_4(lfm: Run, tmp_path: Path):
    lfm("daemon", "start")
    text = "turn on the kitchen light. " * 50
    command = [sys.executable, "-m", "lfm_cli", "-q", "say", text, "-o", "long.wav"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=tmp_path, stderr=pipe, text=True)
    wait_until(lambda: (health() or {})["state"] == "busy")
    (model,) = json.loads(lfm("ps", "--json").stdout)["models"]
    assert model["name"] == "nano"
    for worker in psutil.Process(running()).children():
        worker.kill()
    told = process.communicate()[1]
    assert process.returncode == 4
    assert "process that computes died" in told and "SIGKILL" in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())
    assert lfm("transcribe", SPEECH).stdout.strip() == SAID


def test_ctrl_c_frees_it(lfm: Run, tmp_path: Path):
    text = "turn on the kitchen light. " * 50
    command = [sys.executable, "-m", "lfm_cli", "-q", "say", text, "-o", "long.wav"]
    process = subprocess.Popen(command, cwd=tmp_path)
    wait_until(lambda: (health() or {"state": ""})["state"] == "busy")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    wait_until(lambda: (health() or {})["state"] == "ready")


def test_the_models_name_in_a_variable_is_not_the_daemons(lfm: Run, converted: dict[str, Path]):
    """What one command asks for is not what others get."""
    lfm("transcribe", SPEECH, env={"LFM_MODEL": str(converted["v1"])})
    answer = subprocess.run(
        ["curl", "-s", "--unix-socket", socket_path(), "http://lfm/api/load", "-d", "{}"],
        capture_output=True,
        text=True,
    )
    assert "no model is installed" in answer.stdout


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# Its own commands


def test_a_life(lfm: Run, document: Document):
    told = document(lfm("daemon", "status", "--json").stdout)
    assert (told["running"], told["socket"]) == (False, str(socket_path()))
    none = lfm("daemon")
    assert none.returncode == 4
    assert "lfm daemon start" in none.stderr
    assert document(lfm("daemon", "start", "--json").stdout)["running"]
    first = running()
    assert lfm("daemon", "start").returncode == 0
    assert running() == first
    assert str(first) in lfm("daemon", "status").stdout
    assert lfm("daemon", "socket").stdout.strip() == str(socket_path())
    assert document(lfm("daemon", "restart", "--json").stdout)["pid"] != first
    assert not document(lfm("daemon", "stop", "--json").stdout)["running"]
    assert lfm("daemon", "stop").returncode == 4


def test_the_model_in_memory(lfm: Run, document: Document):
    assert document(lfm("ps", "--json").stdout)["models"] == []
    lfm("transcribe", SPEECH)
    (model,) = document(lfm("ps", "--json").stdout)["models"]
    assert model["name"] == "nano"
    assert model["device"] in ("cpu", "gpu")
    size = sum(path.stat().st_size for path in EMBEDDED.iterdir())
    assert model["size"] == size < model["memory"]
    assert 290 < model["until"] <= 300
    (line,) = [line for line in lfm("ps").stdout.splitlines() if line.startswith("nano")]
    assert "4 min" in line or "5 min" in line
    assert document(lfm("stop", "--json").stdout)["models"] == []
    assert document(lfm("ps", "--json").stdout)["models"] == []
    assert running()
    assert lfm("stop").returncode == 0


@pytest.mark.parametrize(("time_", "until"), [("90s", 90.0), ("-1", None)])
def test_how_long_it_stays_is_told_at_the_start(lfm: Run, time_: str, until: float | None):
    lfm("daemon", "start", f"--keep-alive={time_}")
    lfm("transcribe", SPEECH)
    (model,) = json.loads(lfm("ps", "--json").stdout)["models"]
    assert model["until"] == (None if until is None else pytest.approx(until, abs=5))


def test_how_long_it_stays_may_be_configured(lfm: Run):
    lfm("config", "serve.keep-alive", "1h")
    lfm("transcribe", SPEECH)
    (model,) = json.loads(lfm("ps", "--json").stdout)["models"]
    assert 3500 < model["until"] <= 3600


@pytest.mark.parametrize("command", [("daemon", "start"), ("daemon", "restart"), ("serve",)])
def test_a_time_that_is_none_is_refused(lfm: Run, command: tuple[str, ...]):
    refused = lfm(*command, "--keep-alive", "soon")
    assert refused.returncode == 1
    assert "soon" in refused.stderr
    assert running() is None


def test_the_log_is_shown(lfm: Run, document: Document):
    assert lfm("daemon", "logs").returncode == 4
    lfm("transcribe", SPEECH)
    shown = lfm("daemon", "logs").stdout.splitlines()
    assert shown == log_path().read_text("utf-8").splitlines()
    assert lfm("daemon", "logs", "-n", "1").stdout.splitlines() == shown[-1:]
    entries = [document(line) for line in lfm("daemon", "logs", "--json").stdout.splitlines()]
    assert entries[0]["level"] == "INFO"
    assert "serves" in entries[0]["message"]
    assert SAID.split()[0] not in "".join(shown)


def test_the_log_is_followed_into_the_next_file(lfm: Run):
    lfm("daemon", "start")
    command = [sys.executable, "-m", "lfm_cli", "daemon", "logs", "-f", "-n", "0"]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert follower.stdout
    time.sleep(1.5)
    with log_path().open("a") as log:
        log.write("now\n")
    assert follower.stdout.readline() == "now\n"
    log_path().rename(log_path().with_suffix(".1"))
    log_path().write_text("anew\n")
    assert follower.stdout.readline() == "anew\n"
    follower.send_signal(signal.SIGINT)
    assert follower.wait(5) == 130
    follower.stdout.close()


def test_serving_in_the_foreground_ends_with_ctrl_c(served: Callable[..., subprocess.Popen[str]]):
    process = served()
    assert running() == process.pid
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    told = process.communicate()[1]
    assert "serves" in told and "ends" in told
    assert "Traceback" not in told
    assert not socket_path().exists()


def test_a_second_one_is_refused(lfm: Run, served: Callable[..., subprocess.Popen[str]]):
    first = served()
    refused = lfm("serve")
    assert refused.returncode == 4
    assert "runs already" in refused.stderr
    assert running() == first.pid
    assert lfm("daemon", "start").returncode == 0
    assert running() == first.pid


PORTS = {
    "no token": (["--port", "8123"], 1, "token"),
    "short token": (["--port", "8123", "--token", "short"], 1, "token"),
    "open to all": (["--port", "8123", "--host", "0.0.0.0", "--token", "t" * 16], 1, "0.0.0.0"),
    "no port": (["--port", "seventy"], 2, "seventy"),
    "unknown model": (["-m", "nothing"], 3, "nothing"),
}


@pytest.mark.parametrize("case", PORTS)
def test_a_port_is_opened_to_nobody_else(lfm: Run, case: str):
    options, code, part = PORTS[case]
    refused = lfm("serve", *options)
    assert refused.returncode == code
    assert part in refused.stderr
    assert running() is None


def test_the_doctor_tells_of_it(lfm: Run, document: Document):
    def told() -> dict[str, Any]:
        checks = document(lfm("doctor", "--json").stdout)["checks"]
        return next(check for check in checks if check["name"] == "daemon")

    assert told()["state"] == "ok"
    lfm("daemon", "start")
    assert str(socket_path()) in told()["detail"]
    run_folder().chmod(0o755)
    assert (told()["state"], told()["mend"]) == ("fault", f"chmod 700 {run_folder()}")
    run_folder().chmod(0o700)
    os.kill(running() or 0, signal.SIGSTOP)
    try:
        assert told()["state"] == "fault"
    finally:
        os.kill(int((run_folder() / "lock").read_text()), signal.SIGCONT)
