"""`lfm chat` as a script and as a person uses it: one question, a pipe of them, a terminal."""

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

import numpy as np
import pexpect
import pytest
import soundfile
from pulse import SPEAKER_RATE, Pulse

from lfm2audio_mlx.audio.files import read_audio
from lfm_cli import conversations
from lfm_cli.terminal import printable

Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]
Terminal = Callable[..., "pexpect.spawn[str]"]

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH = RECORDINGS / "seen_04.wav"
OTHER_SPEECH = RECORDINGS / "seen_10.flac"
SECONDS = soundfile.info(SPEECH).duration
ANSWER = "timer set for twenty one minutes"
NO_ANSWER = "lfm: the model gave no answer; is the question of a kind that it knows?\n"
CUT_OFF = "lfm: the answer was cut off at its limit\n"
PROMPT = "\n> "
AT_ONCE = 1.0
"""Seconds in which ctrl-C must have stopped an answer: a person would press it again."""


def kept() -> dict[str, int]:
    """How many exchanges are kept, by name."""
    return {saved.name: saved.exchanges for saved in conversations.listed()}


def turns(name: str) -> list[tuple[str, float, str, bool]]:
    """Of each exchange that is kept: the words that were asked, how many seconds of sound, the
    words of the answer, and whether it had sound."""
    found: list[tuple[str, float, str, bool]] = []
    for each in conversations.load(name)[1]:
        words = [part for part in each.exchange.said if isinstance(part, str)]
        sounds = [part for part in each.exchange.said if isinstance(part, tuple)]
        seconds = sum(len(samples) / rate for samples, rate in sounds)
        found.append((" ".join(words), seconds, each.text, each.sound is not None))
    return found


# One question


def test_a_recording_is_answered_on_stdout_in_words_alone(lfm: Run, tmp_path: Path):
    result = lfm("chat", "--once", SPEECH, "--no-audio")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{ANSWER}\n", "")
    assert list(tmp_path.iterdir()) == []


def test_the_answer_can_be_kept_as_a_file(lfm: Run, tmp_path: Path):
    """That is not played, so no loudspeaker is needed."""
    (tmp_path / "question.wav").write_bytes(SPEECH.read_bytes())
    for more in ([], ["--no-audio"]):
        result = lfm("chat", "--once", "question.wav", "-o", "a.flac", *more)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{ANSWER}\n", "")
        assert 1.0 < soundfile.info(tmp_path / "a.flac").duration < 10.0
        (tmp_path / "a.flac").unlink()


def test_the_same_seed_gives_the_same_sound(lfm: Run, tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert lfm("chat", "--once", SPEECH, "-o", f"{name}.wav", "--seed", seed).returncode == 0
    a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert a == b != c


def test_an_answer_as_json_is_one_document_and_nothing_is_played(lfm: Run, document: Document):
    result = lfm("chat", "--once", SPEECH, "--json", "--save", "a")
    assert (result.returncode, result.stderr) == (0, "")
    told = document(result.stdout)
    assert (told["kind"], told["question"], told["model"]) == ("answer", [str(SPEECH)], "nano")
    assert (told["text"], told["complete"], told["file"]) == (ANSWER, True, None)
    assert turns("a") == [("", SECONDS, ANSWER, True)]


def test_an_answer_as_json_names_its_file(lfm: Run, document: Document, tmp_path: Path):
    told = document(lfm("chat", "--once", SPEECH, "--json", "-o", "a.wav").stdout)
    assert told["file"] == "a.wav"
    seconds = soundfile.info(tmp_path / "a.wav").duration
    assert told["seconds"] == pytest.approx(seconds, abs=0.001)  # rounded to 3 digits


def test_a_typed_question_is_answered_and_a_cut_is_told(
    lfm: Run, document: Document, short: Path, tmp_path: Path
):
    command = [sys.executable, "-m", "lfm_cli", "chat", "-m", str(short), "--no-audio"]
    result = subprocess.run(
        [*command, "--once", "hello"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0
    assert len(result.stdout) > 10
    assert result.stdout.endswith("\n")
    assert result.stderr == CUT_OFF
    other = lfm("chat", "-m", short, "--no-audio", "--once", "something else")
    assert other.stdout != result.stdout
    assert other.stderr == ""
    told = document(lfm("chat", "-m", short, "--once", "hello", "--json").stdout)
    assert told["question"] == ["hello"]
    assert told["complete"] is False
    assert told["model"] == str(short)


def test_another_system_prompt_is_used_and_kept(lfm: Run, short: Path):
    usual = lfm("chat", "-m", short, "--no-audio", "--seed", 1, "--once", "hello")
    command = ["chat", "-m", short, "--no-audio", "--seed", 1, "--once", "hello"]
    own = lfm(*command, "--system", "Be brief.", "--save", "a")
    assert usual.stdout != own.stdout
    assert json.loads(lfm("chats", "--json").stdout)["conversations"][0]["system"] == "Be brief."


def test_a_conversation_is_kept_and_gone_on_with(lfm: Run):
    assert lfm("chat", "--once", SPEECH, "--no-audio", "--save", "a").returncode == 0
    again = lfm("chat", "--once", SPEECH, "--no-audio", "--save", "a")
    assert again.returncode == 1
    assert again.stdout == ""
    assert "'a' is kept already; --resume" in again.stderr
    assert lfm("chat", "--once", OTHER_SPEECH, "--no-audio", "--resume", "a").returncode == 0
    first, second = turns("a")
    assert first == ("", SECONDS, ANSWER, True)
    assert second[1] == soundfile.info(OTHER_SPEECH).duration


def test_without_a_model_named_a_conversation_goes_on_with_its_own(lfm: Run):
    lfm("chat", "--once", SPEECH, "--no-audio", "--save", "a")
    again = lfm("chat", "--once", SPEECH, "--no-audio", "--resume", "a", env={"LFM_MODEL": ""})
    assert (again.returncode, again.stdout) == (0, f"{ANSWER}\n")


def test_another_model_does_not_go_on_with_a_conversation(lfm: Run, short: Path):
    lfm("chat", "--once", SPEECH, "--no-audio", "--save", "a")
    again = lfm("chat", "--once", "hello", "--no-audio", "--resume", "a", "-m", short)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == (
        f"lfm: 'a' was held with the model nano, this is {short}: --model nano goes on with it\n"
    )


def test_a_conversation_that_is_full_says_so(lfm: Run, short: Path):
    full = lfm("chat", "-m", short, "--no-audio", "--save", "a", "--once", "hello")
    assert full.returncode == 0
    again = lfm("chat", "-m", short, "--no-audio", "--resume", "a", "--once", "go on")
    assert (again.returncode, again.stdout) == (1, "")
    assert "start a new one" in again.stderr
    assert kept() == {"a": 1}


WRONG: dict[str, tuple[int, list[object], str]] = {
    "empty": (1, ["--once", "", "--no-audio"], "the question is empty"),
    "blank": (1, ["--once", " \n", "--no-audio"], "the question is empty"),
    "no such recording": (1, ["--once", "nothing.wav"], "nothing.wav: no such file"),
    "no recording": (1, ["--once", "words.wav"], "words.wav: not a sound file"),
    "too short": (1, ["--once", "click.wav", "--no-audio"], "too short to hear"),
    "no loudspeaker": (1, ["--once", SPEECH], "no loudspeaker"),
    "unknown ending": (1, ["--once", SPEECH, "-o", "a.xyz"], "a.xyz: cannot write that"),
    "no folder": (1, ["--once", SPEECH, "-o", "no/a.wav"], "the folder no does not exist"),
    "bad name": (1, ["--once", SPEECH, "--no-audio", "--save", "a/b"], "'a/b' cannot be"),
    "not kept": (1, ["--once", SPEECH, "--no-audio", "--resume", "a"], "no conversation 'a'"),
    "no answer": (1, ["--once", "hello there", "--no-audio"], NO_ANSWER),
    "no answer, json": (1, ["--once", "hello there", "--json"], NO_ANSWER),
    "save and resume": (2, ["--once", SPEECH, "--save", "a", "--resume", "a"], "--save is for new"),
    "resume and system": (2, ["--once", SPEECH, "--resume", "a", "--system", "b"], "already"),
    "output of many": (2, ["-o", "a.wav"], "--once QUESTION"),
    "json of many": (2, ["--json"], "--once QUESTION"),
    "a seed below 0": (2, ["--once", SPEECH, "--seed", "-1"], "--seed"),
    "a seed too large": (1, ["--once", SPEECH, "--no-audio", "--seed", "1" * 30], "2^64"),
    "a word too many": (2, [SPEECH], "unexpected extra argument"),
    "no such model": (3, ["--once", SPEECH, "-m", "nothing"], "lfm pull"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(lfm: Run, tmp_path: Path, case: str):
    (tmp_path / "words.wav").write_text("hello")
    soundfile.write(tmp_path / "click.wav", np.zeros(100), 16_000)
    before = sorted(tmp_path.iterdir())
    code, arguments, part = WRONG[case]
    # Where no server and no device is, there is no loudspeaker.
    result = lfm("chat", *arguments, env={"PULSE_SERVER": "unix:/nowhere"})
    if case == "no loudspeaker" and result.returncode == 0:
        pytest.skip("this machine has a loudspeaker")
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert part in result.stderr
    assert "Traceback" not in result.stderr
    if code != 2 and case != "no loudspeaker":  # Linux's sound libraries have their own say
        assert len(result.stderr.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
    assert kept() == {}


@pytest.mark.parametrize("question", [" ", "a.wav"])
def test_a_question_that_cannot_be_asked_takes_no_name(lfm: Run, tmp_path: Path, question: str):
    """Or the same command, mended, is refused: 'a' is kept already."""
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16_000)
    assert lfm("chat", "--once", question, "--no-audio", "--save", "a").returncode == 1
    assert kept() == {}


@pytest.mark.parametrize("option", ["--save", "--resume"])
def test_an_empty_name_is_refused(lfm: Run, option: str):
    """`--save "$NAME"` with NAME unset kept nothing, and said nothing."""
    result = lfm("chat", "--once", SPEECH, "--no-audio", option, "")
    assert result.returncode in (1, 2)
    assert result.stdout == ""


def test_a_question_without_an_answer_leaves_the_file_as_it_was(lfm: Run, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"before")
    assert lfm("chat", "--once", "hello there", "-o", "a.wav").returncode == 1
    assert (tmp_path / "a.wav").read_bytes() == b"before"


def test_a_recording_that_cannot_be_heard_is_named(lfm: Run, tmp_path: Path):
    soundfile.write(tmp_path / "click.wav", np.zeros(100), 16_000)
    assert "click.wav" in lfm("chat", "--once", "click.wav", "--no-audio").stderr


def test_without_a_loudspeaker_the_advice_is_one_that_helps(lfm: Run):
    result = lfm("chat", "--once", SPEECH, env={"PULSE_SERVER": "unix:/nowhere"})
    if result.returncode == 0:
        pytest.skip("this machine has a loudspeaker")
    assert "-a '?'" not in result.stderr
    assert "--no-audio" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_answer_that_is_interrupted_is_kept_as_far_as_it_came(
    lfm: Run, converted: dict[str, Path], tmp_path: Path, number: signal.Signals
):
    command = [sys.executable, "-m", "lfm_cli", "-q", "chat", "-m", str(converted["v1"])]
    process = subprocess.Popen(
        [*command, "--once", "hello", "--save", "a", "-o", "a.wav"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    first = b""
    while len(first) < 300:  # some words, and so some sound
        first += (part := os.read(process.stdout.fileno(), 300))
        assert part
    process.send_signal(number)
    sent = time.monotonic()
    rest, errors = process.communicate(timeout=20)
    assert time.monotonic() - sent < AT_ONCE + 1.0  # the interpreter takes its time to end
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert errors == b""
    ((asked, _, answer, sound),) = turns("a")
    assert (asked, sound) == ("hello", True)
    printed = (first + rest).decode()
    assert printed.endswith("\n")
    # The last word may have come just when it ended.
    assert printable(answer).startswith(printed.removesuffix("\n"))
    assert soundfile.info(tmp_path / "a.wav").frames > 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


# A pipe


def test_each_line_of_a_pipe_is_a_question(lfm: Run):
    lines = f"{SPEECH}\n\n   \n{OTHER_SPEECH}\r\n/save piped\n{SPEECH}"
    result = lfm("chat", "--no-audio", input=lines)
    assert (result.returncode, result.stderr) == (0, "")
    first, second, third = result.stdout.splitlines()
    assert first == ANSWER
    assert second and third
    assert [answer for _, _, answer, _ in turns("piped")] == [first, second, third]


def test_a_pipe_ends_at_the_first_fault(lfm: Run):
    lines = f"{SPEECH}\nnothing.wav\n{SPEECH}\n"
    result = lfm("chat", "--no-audio", "--save", "a", input=lines)
    assert (result.returncode, result.stdout) == (1, f"{ANSWER}\n")
    assert result.stderr == "lfm: nothing.wav: no such file\n"
    assert kept() == {"a": 1}


@pytest.mark.parametrize("line", ["/quit", "/bye", "/exit"])
def test_a_pipe_can_end_itself(lfm: Run, line: str):
    result = lfm("chat", "--no-audio", input=f"{SPEECH}\n{line}\n{SPEECH}\n")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{ANSWER}\n", "")


def test_an_empty_pipe_is_no_question(lfm: Run):
    for nothing in ("", "\n", "\n \n"):
        result = lfm("chat", "--no-audio", input=nothing)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_line_that_is_no_text_is_told(tmp_path: Path):
    command = [sys.executable, "-m", "lfm_cli", "-q", "chat", "--no-audio"]
    result = subprocess.run(command, input=b"h\xffllo\n", capture_output=True, timeout=60)
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"Unicode" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_without_any_stdin_there_is_no_question():
    command = f"{sys.executable} -m lfm_cli -q chat --no-audio <&-"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_what_is_said_on_stderr_stays_out_of_the_pipe(tmp_path: Path):
    """Nothing of a prompt either."""
    command = [sys.executable, "-m", "lfm_cli", "chat", "--no-audio"]
    result = subprocess.run(
        command, input=f"{SPEECH}\n", capture_output=True, text=True, timeout=60
    )
    assert result.stdout == f"{ANSWER}\n"
    (note,) = result.stderr.splitlines()
    assert "toy" in note


# A terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Starts `lfm ARGUMENTS...` in a terminal of its own."""
    children: list[pexpect.spawn[str]] = []

    def start(*arguments: object, **env: str | None) -> "pexpect.spawn[str]":
        wanted = {"TERM": "xterm", **os.environ, **env}
        child = pexpect.spawn(
            sys.executable,
            ["-m", "lfm_cli", *map(str, arguments)],
            cwd=str(tmp_path),
            env={name: value for name, value in wanted.items() if value is not None},  # type: ignore[arg-type]
            encoding="utf-8",
            timeout=30,
            dimensions=(40, 500),
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def shown(child: "pexpect.spawn[str]", line: str) -> str:
    """What comes after a line has been typed, up to the next prompt."""
    child.sendline(line)
    child.expect_exact(f"{line}\r")
    child.expect_exact(PROMPT)
    return (child.before or "").replace("\r", "").strip("\n")


def leave(child: "pexpect.spawn[str]") -> None:
    """ctrl-D."""
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, child.signalstatus) == (0, None)


def test_a_conversation_at_the_terminal(terminal: Terminal, lfm: Run):
    child = terminal("chat", "--no-audio")
    child.expect_exact("ctrl-D leaves")
    child.expect_exact("> ")
    assert "/attach FILE" in shown(child, "/help")
    assert shown(child, "/nonsense") == "lfm: there is no /nonsense; /help lists what there is"
    assert shown(child, str(SPEECH)) == ANSWER
    assert shown(child, "nothing.wav") == "lfm: nothing.wav: no such file"
    assert shown(child, "/attach nothing.wav") == "lfm: nothing.wav: no such file"
    assert "which file?" in shown(child, "/attach")
    assert "/voice on" in shown(child, "/voice loud")
    assert shown(child, "/save kitchen") == "lfm: kept as 'kitchen', from the beginning"
    assert "goes with the next question" in shown(child, f"/attach {SPEECH}")
    assert shown(child, str(OTHER_SPEECH))
    assert shown(child, str(SPEECH))
    assert "nothing of it is kept" in shown(child, "/reset")
    assert shown(child, str(SPEECH)) == ANSWER
    assert "kept already" in shown(child, "/save kitchen")
    leave(child)
    other = soundfile.info(OTHER_SPEECH).duration
    # The attached one went along, once; nothing that came after the reset was kept.
    expected = [SECONDS, SECONDS + other, SECONDS]
    assert [seconds for _, seconds, *_ in turns("kitchen")] == pytest.approx(expected, abs=0.001)
    listed = lfm("chats").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["NAME", "kitchen"]
    assert lfm("chats", "show", "kitchen").stdout.count(f"LFM: {ANSWER}\n") >= 2


@pytest.mark.parametrize("line", ["/quit", "/bye", "/exit"])
def test_a_word_leaves_too(terminal: Terminal, line: str):
    child = terminal("chat", "--no-audio")
    child.expect_exact("> ")
    child.sendline(line)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_ctrl_c_at_the_prompt_forgets_the_line_and_stays(terminal: Terminal, lfm: Run):
    child = terminal("chat", "--no-audio", "--save", "a")
    child.expect_exact("> ")
    child.send("half a question")
    child.expect_exact("half a question")
    child.sendintr()
    child.expect_exact("ctrl-D leaves")
    child.expect_exact(PROMPT)
    assert shown(child, str(SPEECH)) == ANSWER
    leave(child)
    assert kept() == {"a": 1}


def test_ctrl_c_ends_an_answer_and_not_the_conversation(
    terminal: Terminal, lfm: Run, converted: dict[str, Path]
):
    child = terminal("chat", "--no-audio", "--save", "a", "-m", converted["v1"])
    child.expect_exact("> ")
    for question in ("hello", "go on"):
        child.sendline(question)
        child.expect_exact(f"{question}\r\n")
        child.expect(r"\w\w\w")
        time.sleep(1.0)
        child.sendintr()
        sent = time.monotonic()
        child.expect_exact(PROMPT)
        assert time.monotonic() - sent < AT_ONCE
    leave(child)
    assert [(asked, bool(answer)) for asked, _, answer, _ in turns("a")] == [
        ("hello", True),
        ("go on", True),
    ]
    resumed = lfm("chat", "-m", converted["v1"], "--resume", "a", "--no-audio", input="/help\n")
    assert resumed.returncode == 0


def test_what_was_attached_went_with_a_question_that_was_interrupted(
    terminal: Terminal, lfm: Run, converted: dict[str, Path]
):
    child = terminal("chat", "--no-audio", "--save", "a", "-m", converted["v1"])
    child.expect_exact("> ")
    shown(child, f"/attach {SPEECH}")
    for question in ("hello", "go on"):
        child.sendline(question)
        child.expect_exact(f"{question}\r\n")
        child.expect(r"\w\w\w")
        child.sendintr()
        child.expect_exact(PROMPT)
    leave(child)
    assert [(asked, seconds > 0) for asked, seconds, *_ in turns("a")] == [
        ("hello", True),
        ("go on", False),
    ]


def test_what_was_attached_waits_for_a_question_that_can_be_asked(terminal: Terminal, short: Path):
    child = terminal("chat", "--no-audio", "--save", "a", "-m", short)
    child.expect_exact("> ")
    shown(child, f"/attach {SPEECH}")
    assert shown(child, "nothing.wav") == "lfm: nothing.wav: no such file"
    assert "start a new one" in shown(child, "a long question " * 10)
    assert shown(child, "hello")
    leave(child)
    assert [(asked, seconds) for asked, seconds, *_ in turns("a")] == [("hello", SECONDS)]


def test_what_is_attached_may_be_dropped_on_the_terminal(terminal: Terminal, tmp_path: Path):
    (tmp_path / "my file.wav").write_bytes(SPEECH.read_bytes())
    child = terminal("chat", "--no-audio", HOME=str(tmp_path))
    child.expect_exact("> ")
    told = [
        shown(child, f"/attach {name}")
        for name in ("my file.wav", "my\\ file.wav", "'my file.wav'", "~/my file.wav")
    ]
    leave(child)
    assert all("goes with the next question" in line for line in told)


def test_a_plain_terminal_gets_plain_text(terminal: Terminal):
    child = terminal("chat", "--no-audio", TERM="dumb")
    child.expect_exact("> ")
    assert shown(child, str(SPEECH)) == ANSWER
    child.sendeof()
    child.expect(pexpect.EOF)
    assert "\x1b" not in (child.before or "")
    child.close()
    assert child.exitstatus == 0


def test_a_line_that_was_typed_can_be_had_again(terminal: Terminal):
    child = terminal("chat", "--no-audio")
    child.expect_exact("> ")
    assert shown(child, str(SPEECH)) == ANSWER
    child.send("\x1b[A")
    child.expect_exact(str(SPEECH))
    child.send("\r")
    child.expect_exact(ANSWER)
    child.expect_exact(PROMPT)
    leave(child)


def test_a_terminal_that_is_closed_ends_it_and_keeps_what_came(
    terminal: Terminal, lfm: Run, converted: dict[str, Path]
):
    child = terminal("chat", "--no-audio", "--save", "a", "-m", converted["v1"])
    child.expect_exact("> ")
    child.sendline("hello")
    child.expect_exact("hello\r\n")
    child.expect(r"\w\w\w")
    child.kill(signal.SIGHUP)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 128 + signal.SIGHUP
    ((asked, _, answer, _),) = turns("a")
    assert asked == "hello"
    assert answer


# A first run

DOWNLOAD = re.compile(r"No model is installed yet\. Download .*\[y/N\]: ?")


@pytest.mark.parametrize("answer", ["n", ""])
def test_a_first_run_offers_a_model_and_takes_no_for_an_answer(
    terminal: Terminal, home: Path, answer: str
):
    child = terminal("chat", LFM_MODEL=None, LFM_OFFLINE="1")
    child.expect(DOWNLOAD)
    child.sendline(answer)
    child.expect_exact("\n")
    child.expect(pexpect.EOF)
    child.close()
    (line,) = (child.before or "").splitlines()
    assert "`lfm pull`" in line
    assert "--model nano" in line
    assert child.exitstatus == 3
    assert list(home.iterdir()) == []


def test_a_first_run_that_cannot_download_says_so(terminal: Terminal):
    child = terminal("chat", LFM_MODEL=None, LFM_OFFLINE="1")
    child.expect(DOWNLOAD)
    child.sendline("y")
    child.expect_exact("\n")
    child.expect(pexpect.EOF)
    child.close()
    (line,) = (child.before or "").splitlines()
    assert "LFM_OFFLINE" in line
    assert child.exitstatus in (1, 3)


def test_ctrl_c_at_the_offer_is_an_interruption(terminal: Terminal):
    child = terminal("chat", LFM_MODEL=None, LFM_OFFLINE="1")
    child.expect(DOWNLOAD)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_a_pipe_is_not_asked(lfm: Run):
    result = lfm("chat", env={"LFM_MODEL": ""}, input="y\n")
    assert (result.returncode, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1
    assert "lfm pull" in result.stderr


# A microphone and a loudspeaker


def spoken(path: Path) -> np.ndarray:
    """A recording as somebody says it into a microphone: not at once, and then there is a pause."""
    silence = np.zeros(16_000, np.float32)
    return np.concatenate([silence[:8000], read_audio(path, 16_000), silence])


def seconds_of_sound(samples: np.ndarray) -> float:
    """How long it is not silent, gaps and moments of quiet left out."""
    return float((np.abs(samples) > 1e-3).sum() / SPEAKER_RATE)


@pytest.mark.parametrize("line", ["/record", ""])
def test_a_question_is_spoken_and_the_answer_heard(
    terminal: Terminal, lfm: Run, pulse: Pulse, line: str
):
    child = terminal("chat", "--save", "a", **pulse.environment)
    child.expect_exact("> ")
    with pulse.heard() as so_far:
        child.sendline(line)
        child.expect_exact("listening...")
        pulse.speak(spoken(SPEECH))
        child.expect_exact(ANSWER)
        child.expect_exact(PROMPT)
        time.sleep(0.3)  # the last of it is still on its way
        heard = so_far()
    leave(child)
    ((kept_exchange),) = conversations.load("a")[1]
    assert kept_exchange.text == ANSWER
    ((_, asked, _, _),) = turns("a")
    assert asked == pytest.approx(SECONDS, abs=1.0)  # silence around it may be cut or kept
    assert kept_exchange.sound is not None
    samples, rate = kept_exchange.sound
    assert rate == SPEAKER_RATE
    # Gaps, which a busy machine makes, do not count; what is cut in their midst rings a little.
    assert seconds_of_sound(heard) == pytest.approx(seconds_of_sound(samples), rel=0.1)


def test_who_goes_on_after_a_pause_asks_one_question(terminal: Terminal, pulse: Pulse):
    """In the pause its answer is begun, of which nothing is seen."""
    child = terminal("chat", "--no-audio", "--save", "a", **pulse.environment)
    child.expect_exact("> ")
    child.sendline("/record")
    child.expect_exact("listening...")
    first, second = (read_audio(path, 16_000) for path in (SPEECH, OTHER_SPEECH))
    # With the quiet at the end of one and the beginning of the other, 0.48 s.
    pause, silence = np.zeros(1000, np.float32), np.zeros(16_000, np.float32)
    pulse.speak(np.concatenate([first, pause, second, silence]))
    child.expect_exact(PROMPT)
    leave(child)
    ((_, asked, answer, _),) = turns("a")
    whole = (len(first) + len(pause) + len(second)) / 16_000
    assert asked == pytest.approx(whole, abs=0.8)
    assert answer.strip() and (child.before or "").count(answer.strip()) <= 1


def test_ctrl_c_ends_a_recording_and_what_was_said_is_asked(terminal: Terminal, pulse: Pulse):
    child = terminal("chat", "--no-audio", **pulse.environment)
    child.expect_exact("> ")
    child.sendline("/record")
    child.expect_exact("listening...")
    time.sleep(0.55)
    child.sendintr()
    child.expect_exact("nobody spoke")
    child.expect_exact(PROMPT)
    child.sendline("/record")
    child.expect_exact("listening...")
    pulse.speak(spoken(SPEECH)[: -16_000 + 1600])  # without its pause
    time.sleep(0.3)
    child.sendintr()
    child.expect_exact(ANSWER)
    child.expect_exact(PROMPT)
    leave(child)


def test_ctrl_c_silences_the_loudspeaker(terminal: Terminal, pulse: Pulse):
    """The answer is made faster than it is heard, so most of it is still to come."""
    child = terminal("chat", **pulse.environment)
    child.expect_exact("> ")
    with pulse.heard() as so_far:
        child.sendline(str(SPEECH))
        deadline = time.monotonic() + 30
        while seconds_of_sound(so_far()) < 0.2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.sendintr()
        sent = time.monotonic()
        child.expect_exact(PROMPT)
        assert time.monotonic() - sent < AT_ONCE
        time.sleep(2.0)
        heard = so_far()
    leave(child)
    # The whole answer lasts for more than two.
    assert 0.0 < seconds_of_sound(heard) < 1.5


def test_a_voice_can_be_turned_off_and_on(terminal: Terminal, pulse: Pulse):
    child = terminal("chat", **pulse.environment)
    child.expect_exact("> ")
    shown(child, "/voice off")
    with pulse.heard() as so_far:
        assert ANSWER in shown(child, str(SPEECH))
        time.sleep(0.5)
        off = so_far()
    shown(child, "/voice on")
    with pulse.heard() as so_far:
        child.sendline(str(SPEECH))
        child.expect_exact(PROMPT)
        time.sleep(0.5)
        on = so_far()
    leave(child)
    assert seconds_of_sound(off) == 0.0
    assert seconds_of_sound(on) > 1.0
