"""A socket that is handed over: taken as it is, left where it is, served like any other."""

import ctypes
import errno
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from workbench import ending, soon

from lfm2audio_mlx import __version__
from lfm2audio_mlx.errors import DaemonError
from lfm2audio_mlx.installed import EMBEDDED, NANO
from lfm_daemon import activation, launch
from lfm_daemon.activation import handed_over
from lfm_daemon.client import Daemon
from lfm_daemon.instance import claimed, held, listening, running
from lfm_daemon.paths import lock_path, log_path, private, run_folder, socket_path

RECORDING = Path(__file__).parents[1] / "data" / "recordings" / "seen_00.wav"
SAID = "alarm set for five thirty"
ACTIVATOR = Path(__file__).with_name("activator.py")
SERVE = [sys.executable, "-P", "-m", "lfm_cli", "serve", "--detached"]
Keep = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    """Has the socket kept by another process, which starts a daemon at the first connection."""
    keepers: list[subprocess.Popen[str]] = []

    def begin(command: list[str] = SERVE, place: Path | None = None) -> subprocess.Popen[str]:
        private(run_folder())
        private(log_path().parent)
        about = {
            "command": command,
            "environment": {},
            "socket": str(place or socket_path()),
            "log": str(log_path()),
        }
        (tmp_path / "about.json").write_text(json.dumps(about))
        arguments = [sys.executable, str(ACTIVATOR), str(tmp_path / "about.json")]
        keepers.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
        output = keepers[-1].stdout
        assert output and output.readline() == "listens\n"
        return keepers[-1]

    yield begin
    for keeper in keepers:
        keeper.terminate()
        keeper.communicate()
    launch.stop()


# For real


def test_the_first_connection_starts_it_and_is_served(keep: Keep):
    keeper = keep()
    assert running() is None and not held()
    assert psutil.Process(keeper.pid).children() == []
    launch.ensure(["/nothing/that/could/be/started"], {})
    pid = running()
    assert pid and psutil.Process(pid).ppid() == keeper.pid
    daemon = Daemon(EMBEDDED, NANO)
    assert daemon.hear(RECORDING).text == SAID
    assert running() == pid


def test_who_only_looks_starts_nothing(keep: Keep):
    keeper = keep()
    for _ in range(3):
        assert (launch.health(), running(), launch.stop()) == (None, None, False)
    time.sleep(0.5)  # for who would start it
    assert psutil.Process(keeper.pid).children() == []


def test_the_socket_stays_and_the_next_connection_starts_the_next(keep: Keep):
    keep()
    launch.ensure([], {})
    first = running()
    inode = socket_path().stat().st_ino
    assert launch.stop()
    assert socket_path().stat().st_ino == inode and listening()
    # `listening` has connected, which starts it as well.
    soon(running)
    assert running() != first
    assert launch.health()


def test_who_comes_while_one_ends_has_the_next(keep: Keep):
    """Though that takes longer than a daemon may that is only looked at."""
    keep()
    launch.ensure([], {})
    with ending(launch.HEALTH_SECONDS + 1) as old:
        launch.ensure([], {})
        assert running() not in (None, old)


def test_one_that_crashed_leaves_no_number_that_could_be_ended(keep: Keep):
    keeper = keep(["/bin/sh", "-c", "kill -9 $$"])
    keeper.kill()
    keeper.wait()
    lock_path().write_text(f"{os.getpid()}\n")
    assert running() is None
    assert launch.stop() is False


def test_one_that_ended_leaves_no_number_either(keep: Keep):
    keep()
    launch.ensure([], {})
    assert lock_path().read_text() == f"{running()}\n"
    launch.stop()
    assert lock_path().read_text() == ""


def test_another_version_that_was_installed_is_started_in_place_of_the_old(keep: Keep):
    """As after an upgrade: the same path leads to a new program."""
    code = (
        "import lfm2audio_mlx, os; lfm2audio_mlx.__version__ = os.environ.get('STATED', '0.0.1')\n"
        "from lfm_daemon.server import Settings, serve\n"
        "serve(Settings(keep_alive=300, foreground=False))"
    )
    program = run_folder().parent / "program"
    private(run_folder())
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    keep([str(program)])
    with pytest.raises(DaemonError, match=r"version 0\.0\.1, and this is .*`lfm daemon install`"):
        launch.ensure([], {})
    found = launch.health()
    assert found and found["version"] == "0.0.1"
    program.write_text(program.read_text().replace("'0.0.1'", repr(__version__)))
    launch.ensure([], {})
    found = launch.health()
    assert found and found["version"] == __version__


def test_a_program_that_ends_at_once_is_told(keep: Keep, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launch, "START_SECONDS", 1.0)
    keep([sys.executable, "-c", "import time; time.sleep(0.2)"])
    with pytest.raises(DaemonError, match=r"installed daemon does not start: .*log may say why"):
        launch.ensure([], {})


def test_nobody_takes_the_socket_from_who_keeps_it(keep: Keep):
    keep()
    serve = [sys.executable, "-m", "lfm_cli", "-q", "serve"]
    result = subprocess.run(serve, capture_output=True, text=True, timeout=30)
    assert result.returncode == 4
    assert "`lfm daemon uninstall`" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    launch.ensure([], {})
    assert listening()


def test_only_one_holds_it_even_where_two_were_handed_it():
    with bound(socket_path()) as one, claimed(one), bound(socket_path()) as other:
        refused(other, "runs already")


def test_it_is_one_user_s_whatever_it_was(keep: Keep):
    with bound(socket_path()) as listener:
        socket_path().chmod(0o777)
        run_folder().chmod(0o755)
        with claimed(listener) as found:
            assert found is listener
            assert stat.S_IMODE(socket_path().stat().st_mode) == 0o600
            assert stat.S_IMODE(run_folder().stat().st_mode) == 0o700
    assert socket_path().is_socket()


def test_a_socket_elsewhere_is_refused(tmp_path: Path):
    with bound(tmp_path / "s") as listener:
        refused(listener, "`lfm daemon install` mends it")
    with bound(socket_path()) as listener:
        socket_path().unlink()
        refused(listener, "`lfm daemon install` mends it")
    with bound(socket_path()), bound(tmp_path / "t") as listener:
        refused(listener, "`lfm daemon install` mends it")


def refused(listener: socket.socket, message: str) -> None:
    with pytest.raises(DaemonError, match=message), claimed(listener):
        raise AssertionError


def bound(place: Path) -> socket.socket:
    private(run_folder())
    place.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()
    return listener


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd is not here")
def test_systemd_s_own_activation_starts_it():
    private(run_folder())
    private(log_path().parent)
    names = [name for name in os.environ if name != "LISTEN_FDS"]
    command = ["systemd-socket-activate", "-l", str(socket_path())]
    command += [option for name in names for option in ("-E", name)]
    with subprocess.Popen([*command, *SERVE], stderr=subprocess.PIPE, text=True) as keeper:
        assert keeper.stderr and "Listening on" in keeper.stderr.readline()
        launch.ensure([], {})
        assert running() == keeper.pid  # it becomes what it starts
        assert Daemon(EMBEDDED, NANO).hear(RECORDING).text == SAID
        keeper.terminate()
        assert keeper.wait(10) == 0


# What is handed over


HANDED = """
import json, os, sys
from lfm_daemon.activation import handed_over
if len(sys.argv) > 1:
    os.environ["LISTEN_PID"] = str(os.getpid())
try:
    found = handed_over()
    about = found and [found.fileno(), found.getsockname(), found.get_inheritable()]
    print(json.dumps([about, [name for name in os.environ if name.startswith("LISTEN")]]))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def handed(*descriptors: socket.socket | Any, count: int | None = None, mine: bool = True) -> Any:
    """What a process sees that inherits these from number 3 on."""
    # A shell puts them in place: each goes through a number that none of them has.
    moves = [f"{20 + i}<&{d.fileno()}" for i, d in enumerate(descriptors)]
    moves += [f"{3 + i}<&{20 + i}" for i, _ in enumerate(descriptors)]
    script = f'exec {" ".join(moves)}; exec "$@"' if moves else 'exec "$@"'
    told = {"LISTEN_FDS": str(len(descriptors) if count is None else count), "LISTEN_FDNAMES": "x"}
    done = subprocess.run(
        ["bash", "-c", script, "-", sys.executable, "-c", HANDED, *(["mine"] if mine else [])],
        pass_fds=[each.fileno() for each in descriptors],
        env={**os.environ, "LISTEN_PID": "1", **told},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_it_is_the_first_after_stderr_and_nothing_of_it_is_passed_on(tmp_path: Path):
    with bound(tmp_path / "s") as listener:
        assert handed(listener) == [[3, str(tmp_path / "s"), False], []]


def test_what_was_meant_for_another_process_is_not_taken(tmp_path: Path):
    with bound(tmp_path / "s") as listener:
        assert handed(listener, mine=False) == [None, []]


@pytest.mark.parametrize("count", ["", "x", "-1", "0"])
def test_a_count_that_is_none_hands_over_nothing(count: str):
    assert handed_over({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}) is None


def test_more_or_other_things_are_refused(tmp_path: Path):
    with bound(tmp_path / "s") as one, bound(tmp_path / "t") as two:
        assert handed(one, two) == ["DaemonError", "2 sockets were handed over, and one is served"]
    with (tmp_path / "file").open("w") as file:
        assert handed(file)[0] == "DaemonError"
        assert "is no socket" in handed(file)[1]
    with socket.socket() as other:
        assert "no Unix socket" in handed(other)[1]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        assert "no Unix socket" in handed(other)[1]


# launchd


class FakeLibSystem:
    """Stands in for a Mac's libSystem, by C functions of its kind."""

    def __init__(self, fault: int, *descriptors: int):
        self.freed: list[int] = []
        self.asked: list[bytes] = []
        block = (ctypes.c_int * max(1, len(descriptors)))(*descriptors)

        def activate(name: bytes, found: Any, count: Any) -> int:
            self.asked.append(name)
            if not fault:
                found[0] = ctypes.cast(block, ctypes.POINTER(ctypes.c_int))
                count[0] = len(descriptors)
            return fault

        integers = ctypes.POINTER(ctypes.POINTER(ctypes.c_int))
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.c_char_p, integers, ctypes.POINTER(ctypes.c_size_t)
        )
        self.launch_activate_socket = kind(activate)
        self.free = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.freed.append)
        self.block = ctypes.addressof(block)


def test_launchd_is_asked_by_the_name_in_the_property_list(tmp_path: Path):
    library = FakeLibSystem(0, 7, 8)
    assert activation._from_launchd(library) == [7, 8]
    assert library.asked == [b"Listener"]
    assert library.freed == [library.block]


@pytest.mark.parametrize("fault", [errno.ESRCH, errno.ENOENT])
def test_who_was_not_started_by_launchd_has_no_socket_of_it(fault: int):
    assert activation._from_launchd(FakeLibSystem(fault)) == []


def test_a_socket_that_launchd_does_not_give_is_told():
    with pytest.raises(DaemonError, match=f"launchd .*{os.strerror(errno.EALREADY)}"):
        activation._from_launchd(FakeLibSystem(errno.EALREADY))


def test_on_a_mac_the_socket_of_launchd_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with bound(tmp_path / "s") as listener:
        library = FakeLibSystem(0, os.dup(listener.fileno()))
        monkeypatch.setattr(sys, "platform", "darwin")
        monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
        found = handed_over({})
        monkeypatch.undo()
        assert found
        with found:
            assert found.getsockname() == str(tmp_path / "s")
            assert not found.get_inheritable()


def test_elsewhere_launchd_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert handed_over({}) is None


def test_a_daemon_ends_in_peace_when_launchd_says_so(keep: Keep):
    """By SIGTERM, with exit code 0: it is no crash, and nothing starts it again."""
    keeper = keep()
    launch.ensure([], {})
    os.kill(running() or 0, signal.SIGTERM)
    soon(lambda: not psutil.Process(keeper.pid).children())
    time.sleep(0.3)
    assert psutil.Process(keeper.pid).children() == []
    assert running() is None


def test_one_that_is_killed_is_started_again_by_itself(keep: Keep):
    keep()
    launch.ensure([], {})
    first = running()
    os.kill(first or 0, signal.SIGKILL)
    soon(lambda: running() not in (None, first))
    assert launch.health()
