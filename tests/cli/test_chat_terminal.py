"""`lfm chat` at a terminal: lines typed, ctrl-C and ctrl-D."""

import re
import signal
import time
from pathlib import Path

import pexpect
import pytest
import soundfile
from chatting import AT_ONCE, PROMPT, SECONDS, Run, Terminal, kept, leave, shown, turns
from questions import ANSWER, OTHER_SPEECH, SPEECH


def test_a_conversation_at_the_terminal(terminal: Terminal, lfm: Run):
    child = terminal("chat", "--no-audio", "--seed", 1)
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
    both, last = shown(child, str(OTHER_SPEECH)), shown(child, str(SPEECH))
    assert both and last
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
    told = re.findall("^LFM: (.*)$", lfm("chats", "show", "kitchen").stdout, re.MULTILINE)
    assert told == [ANSWER, both, last]


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
    child = terminal("chat", "--no-audio", "--seed", 1, "--save", "a")
    child.expect_exact("> ")
    assert shown(child, str(SPEECH)) == ANSWER
    child.send("\x1b[A")
    child.expect_exact(str(SPEECH))
    child.send("\r")
    child.expect_exact(PROMPT)
    leave(child)
    assert [seconds for _, seconds, *_ in turns("a")] == [SECONDS, SECONDS]


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
