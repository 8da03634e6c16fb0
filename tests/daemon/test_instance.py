"""One daemon a user, however many begin at once and however they end."""

import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from workbench import python

from lfm2audio_mlx.errors import DaemonError
from lfm_daemon.instance import claimed, connected, held, running
from lfm_daemon.paths import lock_path, private, run_folder, socket_path

HOLDS = """
import sys
from lfm_daemon.instance import claimed
with claimed() as listener:
    listener.listen()
    print("holds", flush=True)
    sys.stdin.read()
"""
RACES = """
import sys, time
from lfm2audio_mlx.errors import DaemonError
from lfm_daemon.instance import claimed
print("here", flush=True)
sys.stdin.readline()
try:
    with claimed() as listener:
        listener.listen()
        print("won", flush=True)
        sys.stdin.read()
except DaemonError as error:
    print(error, flush=True)
"""


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Another process that is the daemon."""
    with python(HOLDS, stdin=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == "holds\n"
        yield process
        process.kill()


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_the_socket_is_one_user_s_from_its_first_moment(
    umask: int, monkeypatch: pytest.MonkeyPatch
):
    """As it is bound, and not only once somebody has looked after it."""
    modes: list[int] = []

    class Watched(socket.socket):
        def bind(self, address: str) -> None:  # type: ignore[override]
            super().bind(address)
            modes.append(stat.S_IMODE(os.lstat(address).st_mode))

    monkeypatch.setattr(socket, "socket", Watched)
    private(run_folder())
    before = os.umask(umask)
    try:
        with claimed():
            assert modes == [0o600]
            assert stat.S_IMODE(lock_path().stat().st_mode) & 0o077 == 0
            assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_its_folder_is_one_user_s():
    private(run_folder()).chmod(0o777)
    with claimed():
        assert stat.S_IMODE(run_folder().stat().st_mode) == 0o700


def test_nobody_is_let_in_before_it_listens():
    with claimed():
        assert running() is None
        with pytest.raises(DaemonError, match=r"^no daemon runs$"):
            connected(timeout=1.0)


def test_whoever_holds_it_is_known_while_it_does():
    assert running() is None
    with claimed() as listener:
        listener.listen()
        assert running() == os.getpid()
        connected(timeout=1.0).close()
    assert running() is None
    assert not socket_path().exists()


def test_it_can_be_held_again_and_again():
    (private(run_folder()) / "lock").write_text("an earlier one, of a longer number\n")
    for _ in range(3):
        with claimed() as listener:
            listener.listen()
            assert lock_path().read_text() == f"{os.getpid()}\n"


def test_a_socket_goes_also_when_something_fails():
    with pytest.raises(ZeroDivisionError), claimed():
        raise ZeroDivisionError
    assert not socket_path().exists()


def test_a_second_one_is_refused_and_does_not_disturb_the_first(holder: subprocess.Popen[str]):
    for _ in range(2):
        with pytest.raises(DaemonError, match="a daemon runs already"), claimed():
            raise AssertionError
        assert running() == holder.pid
        connected(timeout=1.0).close()


def test_of_eight_that_begin_at_once_one_wins():
    with ExitStack() as stack:
        racers = [stack.enter_context(python(RACES, stdin=subprocess.PIPE)) for _ in range(8)]
        for each in racers:
            assert each.stdout and each.stdout.readline() == "here\n"
        for each in racers:
            assert each.stdin
            each.stdin.write("go\n")
            each.stdin.flush()
        told = {each.pid: each.stdout.readline() for each in racers if each.stdout}
        winners = [pid for pid, line in told.items() if line == "won\n"]
        assert len(winners) == 1 and running() == winners[0]
        assert sum("a daemon runs already" in line for line in told.values()) == 7
        for each in racers:
            each.communicate(timeout=10)
    assert not socket_path().exists()


def test_what_a_killed_one_left_is_no_hindrance(holder: subprocess.Popen[str]):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert socket_path().is_socket() and lock_path().exists()
    assert running() is None
    with claimed() as listener:
        listener.listen()
        assert running() == os.getpid()
    assert not socket_path().exists()


def test_who_only_looks_keeps_nobody_from_it():
    assert not held()
    private(run_folder())
    lock_path().touch()
    assert not held()
    with lock_path().open() as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (looked_at, fcntl.LOCK_UN)).start()
        with claimed():
            assert held() and held()
    assert not held()


def test_a_process_that_it_starts_does_not_hold_it_any_longer():
    """As a worker that outlives it by a moment."""
    with claimed():
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with claimed():
            pass
    finally:
        child.kill()
        child.wait()


def test_a_long_path_is_as_good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LFM_HOME", str(tmp_path / ("long" * 30)))
    try:
        with claimed() as listener:
            listener.listen()
            assert running() == os.getpid()
    finally:
        lock_path().unlink()
        run_folder().rmdir()


def test_what_stands_in_the_socket_s_place_is_told():
    (private(run_folder()) / "lfm.sock").mkdir()
    with pytest.raises(DaemonError, match=r"lfm\.sock"), claimed():
        raise AssertionError


def test_a_lock_that_cannot_be_written_is_told():
    (private(run_folder()) / "lock").mkdir()
    message = rf"lock: cannot be written: {os.strerror(errno.EISDIR)}"
    with pytest.raises(DaemonError, match=message), claimed():
        raise AssertionError
