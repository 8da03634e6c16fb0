"""The command as a person runs it: a process of its own, in a folder of its own."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore interrupts, and so would every process that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def lfm(tmp_path: Path) -> Run:
    """Runs `lfm ARGUMENTS...` in `tmp_path` and gives exit code, stdout and stderr."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lfm_cli", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run
