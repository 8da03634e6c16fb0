"""`lfm chats`: kept conversations are listed, shown, exported and removed."""

import json
import os
import pty
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from lfm2audio_mlx.errors import LfmError
from lfm2audio_mlx.results import Exchange, Part
from lfm_cli import conversations
from lfm_cli.chats import chats
from lfm_cli.conversations import Kept

RATE = 24_000


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LFM_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.fixture
def abroad() -> Generator[None]:
    """Three hours east of Greenwich."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "ABC-3")
        time.tzset()
        yield
    time.tzset()


def run(*arguments: object) -> str:
    """Runs `lfm chats ARGUMENTS...`, which must go well, and gives its stdout."""
    result = invoke(*arguments)
    assert result.exception is None, result.output
    assert result.stderr == ""
    return result.stdout


def fails(*arguments: object) -> str:
    """Runs what must end in an error of one line, and gives that; nothing is printed then."""
    result = invoke(*arguments)
    assert isinstance(result.exception, LfmError), result.output
    assert result.stdout == ""
    assert "\n" not in str(result.exception)
    return str(result.exception)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(chats, [str(argument) for argument in arguments])


def tone(seconds: float, rate: int = RATE, level: float = 0.25) -> tuple[np.ndarray, int]:
    """A level that goes up and down within 10 ms, so that what is resampled stays what it was."""
    samples = np.full(round(seconds * rate), level, np.float32)
    slope = np.linspace(0, 1, rate // 100, dtype=np.float32)
    samples[: len(slope)] *= slope
    samples[-len(slope) :] *= slope[::-1]
    return samples, rate


def keep(name: str, *said: Part, text: str = "", sound: tuple[np.ndarray, int] | None = None):
    if name not in [saved.name for saved in conversations.listed()]:
        conversations.create(name, "lfm2.5-audio-1.5b", "Respond.")
    conversations.append(name, Kept(Exchange(said, (1,)), text, sound))


@pytest.fixture
def kitchen() -> None:
    keep("kitchen", "Is it done?", text="Not yet.", sound=tone(1.0))
    keep("kitchen", tone(2.0, 16_000, -0.5), text="Now it is.", sound=tone(0.5, level=0.75))
    keep("kitchen", "And this:", tone(0.25, 44_100), "?", sound=tone(0.5))
    keep("kitchen", "Thanks.", text="Of course.")


# list


def test_nothing_kept_is_said_on_stderr(caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", logger="lfm_cli"):
        assert run() == ""
    assert "lfm chat --save" in caplog.text
    assert json.loads(run("--json")) == {"schema": "lfm/1", "kind": "chats", "conversations": []}


def test_conversations_are_listed(kitchen: None, abroad: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(conversations, "_now", lambda: "2026-03-04T05:06:07Z")
    conversations.create("empty one", "nano\x1b[2J", "Respond.")
    keep("kitchen", "Bye.", text="Bye.")
    head, *rows = run().splitlines()
    assert head.split() == ["NAME", "CHANGED", "EXCHANGES", "SOUND", "MODEL"]
    assert rows == [
        "empty one  2026-03-04 08:06          0      -  nano[2J",
        "kitchen    2026-03-04 08:06          5  4.2 s  lfm2.5-audio-1.5b",
    ]


def test_the_list_as_json(kitchen: None):
    document = json.loads(run("--json"))
    (kept,) = document["conversations"]
    assert (document["schema"], document["kind"]) == ("lfm/1", "chats")
    saved = conversations.find("kitchen")
    assert kept == {
        "name": "kitchen",
        "model": "lfm2.5-audio-1.5b",
        "system": "Respond.",
        "created": saved.created,
        "changed": saved.changed,
        "exchanges": 4,
        "seconds": 4.25,
    }


# show


def test_a_transcript_is_shown(kitchen: None):
    assert run("show", "kitchen").splitlines() == [
        "You: Is it done?",
        "LFM: Not yet.",
        "You: [voice, 2.0 s]",
        "LFM: Now it is.",
        "You: And this: [voice, 0.2 s] ?",
        "LFM: [voice, 0.5 s]",
        "You: Thanks.",
        "LFM: Of course.",
    ]


def test_a_transcript_as_json(kitchen: None):
    document = json.loads(run("show", "kitchen", "--json"))
    assert (document["schema"], document["kind"]) == ("lfm/1", "chat")
    assert (document["name"], document["exchanges"]) == ("kitchen", 4)
    assert document["turns"][:6] == [
        {"role": "user", "text": "Is it done?", "seconds": 0},
        {"role": "assistant", "text": "Not yet.", "seconds": 1.0},
        {"role": "user", "text": "", "seconds": 2.0},
        {"role": "assistant", "text": "Now it is.", "seconds": 0.5},
        {"role": "user", "text": "And this: ?", "seconds": 0.25},
        {"role": "assistant", "text": "", "seconds": 0.5},
    ]
    assert len(document["turns"]) == 8


def test_no_text_steers_the_terminal_or_looks_like_another_turn():
    keep("a", "\x1b]0;title\x07red\x9b31m\r\x7f", text="One\x00\b,\n\nYou: two\u2028\tthree é🥝\n")
    shown = run("show", "a")
    assert shown == ("You: ]0;titlered31m\nLFM: One,\n     \n     You: two\u2028\tthree é🥝\n")
    (user, assistant) = json.loads(run("show", "a", "--json"))["turns"]
    assert user["text"] == "]0;titlered31m"
    assert assistant["text"] == "One,\n\nYou: two\u2028\tthree é🥝"
    run("export", "a")
    assert "\x1b" not in Path("a.md").read_text("utf-8")


def test_no_answer_is_told_as_one():
    keep("a", "Well?")
    assert run("show", "a") == "You: Well?\nLFM: [nothing]\n"


# export


def sound_of(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32")
    assert (rate, samples.ndim) == (RATE, 1)
    return samples


def test_an_export_is_a_transcript_and_all_sound_in_order(kitchen: None):
    assert run("export", "kitchen") == "kitchen.md\nkitchen.wav\n"
    created = datetime.fromisoformat(conversations.find("kitchen").created).astimezone()
    text = Path("kitchen.md").read_text("utf-8")
    assert text.startswith(
        f"# kitchen\n\n{created:%Y-%m-%d %H:%M}, lfm2.5-audio-1.5b\n\n"
        "**You:** Is it done?\n\n**LFM:** Not yet.\n\n"
        "**You:** [voice, 2.0 s]\n\n**LFM:** Now it is.\n\n"
    )
    assert text.endswith("\n\n**LFM:** Of course.\n")
    samples = sound_of(Path("kitchen.wav"))
    turns = [(1.0, 0.25), (2.0, -0.5), (0.5, 0.75), (0.25, 0.25), (0.5, 0.25)]
    assert len(samples) == round((sum(each for each, _ in turns) + 4 * 0.3) * RATE)
    at = 0.0
    for number, (seconds, level) in enumerate(turns):
        if number:
            assert not samples[round((at + 0.02) * RATE) : round((at + 0.28) * RATE)].any()
            at += 0.3
        middle = samples[round((at + 0.05) * RATE) : round((at + seconds - 0.05) * RATE)]
        # What 16 bits and the resampler's ripple may change; slopes are 40 ms away.
        np.testing.assert_allclose(middle, level, atol=1e-3)
        at += seconds
    assert sorted(path.name for path in Path().iterdir()) == ["kitchen.md", "kitchen.wav"]


def test_without_sound_there_is_no_recording():
    keep("a", "Well?", text="Yes.", sound=(np.zeros(0, np.float32), RATE))
    assert run("export", "a") == "a.md\n"
    assert [path.name for path in Path().iterdir()] == ["a.md"]


def test_questions_alone_keep_their_rate():
    keep("a", "Hm", text="Yes.")
    keep("a", tone(1.0, 16_000), tone(0.5, 8_000), text="Yes.")
    run("export", "a")
    info = soundfile.info("a.wav")
    assert (info.samplerate, info.frames) == (16_000, 24_000)


def test_the_rate_is_that_of_the_first_answer_aloud():
    keep("a", tone(1.0, 16_000), text="Yes.")
    keep("a", "Hm", sound=tone(1.0))
    keep("a", "Hm", sound=tone(0.5, 44_100))
    run("export", "a")
    assert len(sound_of(Path("a.wav"))) == round((2.5 + 2 * 0.3) * RATE)


def test_an_export_goes_where_it_is_told(kitchen: None, tmp_path: Path):
    folder = tmp_path / "new" / "folder"
    assert run("export", "kitchen", "-o", folder) == (
        f"{folder / 'kitchen.md'}\n{folder / 'kitchen.wav'}\n"
    )
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("there", ["kitchen.md", "kitchen.wav"])
def test_files_that_are_there_are_replaced_when_forced(kitchen: None, there: str):
    Path(there).write_text("mine")
    message = fails("export", "kitchen")
    assert there in message
    assert "--force" in message
    assert [path.read_text() for path in Path().iterdir()] == ["mine"]
    assert run("export", "kitchen", "--force") == "kitchen.md\nkitchen.wav\n"
    assert len(sound_of(Path("kitchen.wav"))) > RATE
    assert Path("kitchen.md").read_text("utf-8").startswith("# kitchen\n")


def test_an_export_that_fails_in_the_middle_leaves_nothing(kitchen: None):
    with closing(sqlite3.connect(conversations.conversations_path())) as db, db:
        db.execute("UPDATE exchanges SET answer = '' WHERE id = 3")
    assert "damaged" in fails("export", "kitchen")
    assert list(Path().iterdir()) == []
    Path("kitchen.md").mkdir()
    with closing(sqlite3.connect(conversations.conversations_path())) as db, db:
        db.execute("UPDATE exchanges SET answer = '[]'")
    assert "kitchen.md" in fails("export", "kitchen", "--force")
    assert [path.name for path in Path().iterdir()] == ["kitchen.md"]


def test_an_export_holds_one_turn_in_memory():
    """Forty minutes of sound, of which all would be 190 MB and a turn of each side is 10."""
    for _ in range(20):
        keep("long", tone(60.0, 16_000), text="Hm", sound=tone(60.0))
    code = """
import resource, sys
from typer.testing import CliRunner
import lfm2audio_mlx.audio.files
from lfm_cli.chats import chats
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert CliRunner().invoke(chats, ["export", "long"]).exit_code == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr == ""
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(result.stdout) * unit < 50e6
    assert soundfile.info("long.wav").frames == round((40 * 60 + 39 * 0.3) * RATE)


def test_an_export_as_json_says_where_the_files_are(kitchen: None):
    head = {"schema": "lfm/1", "kind": "exported"}
    assert json.loads(run("export", "kitchen", "--json")) == {
        **head,
        "name": "kitchen",
        "transcript": "kitchen.md",
        "sound": "kitchen.wav",
    }
    keep("a", "Well?", text="Yes.")
    assert json.loads(run("export", "a", "--json")) == {
        **head,
        "name": "a",
        "transcript": "a.md",
        "sound": None,
    }


# rm


def names() -> list[str]:
    return sorted(saved.name for saved in conversations.listed())


def test_conversations_are_removed():
    for name in ("a", "b", "c"):
        conversations.create(name, "nano", "")
    assert run("rm", "a", "c", "a", "--yes") == "a: removed\nc: removed\n"
    assert names() == ["b"]


def test_a_removal_as_json_names_what_is_gone():
    for name in ("a", "b"):
        conversations.create(name, "nano", "")
    document = json.loads(run("rm", "b", "a", "b", "--yes", "--json"))
    assert document == {"schema": "lfm/1", "kind": "removed", "names": ["b", "a"]}
    assert names() == []


def test_nothing_is_removed_if_one_is_unknown_or_nobody_answers():
    conversations.create("a", "nano", "")
    assert fails("rm", "a", "b", "--yes") == ("no conversation 'b' is kept; `lfm chats` lists them")
    assert "--yes" in fails("rm", "a")
    assert names() == ["a"]


@pytest.mark.parametrize(("answer", "left"), [("n\n", True), ("\n", True), ("y\n", False)])
def test_removal_asks_on_a_terminal(answer: str, left: bool):
    conversations.create("kitchen", "nano", "")
    main, terminal = pty.openpty()
    command = [sys.executable, "-c", "from lfm_cli.chats import chats; chats()", "rm", "kitchen"]
    process = subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    os.write(main, answer.encode())
    output, _ = process.communicate(timeout=30)
    os.close(main)
    os.close(terminal)
    assert "Delete kitchen?" in output
    assert "Traceback" not in output
    assert bool(names()) == left
    assert (process.returncode != 0) == left


# All


@pytest.mark.parametrize("command", ["show", "export"])
def test_an_unknown_conversation_gets_one_line(command: str, home: Path):
    assert "no conversation 'x' is kept" in fails(command, "x")
    assert "conversation's name" in fails(command, "../x")
    assert not home.exists()
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", ["", "show", "export", "rm"])
def test_help_has_an_example(command: str):
    shown = run(*command.split(), "--help")
    assert f"\n  Example: lfm chats {command}".rstrip() in shown


def test_wrong_usage_exits_with_2():
    for arguments in (["show"], ["export"], ["rm"], ["nothing"], ["show", "a", "b"]):
        assert invoke(*arguments).exit_code == 2
