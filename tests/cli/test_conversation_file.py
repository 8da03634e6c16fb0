"""The file of conversations: who can read it, where it is, and what is wrong with it."""

import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import keeping
import pytest
from keeping import exchange, fails, noise

from lfm2audio_mlx.results import Exchange
from lfm_cli import conversations
from lfm_cli.conversations import Kept

home = keeping.home


def test_only_its_owner_can_read_it(home: Path):
    before = os.umask(0)
    try:
        home.parent.chmod(0o755)
        home = home / "deep" / "in"
        os.environ["LFM_HOME"] = str(home)  # the fixture puts it back
        conversations.create("a", "nano", "")
        conversations.append("a", exchange())
    finally:
        os.umask(before)
    path = conversations.conversations_path()
    assert path.parent == home
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (home, home.parent, home.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.parents[2].stat().st_mode) == 0o755


def test_it_is_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("LFM_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    path = conversations.conversations_path()
    assert path.name == "conversations.db"
    assert path.parent.name == "lfm2audio-mlx"
    assert path.is_relative_to(tmp_path)


def test_looking_makes_no_file(home: Path):
    assert conversations.listed() == []
    fails(lambda: conversations.load("a"), "no conversation 'a'")
    fails(lambda: conversations.append("a", exchange()), "no conversation 'a'")
    assert not home.exists()


def test_an_empty_file_is_a_new_one():
    """What is left when a process dies before the first conversation is in the file."""
    path = conversations.conversations_path()
    path.parent.mkdir()
    path.touch()
    assert conversations.listed() == []
    conversations.create("a", "nano", "")
    assert [saved.name for saved in conversations.listed()] == ["a"]


def test_a_file_that_another_process_lays_out_meanwhile_will_do():
    path = conversations.conversations_path()
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(conversations.create, "a", "nano", "")
            time.sleep(0.3)
            for statement in conversations.TABLES.split(";\n"):
                other.execute(statement)
            other.execute(f"PRAGMA user_version = {conversations.LAYOUT}")
            assert not waiting.done()
            other.execute("COMMIT")
            waiting.result(timeout=20)
    assert conversations.find("a").exchanges == 0


def test_a_folder_with_odd_characters_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LFM_HOME", str(tmp_path / "a?b#c%20d é"))
    conversations.create("a", "nano", "")
    assert conversations.find("a").name == "a"
    assert (tmp_path / "a?b#c%20d é" / "conversations.db").stat().st_size


def filled() -> Path:
    conversations.create("a", "nano", "")
    for seed in range(4):
        sound = (noise(20_000, seed), 16_000)
        conversations.append("a", Kept(Exchange(("Hm", sound), (1,)), "", sound))
    return conversations.conversations_path()


def everything() -> None:
    conversations.listed()
    conversations.load("a")


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("no database at all, but long enough to be one" * 9),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "head": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "tables": lambda path: change(path, "DROP TABLE said"),
    "answer": lambda path: change(path, "UPDATE exchanges SET answer = '[1, [2'"),
    "number": lambda path: change(path, "UPDATE exchanges SET answer = '3'"),
    "flac": lambda path: change(path, "UPDATE exchanges SET sound = x'664c6143'"),
    "none": lambda path: change(path, "UPDATE exchanges SET sound = NULL"),
    "zlib": lambda path: change(path, "UPDATE said SET samples = x'00' WHERE words IS NULL"),
    "part": lambda path: change(path, "UPDATE said SET words = NULL, samples = NULL"),
    "bytes": lambda path: change(path, "UPDATE conversations SET system = CAST(x'ff' AS TEXT)"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_gets_one_line(name: str):
    path = filled()
    everything()
    DAMAGE[name](path)
    fails(everything, str(path), "damaged")


def test_sound_with_a_wrong_byte_is_damaged():
    path = filled()
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 200):
        data[place] ^= 255
    path.write_bytes(data)
    fails(everything, str(path), "damaged")


def test_another_layout_gets_one_line():
    path = filled()
    change(path, "PRAGMA user_version = 2")
    for act in (everything, lambda: conversations.create("b", "nano", "")):
        fails(act, str(path), "a newer `lfm` made it (layout 2, this one knows 1)", "update")


def test_a_file_of_something_else_is_left_alone():
    path = conversations.conversations_path()
    path.parent.mkdir()
    change(path, "CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    for act in (everything, lambda: conversations.create("b", "nano", "")):
        fails(act, str(path), "is not a file of conversations")
    assert path.read_bytes() == before


def test_a_file_that_is_none_gets_one_line(home: Path):
    path = conversations.conversations_path()
    path.mkdir(parents=True)
    fails(conversations.listed, str(path), "cannot be opened")
    fails(lambda: conversations.create("a", "nano", ""), str(path), "cannot be written")
    path.rmdir()
    home.rmdir()
    home.write_text("a file")
    assert conversations.listed() == []
    fails(lambda: conversations.create("a", "nano", ""), str(path), "cannot be written")


@pytest.mark.usefixtures("unprivileged")
def test_a_file_without_permission_gets_one_line(home: Path):
    path = filled()
    path.chmod(0o400)
    everything()
    fails(lambda: conversations.append("a", exchange()), str(path), "cannot be written")
    path.chmod(0)
    fails(everything, str(path), "cannot be opened")
    path.chmod(0o600)
    home.chmod(0o500)  # there is no place for a journal
    everything()
    fails(lambda: conversations.append("a", exchange()), str(path), "cannot be")
    home.chmod(0)
    fails(everything, str(path), "cannot be opened")
    home.chmod(0o700)


def test_a_full_disk_gets_one_line_and_keeps_what_there_was():
    """SQLite's own limit of pages stands in for the disk's."""
    path = filled()
    code = """
import sqlite3, sys
connect = sqlite3.connect
def limited(*arguments, **options):
    db = connect(*arguments, **options)
    db.execute("PRAGMA max_page_count = 1")  # what there is, and no more
    return db
sqlite3.connect = limited
import numpy as np
from lfm2audio_mlx.errors import RequestError
from lfm_cli import conversations
from lfm2audio_mlx.results import Exchange
sound = (np.random.default_rng(0).normal(0, 0.1, 90_000).astype(np.float32), 16_000)
try:
    conversations.append("a", conversations.Kept(Exchange((sound,), ()), "", sound))
except RequestError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == (f"{path}: cannot be written: the disk is full\n", "")
    assert conversations.find("a").exchanges == 4
    everything()
