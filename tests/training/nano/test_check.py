"""`make nano-check`, of a sentence or two for each figure: all that is wanted is examined."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lfm_train.nano.check import Figure
from lfm_train.nano.espeak import Espeak

COMMAND = [sys.executable, "-m", "lfm_train.nano.check"]
ENV = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
FIGURES = [
    "word error, trained voices",
    "word error, new voices",
    "word error, new accents",
    "no words in silence",
    "no words in white noise",
    "no words in music",
    "no words in trained languages",
    "no words in other languages",
    "pocketsphinx, us-male",
    "say, then transcribe, us-male",
    "the same, drawn, us-male",
    "pocketsphinx, uk-female",
    "say, then transcribe, uk-female",
    "the same, drawn, uk-female",
    "right answers, new questions, in words",
    "right answers, new questions, in sound",
    "right answers, fixed questions, in words",
    "right answers, fixed questions, in sound",
    "right answers, typed",
    "bytes",
]


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env=ENV, capture_output=True, text=True)


def test_every_figure_is_examined(espeak: Espeak):
    """`espeak` is asked for so that this is passed over where nobody speaks."""
    result = check("--seed", "1", "--count", "2")
    first, _, *lines = result.stdout.splitlines()
    assert first == "seed 1"
    assert [line[:42].strip() for line in lines] == FIGURES
    assert all(line.endswith(("  ok", "  not met")) for line in lines)
    assert result.returncode == ("not met" in result.stdout)
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("figure", "good", "shown"),
    [
        (Figure("heard", 0.05, 0.05, count=10), True, "5.0%  at most 5.0%"),
        (Figure("heard", 0.051, 0.05), False, "5.1%  at most 5.0%"),
        (Figure("right", 0.98, 0.98, "at least"), True, "98.0%  at least 98.0%"),
        (Figure("right", 0.9, 0.98, "at least"), False, "90.0%  at least 98.0%"),
        (Figure("bytes", 10_000_001, 10_000_000), False, "10,000,001  at most 10,000,000"),
    ],
)
def test_a_figure_is_good_or_not(figure: Figure, good: bool, shown: str):
    assert figure.good == good and shown in figure.line
    assert figure.line.endswith("  ok" if good else "  not met")


def test_what_is_no_checkpoint_is_told(espeak: Espeak, tmp_path: Path):
    result = check("--model", tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("nano-check: ") and result.stderr.count("\n") == 1


def test_no_sentences_are_too_few():
    result = check("--count", "0")
    assert result.returncode == 2 and "at least 1" in result.stderr


def test_ctrl_c_ends_it(espeak: Espeak, interrupted: Callable[..., tuple[int, list[str]]]):
    """At once and without a word, even while its parts begin."""

    def ready(pid: int) -> bool:
        return len(psutil.Process(pid).children()) > 1

    assert interrupted("lfm_train.nano.check", ready=ready) == (130, [])
