"""Conversations are kept whole and to the bit, and removed whole, or a line says why not."""

import itertools
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import keeping
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keeping import exchange, fails, noise

from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.errors import AudioError
from lfm2audio_mlx.results import Exchange, Part
from lfm_cli import conversations
from lfm_cli.conversations import Kept

home = keeping.home

numbers = itertools.count()


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


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


# Its imports


def test_importing_loads_nothing_heavy():
    heavy = ("numpy", "soundfile", "mlx")
    code = (
        "import sys; from lfm_cli import chats, conversations; conversations.listed()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
