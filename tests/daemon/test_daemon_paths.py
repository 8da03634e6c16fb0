"""The daemon's folders: one user's alone, and short enough for a socket."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from workbench import NOBODY, as_root

from lfm2audio_mlx.errors import DaemonError
from lfm_daemon.paths import (
    LONGEST_SOCKET,
    lock_path,
    log_path,
    private,
    run_folder,
    socket_path,
    spool_folder,
)


@pytest.fixture(params=[0, 0o022, 0o077, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_all_of_it_is_in_the_home(home: Path):
    assert run_folder() == home / "run"
    assert socket_path() == home / "run" / "lfm.sock"
    assert (lock_path(), spool_folder()) == (home / "run" / "lock", home / "run" / "spool")
    assert log_path() == home / "logs" / "daemon.log"


@pytest.mark.parametrize("more", [-1, 0, 1, 100, 3000])
@pytest.mark.parametrize("letter", ["a", "ü"])
def test_a_socket_s_path_is_short_however_long_the_home_s(
    more: int, letter: str, monkeypatch: pytest.MonkeyPatch
):
    """In bytes, which is what the system counts."""
    room = LONGEST_SOCKET - len("/x/run/lfm.sock") + more
    count, rest = divmod(room, len(os.fsencode(letter)))
    home = f"/x{'y' * rest}{letter * count}"
    monkeypatch.setenv("LFM_HOME", home)
    path = socket_path()
    assert len(os.fsencode(path)) <= LONGEST_SOCKET
    assert path.is_relative_to(home) == (more <= 0)
    assert socket_path() == path
    assert lock_path().parent == spool_folder().parent == path.parent


def test_a_path_of_the_greatest_length_can_be_bound(tmp_path: Path):
    name = "s" * (LONGEST_SOCKET - len(os.fsencode(tmp_path)) - 1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / name))


def test_long_homes_have_sockets_of_their_own(monkeypatch: pytest.MonkeyPatch):
    found: set[Path] = set()
    for number in range(20):
        monkeypatch.setenv("LFM_HOME", f"/{'long/' * 30}{number}")
        found.add(socket_path())
    assert len(found) == 20
    assert all(str(os.getuid()) in str(path) for path in found)


def test_a_folder_is_made_for_one_user_whatever_the_umask(tmp_path: Path, umask: int):
    folder = tmp_path / "above" / "that" / "run"
    if umask == 0o277 and os.geteuid() != 0:  # the folders above are made so that nobody may write
        with pytest.raises(DaemonError, match="cannot be made"):
            private(folder)
        return
    assert private(folder) == folder and folder.is_dir()
    assert mode(folder) == 0o700
    assert private(folder) == folder


def test_a_new_folder_is_nobody_else_s_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Path, "chmod", None)
    assert mode(private(tmp_path / "run")) == 0o700


@pytest.mark.parametrize("loose", [0o777, 0o755, 0o710, 0o500, 0])
def test_a_mode_is_put_right(tmp_path: Path, loose: int):
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(loose)
    assert mode(private(folder)) == 0o700


def test_a_link_is_refused_and_what_it_leads_to_left_alone(tmp_path: Path):
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir(mode=0o755)
    link.symlink_to(elsewhere)
    with pytest.raises(DaemonError, match=r"run: is not a folder of yours; remove it"):
        private(link)
    assert mode(elsewhere) == 0o755


def test_a_link_to_nowhere_is_refused(tmp_path: Path):
    (tmp_path / "run").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DaemonError, match="run: cannot be made: File exists"):
        private(tmp_path / "run")


def test_a_file_is_refused(tmp_path: Path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(DaemonError, match="run: cannot be made: File exists"):
        private(tmp_path / "run")
    with pytest.raises(DaemonError, match="below: cannot be made: "):
        private(tmp_path / "run" / "below")


@as_root
def test_another_user_s_folder_is_refused_and_left_alone(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(DaemonError, match="is not a folder of yours"):
        private(folder)
    assert mode(folder) == 0o755


def test_a_place_that_cannot_be_written_to_is_told():
    with pytest.raises(DaemonError, match=r"^/proc/run: cannot be made: "):
        private(Path("/proc/run"))
