"""`lfm ask`: words about a recording on stdout, and nothing else."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lfm2audio_mlx.engine import Engine

Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]

SPEECH = Path(__file__).parents[1] / "data" / "recordings" / "seen_04.wav"
ANSWERED = "timer set for"
"""How the embedded checkpoint answers the recording. It was not trained for a question beside it,
so what comes after this may differ from machine to machine."""


def test_the_answer_is_text(lfm: Run, tmp_path: Path):
    result = lfm("ask", SPEECH, "What is wanted?")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(ANSWERED)
    assert result.stdout.count("\n") == 1
    assert result.stdout.endswith("\n")
    assert list(tmp_path.iterdir()) == []


def test_the_answer_as_json_is_one_document(lfm: Run, document: Document):
    result = lfm("ask", SPEECH, "What is wanted?", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    told = document(result.stdout)
    assert told.pop("text").startswith(ANSWERED)
    assert told == {
        "schema": "lfm/1",
        "kind": "answer",
        "question": [str(SPEECH), "What is wanted?"],
        "model": "nano",
        "complete": True,
        "file": None,
        "seconds": 0.0,
    }


def test_recording_question_and_system_prompt_all_count(engines: dict[str, Engine]):
    """As the command asks, of an engine that answers anything."""

    def first(system: str | None, *parts: str | Path) -> list[int]:
        chat = engines["v1"].chat(system=system, mode="sequential")
        list(chat.reply(*parts, max_tokens=12))
        return [token for token in chat.exchanges[0].answer if isinstance(token, int)]

    other = SPEECH.with_name("seen_10.flac")
    answers = [
        first(None, SPEECH, "What is wanted?"),
        first(None, other, "What is wanted?"),
        first(None, SPEECH, "Who is it?"),
        first("Be brief.", SPEECH, "What is wanted?"),
    ]
    assert len({tuple(answer) for answer in answers}) == 4


def test_the_model_named_is_the_one_that_answers(
    lfm: Run, document: Document, short: Path, tmp_path: Path
):
    result = lfm("ask", SPEECH, "Who?", "-m", short, "--json")
    told = document(result.stdout)
    assert (told["model"], told["complete"]) == (str(short), False)
    assert told["text"]
    assert lfm("ask", SPEECH, "Who?", "-m", short).stdout.strip() == told["text"]


def test_an_answer_that_is_cut_off_says_so(short: Path):
    command = [sys.executable, "-m", "lfm_cli", "ask", str(SPEECH), "Who?", "-m", str(short)]
    for more in ([], ["--json"]):
        result = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60)
        assert result.returncode == 0
        assert result.stdout.count("\n") == 1
        assert result.stderr == "lfm: the answer was cut off at its limit\n"


WRONG: dict[str, tuple[int, list[object], str]] = {
    "missing": (1, ["missing.wav", "Who?"], "missing.wav: no such file"),
    "a folder": (1, [".", "Who?"], ".: is a folder"),
    "no sound": (1, ["words.wav", "Who?"], "words.wav: not a sound file"),
    "empty": (1, ["empty.wav", "Who?"], "empty.wav: is empty"),
    "too short": (1, ["click.wav", "Who?"], "click.wav: 6.2 ms of sound, too short"),
    "too long": (1, ["long.flac", "Who?"], "long.flac: 3,000 s of sound"),
    "an empty question": (2, [SPEECH, ""], "the question is empty"),
    "a blank question": (2, [SPEECH, " \t"], "the question is empty"),
    "no question": (2, [SPEECH], "QUESTION"),
    "a word too many": (2, [SPEECH, "Who", "is it?"], "unexpected extra argument"),
    "no such model": (3, [SPEECH, "Who?", "-m", "nothing"], "lfm pull"),
    "missing, and no such model": (1, ["missing.wav", "Who?", "-m", "nothing"], "no such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_one_line(lfm: Run, tmp_path: Path, case: str):
    (tmp_path / "words.wav").write_text("hello")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "click.wav", np.zeros(100), 16_000)
    soundfile.write(tmp_path / "long.flac", np.zeros(8000 * 3000), 8000)
    code, arguments, part = WRONG[case]
    result = lfm("ask", *arguments)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert part in result.stderr
    assert "Traceback" not in result.stderr
    if code != 2:
        assert len(result.stderr.splitlines()) == 1


def test_a_recording_without_a_name_can_be_asked_about(tmp_path: Path):
    """What a shell writes as <(command) is a pipe, which can be read only once."""
    command = f"{sys.executable} -m lfm_cli -q ask <(cat '{SPEECH}') 'What is wanted?'"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(ANSWERED)
