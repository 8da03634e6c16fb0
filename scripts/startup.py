"""How long `lfm` takes to start: whole processes, medians, in milliseconds. Run by
`make cli-check`; exits with 1 when help or version take longer than wanted."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

LFM = Path(sys.executable).with_name("lfm")
RUNS = 15
MOST = 150.0
"""Milliseconds that help and version may take; what follows only has to be told."""
LIMITED = (("--help",), ("--version",), ("transcribe", "--help"))
OTHERS = (("list",), ("config",), ("transcribe", "nothing.wav"))


def milliseconds(command: list[str]) -> float:
    """The median of whole runs, after one that fills the caches of the disk."""
    times: list[float] = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def main() -> int:
    table = Table("command", "median", "at most")
    table.add_row("python -c pass", f"{milliseconds([sys.executable, '-c', 'pass']):.0f} ms", "")
    good = True
    for arguments in (*LIMITED, *OTHERS):
        took = milliseconds([str(LFM), *arguments])
        limited = arguments in LIMITED
        good &= not limited or took <= MOST
        bound = f"{MOST:.0f} ms" if limited else ""
        table.add_row(f"lfm {' '.join(arguments)}", f"{took:.0f} ms", bound)
    Console(width=80).print(table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
