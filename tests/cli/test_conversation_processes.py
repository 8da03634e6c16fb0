"""Several processes keep conversations in one file, and one of them may crash or be slow."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import keeping
import numpy as np
import pytest
from keeping import exchange, fails

from lfm_cli import conversations

home = keeping.home

MANY = """
import sys
import numpy as np
from lfm2audio_mlx.results import Exchange
from lfm_cli import conversations
name, count = sys.argv[1], int(sys.argv[2])
conversations.create(name, "nano", "")
for number in range(count):
    sound = (np.full(40_000, number / 1000, np.float32), 16_000)
    parts = (name, sound, str(number))
    conversations.append(name, conversations.Kept(Exchange(parts, (number,)), "", sound))
    print(number, flush=True)
"""


def start(name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MANY, name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def whole(name: str) -> int:
    """How many exchanges there are, all of them as they were written."""
    saved, found = conversations.load(name)
    for number, each in enumerate(found):
        first, sound, last = each.exchange.said
        assert isinstance(sound, tuple)
        samples, _ = sound
        assert (first, last, each.exchange.answer) == (name, str(number), (number,))
        assert len(samples) == 40_000
        assert np.all(samples == np.float32(number / 1000))
    assert saved.seconds == pytest.approx(5.0 * len(found))
    return len(found)


def test_processes_do_not_disturb_each_other():
    """They also make the file at the same time."""
    processes = {name: start(name, 30) for name in ("one", "two", "three", "four")}
    for process in processes.values():
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    assert [whole(name) for name in processes] == [30] * 4


def test_a_crash_leaves_whole_exchanges():
    process = start("a", 10_000)
    assert process.stdout
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    count = whole("a")
    assert count >= 5
    conversations.append("a", exchange())
    assert conversations.find("a").exchanges == count + 1


def test_who_reads_slowly_holds_up_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(conversations, "PATIENCE", 0.1)
    conversations.create("a", "nano", "")
    conversations.append("a", exchange("first"))
    conversations.append("a", exchange("second"))
    with conversations.reading("a") as (saved, found):
        assert next(found).exchange.said == ("first",)
        conversations.append("a", exchange("third"))
        assert [each.exchange.said for each in found] == [("second",)]
    assert saved.exchanges == 2
    assert conversations.find("a").exchanges == 3


def test_a_file_that_is_held_too_long_gets_one_line(monkeypatch: pytest.MonkeyPatch):
    assert conversations.PATIENCE == 10
    monkeypatch.setattr(conversations, "PATIENCE", 0.1)
    conversations.create("a", "nano", "")
    path = conversations.conversations_path()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for act in (conversations.listed, lambda: conversations.append("a", exchange())):
            fails(act, str(path), "another process holds it")
