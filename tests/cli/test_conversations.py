"""Conversations are kept whole, privately and to the bit, or a line says why not."""

import itertools
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.errors import AudioError, RequestError
from lfm2audio_mlx.results import Exchange, Part
from lfm_cli import conversations
from lfm_cli.conversations import Kept

numbers = itertools.count()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LFM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def exchange(*said: Part, text: str = "Yes.", answer: tuple[int | tuple[int, ...], ...] = (7,)):
    return Kept(Exchange(said or ("Well?",), answer), text, None)


def fails(act: Callable[[], object], *parts: str) -> None:
    """A failure as it should be: one line that has all of `parts`."""
    with pytest.raises(RequestError) as caught:
        act()
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


# What comes back

words = st.text(st.characters(codec="utf-8"), max_size=30)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
recordings = st.tuples(
    arrays(np.float32, st.integers(0, 50), elements=floats),
    st.sampled_from([8_000, 16_000, 24_000, 44_100]),
)
token = st.integers(0, 1 << 20)
kept = st.builds(
    Kept,
    st.builds(
        Exchange,
        st.lists(words | recordings, max_size=4).map(tuple),
        st.lists(token | st.lists(token, max_size=8).map(tuple), max_size=9).map(tuple),
    ),
    words,
    st.none() | st.tuples(arrays(np.float32, st.integers(0, 50), elements=floats), st.just(24_000)),
)


def same_part(part: Part, back: Part) -> bool:
    if not isinstance(part, tuple):
        return part == back
    return (
        isinstance(back, tuple)
        and back[0].dtype == np.float32
        and np.array_equal(part[0], back[0])
        and part[1] == back[1]
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(kept, max_size=3))
def test_what_is_kept_comes_back(given: list[Kept]):
    name = f"number {next(numbers)}"
    conversations.create(name, "nano", "Respond.")
    for each in given:
        conversations.append(name, each)
    saved, found = conversations.load(name)
    assert saved.exchanges == len(found) == len(given)
    for each, back in zip(given, found, strict=True):
        assert (back.text, back.exchange.answer) == (each.text, each.exchange.answer)
        assert len(each.exchange.said) == len(back.exchange.said)
        assert all(map(same_part, each.exchange.said, back.exchange.said))
        assert (each.sound is None) == (back.sound is None)
        if each.sound and back.sound:
            assert back.sound[1] == each.sound[1]
            # 16 bits are written as multiples of 1/32767 and read as ones of 1/32768.
            expected = np.clip(each.sound[0], -1, 1)
            np.testing.assert_allclose(back.sound[0], expected, rtol=0, atol=1.5 / 32768)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(44_100,), (44_100, 1), (44_100, 2)])
def test_the_engine_hears_the_same_as_the_first_time(dtype: type, shape: tuple[int, ...]):
    said = np.random.default_rng(1).normal(0, 0.3, shape).astype(dtype)
    conversations.create("a", "nano", "")
    conversations.append("a", exchange((said, 44_100)))
    ((part,),) = (each.exchange.said for each in conversations.load("a")[1])
    assert np.array_equal(read_audio((said, 44_100), 16_000), read_audio(part, 16_000))  # type: ignore[arg-type]


def test_what_came_from_16_bits_takes_less_than_16_bits(home: Path):
    tone = np.sin(np.arange(16_000) * 0.05) * np.hanning(16_000)
    conversations.create("a", "nano", "")
    size = conversations.conversations_path().stat().st_size
    said = (np.round(tone * 32767) / 32768).astype(np.float32)
    conversations.append("a", exchange((said, 16_000)))
    assert conversations.conversations_path().stat().st_size - size < 2 * 16_000


def test_conversations_are_listed_with_what_changed_last_first(monkeypatch: pytest.MonkeyPatch):
    moments = (f"2026-01-01T00:00:{second:02}Z" for second in itertools.count())
    monkeypatch.setattr(conversations, "_now", lambda: next(moments))
    for name in ("a", "b", "c"):
        conversations.create(name, "nano", "Respond.")
    said, answered = (noise(8_000), 16_000), (noise(48_000), 24_000)
    conversations.append("a", Kept(Exchange(("Hm", said, said), ()), "", answered))
    conversations.append("a", exchange())
    listed = conversations.listed()
    assert [saved.name for saved in listed] == ["a", "c", "b"]
    assert listed[0] == conversations.find("a") == conversations.load("a")[0]
    assert listed[0] == conversations.Saved(
        "a", "nano", "Respond.", "2026-01-01T00:00:00Z", "2026-01-01T00:00:04Z", 2, 3.0
    )
    assert (listed[1].exchanges, listed[1].seconds) == (0, 0.0)


def test_the_time_is_that_of_the_clock_in_utc():
    conversations.create("a", "nano", "")
    created = datetime.fromisoformat(conversations.find("a").created)
    assert created.utcoffset() == datetime.fromisoformat("2026-01-01T00:00:00Z").utcoffset()
    assert abs(created.timestamp() - datetime.now().timestamp()) < 60


def test_exchanges_stay_in_order_and_with_their_conversation():
    for name in ("a", "b"):
        conversations.create(name, "nano", "")
    for number in range(12):
        conversations.append("ab"[number % 2], exchange(f"{number}"))
    for name, first in (("a", 0), ("b", 1)):
        said = [each.exchange.said for each in conversations.load(name)[1]]
        assert said == [(str(number),) for number in range(first, 12, 2)]


# Names


@pytest.mark.parametrize("name", ["a", "Küche, Montag", "a" * 100, "-", "a.b", "日本", "'", "%_?#"])
def test_a_name_may_be_much(name: str):
    conversations.create(name, "nano", "")
    conversations.append(name, exchange())
    assert conversations.load(name)[0].name == name
    conversations.remove(name)
    assert conversations.listed() == []


@pytest.mark.parametrize(
    "name",
    ["", "a" * 101, "a/b", ".", ".a", "a\nb", "a\0", "\x1b[2J", "\udc80", "\u202e", "🥝" * 61],
)
def test_a_name_that_cannot_be_a_files_is_none(name: str):
    fails(lambda: conversations.create(name, "nano", ""), "conversation's name")
    fails(lambda: conversations.load(name), "conversation's name")
    assert not conversations.conversations_path().exists()


def test_the_longest_names_can_be_files(tmp_path: Path):
    name = conversations.check_name("🥝" * 60)
    (tmp_path / f".{name}.wav-12345678").touch()


def test_a_name_that_is_taken_or_unknown_gets_a_hint():
    conversations.create("a", "nano", "")
    fails(lambda: conversations.create("a", "nano", ""), "'a' is kept already", "--resume")
    for act in (
        lambda: conversations.load("b"),
        lambda: conversations.find("b"),
        lambda: conversations.append("b", exchange()),
        lambda: conversations.remove("b"),
        lambda: conversations.reading("b").__enter__(),
    ):
        fails(act, "no conversation 'b' is kept; `lfm chats` lists them")


# What cannot be kept


def test_half_an_exchange_is_none(home: Path):
    """The parts of a question are written after its exchange."""
    conversations.create("a", "nano", "")
    fails(lambda: conversations.append("a", exchange("good", "bad \udc80")), "Unicode")
    saved, found = conversations.load("a")
    assert (saved.exchanges, found) == (0, [])
    fails(lambda: conversations.create("b", "nano", "\udc80"), "Unicode")


@pytest.mark.parametrize("part", [Path("a.wav"), b"RIFF", (noise(9) * np.nan, 16_000)])
def test_what_is_no_samples_is_refused(part: Part):
    conversations.create("a", "nano", "")
    with pytest.raises(AudioError):
        conversations.append("a", exchange(part))
    with pytest.raises(AudioError):
        conversations.append("a", Kept(Exchange(("Hm",), ()), "", (noise(9), 1_000_000)))
    assert conversations.load("a")[1] == []


# Removal


def test_what_is_removed_is_gone_from_the_file():
    conversations.create("stays", "nano", "")
    conversations.append("stays", exchange("these words stay"))
    conversations.create("goes", "nano", "a secret role")
    path = conversations.conversations_path()
    before = path.stat().st_size
    sound = (noise(160_000), 16_000)
    conversations.append("goes", Kept(Exchange(("a secret", sound), ()), "a secret told", sound))
    assert b"a secret told" in path.read_bytes()
    conversations.remove("goes")
    assert b"secret" not in path.read_bytes()
    assert path.stat().st_size <= before
    assert not list(path.parent.glob("conversations.db?*"))
    assert [each.exchange.said for each in conversations.load("stays")[1]] == [
        ("these words stay",)
    ]
    with closing(sqlite3.connect(path)) as db:
        for table, rows in {"conversations": 1, "exchanges": 1, "said": 1}.items():
            assert db.execute(f"SELECT count(*) FROM {table}").fetchall() == [(rows,)]


def test_a_conversation_that_is_removed_while_it_is_read_ends():
    """Even if there is another one of its name already."""
    conversations.create("a", "nano", "")
    for text in ("first", "second"):
        conversations.append("a", exchange(text))
    with conversations.reading("a") as (_, found):
        assert next(found).exchange.said == ("first",)
        conversations.remove("a")
        conversations.create("a", "nano", "")
        for text in ("another", "and one more"):
            conversations.append("a", exchange(text))
        fails(lambda: next(found), "'a' was removed while it was read")


# Other processes

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


# The file


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


def test_importing_loads_nothing_heavy():
    heavy = ("numpy", "soundfile", "mlx")
    code = (
        "import sys; from lfm_cli import chats, conversations; conversations.listed()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
