"""`lfm classify`: a share for each label, the largest first."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]

SPEECH = Path(__file__).parents[1] / "data" / "recordings" / "seen_16.flac"
ANSWER = "setting the temperature to thirty nine degrees"
LABELS = ["unlock the door", ANSWER, "alarm set for seven"]


def test_the_label_that_is_what_the_model_answers_gets_nearly_all(lfm: Run, tmp_path: Path):
    """The embedded checkpoint has learned what is answered to this."""
    result = lfm("classify", SPEECH, "--labels", ",".join(LABELS))
    assert (result.returncode, result.stderr) == (0, "")
    first, *others = result.stdout.splitlines()
    assert first.startswith(ANSWER)
    assert float(first.split()[-1].removesuffix("%")) > 95.0
    assert [line.split()[-1] for line in others] == ["0.0%", "0.0%"]
    assert len({len(line) for line in (first, *others)}) == 1  # in columns
    assert list(tmp_path.iterdir()) == []


def test_shares_as_json_are_in_order_and_make_one(lfm: Run, document: Document):
    result = lfm("classify", SPEECH, "-l", " , ".join(LABELS), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    told = document(result.stdout)
    assert (told["kind"], told["file"], told["model"]) == ("classification", str(SPEECH), "nano")
    assert {entry["label"] for entry in told["labels"]} == set(LABELS)
    shares = [entry["probability"] for entry in told["labels"]]
    assert told["labels"][0]["label"] == ANSWER
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1.0, abs=3 * 5e-7)  # each is rounded to 6 digits


def test_what_is_asked_counts(lfm: Run, document: Document, short: Path):
    """Of a checkpoint whose answers hang on every word."""
    command = ["classify", SPEECH, "-l", "angry,calm", "-m", short, "--json"]
    shares = []
    for more in ([], ["--question", "Is it angry, or is it calm?"]):
        told = document(lfm(*command, *more).stdout)
        assert told["model"] == str(short)
        shares.append({entry["label"]: entry["probability"] for entry in told["labels"]})
    assert shares[0] != shares[1]


def test_labels_may_be_in_any_script(lfm: Run, document: Document):
    told = document(lfm("classify", SPEECH, "-l", "größer,小さい,🙂", "--json").stdout)
    assert {entry["label"] for entry in told["labels"]} == {"größer", "小さい", "🙂"}
    assert "小さい" in lfm("classify", SPEECH, "-l", "größer,小さい").stdout


WRONG: dict[str, tuple[int, list[object], str]] = {
    "one label": (2, [SPEECH, "-l", "a"], "two labels"),
    "no label": (2, [SPEECH, "-l", ""], "two labels"),
    "twice the same": (2, [SPEECH, "-l", "a, a"], "all different"),
    "an empty one": (2, [SPEECH, "-l", "a,,b"], "two labels"),
    "a comma at the end": (2, [SPEECH, "-l", "a,b,"], "two labels"),
    "none at all": (2, [SPEECH], "--labels"),
    "missing": (1, ["missing.wav", "-l", "a,b"], "missing.wav: no such file"),
    "no sound": (1, ["words.wav", "-l", "a,b"], "words.wav: not a sound file"),
    "too short": (1, ["click.wav", "-l", "a,b"], "click.wav: 6.2 ms of sound, too short"),
    "no such model": (3, [SPEECH, "-l", "a,b", "-m", "nothing"], "lfm pull"),
    "two recordings": (2, [SPEECH, SPEECH, "-l", "a,b"], "unexpected extra argument"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_is_one_line(lfm: Run, tmp_path: Path, case: str):
    (tmp_path / "words.wav").write_text("hello")
    soundfile.write(tmp_path / "click.wav", np.zeros(100), 16_000)
    code, arguments, part = WRONG[case]
    result = lfm("classify", *arguments)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert part in result.stderr
    assert "Traceback" not in result.stderr
    if code != 2:
        assert len(result.stderr.splitlines()) == 1


def test_labels_at_a_terminal_are_shown_in_full():
    import pexpect

    label = "a label that is rather long " * 5
    child = pexpect.spawn(
        sys.executable,
        ["-m", "lfm_cli", "-q", "classify", str(SPEECH), "-l", f"{label},[bold]b"],
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 60),
    )
    shown = child.read()
    child.close()
    assert child.exitstatus == 0
    assert "[bold]b" in shown
    assert shown.count("rather long") == 5
    assert shown.count("%") == 2
