"""The true shapes: `make full-size` as a test. Six minutes and 5 GB of disk; not run by default.

pytest -m full_size
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.full_size
def test_the_true_shapes_stay_within_a_gigabyte_of_disk_and_two_and_a_half_of_memory(
    tmp_path: Path,
):
    command = [sys.executable, ROOT / "benchmarks" / "full_size.py", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "loads in" in result.stdout
