"""`lfm chat` as a script uses it: one question, or a pipe of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chatting import AT_ONCE, SECONDS, Document, Run, kept, turns
from questions import ANSWER, OTHER_SPEECH, SPEECH

from lfm_cli.terminal import printable

NO_ANSWER = "lfm: the model gave no answer; is the question of a kind that it knows?\n"
CUT_OFF = "lfm: the answer was cut off at its limit\n"


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
    command = ["chat", "--no-audio", "--seed", 1, "--once"]
    assert lfm(*command, SPEECH, "--save", "a").returncode == 0
    again = lfm(*command, SPEECH, "--save", "a")
    assert again.returncode == 1
    assert again.stdout == ""
    assert "'a' is kept already; --resume" in again.stderr
    assert lfm(*command, OTHER_SPEECH, "--resume", "a").returncode == 0
    first, second = turns("a")
    assert first == ("", SECONDS, ANSWER, True)
    assert second[1] == soundfile.info(OTHER_SPEECH).duration


def test_without_a_model_named_a_conversation_goes_on_with_its_own(lfm: Run):
    once = ["chat", "--once", SPEECH, "--no-audio", "--seed", 1]
    lfm(*once, "--save", "a")
    again = lfm(*once, "--resume", "a", env={"LFM_MODEL": ""})
    _, (_, _, answer, _) = turns("a")
    assert answer
    assert (again.returncode, again.stdout) == (0, f"{answer}\n")


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
    "no answer": (1, ["--once", "silence.wav", "--no-audio"], NO_ANSWER),
    "no answer, json": (1, ["--once", "silence.wav", "--json"], NO_ANSWER),
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
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    lfm: Run, silence: Path, tmp_path: Path, case: str
):
    (tmp_path / "words.wav").write_text("hello")
    soundfile.write(tmp_path / "click.wav", np.zeros(100), 16_000)
    shutil.copy(silence, tmp_path)
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


def test_a_question_without_an_answer_leaves_the_file_as_it_was(
    lfm: Run, silence: Path, tmp_path: Path
):
    (tmp_path / "a.wav").write_bytes(b"before")
    assert lfm("chat", "--once", silence, "-o", "a.wav").returncode == 1
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
    took = time.monotonic() - sent
    assert errors == b""
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert took < AT_ONCE + 1.0  # the interpreter takes its time to end
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
    result = lfm("chat", "--no-audio", "--seed", 1, input=lines)
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
