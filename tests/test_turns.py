"""The benchmark of simulated turns, with a few of them."""

import json
import subprocess
import sys
from pathlib import Path

TURNS = Path(__file__).parents[1] / "benchmarks" / "turns.py"


def test_simulated_turns_leave_nothing_and_are_answered_as_ever():
    command = [sys.executable, TURNS, "--turns", "4", "--seed", "3", "--jobs", "1", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["turns"] == len(found["each"]) == 4
    assert found["nothing_left"] >= 0.9 and found["same_tokens"] == 1.0
    for turn in found["each"]:
        assert turn["left"] == 0.0 and turn["made"] > 0
        assert 0.05 < turn["plain"] < 0.3
        assert (turn["wasted"] > 0) == (turn["thrown"] > 0)


def test_a_chip_that_is_too_slow_is_told():
    """A hundredth of an M1: nothing is made in time, but what is made is the same."""
    command = [sys.executable, TURNS, "--turns", "2", "--share", "0.01", "--jobs", "1", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1, result.stderr
    found = json.loads(result.stdout)
    assert found["nothing_left"] == 0.0 and found["same_tokens"] == 1.0
    assert found["left_ms"] > 1000
