"""`make daemon-check`: every fault on a real daemon, how fast it answers, and what it holds.

Ends with 1 if anything was lost, the daemon grew by more than 2 %, or `lfm` adds more than 150 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from daemon_faults import COMMAND, FAULTS, House, memory_over
from lfm2audio_mlx.errors import LfmError

RECORDINGS = Path(__file__).parents[1] / "tests" / "data" / "recordings"
RUNS = 9
MOST_ADDED = 0.150
"""Seconds that `lfm` may take beside the engine."""
FIRST, LAST, MOST_GROWN = 100, 1000, 0.02


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=LAST, help="how many for memory")
    requests: int = parser.parse_args().requests
    entries = json.loads((RECORDINGS / "transcripts.json").read_text("utf-8"))
    with tempfile.TemporaryDirectory(prefix="lfm-") as home:
        os.environ |= {"LFM_HOME": home, "LFM_MODEL": "nano", "LFM_DAEMON": "on"}
        house = House({RECORDINGS / entry["file"]: entry["text"] for entry in entries})
        try:
            house.said = _heard_right(house)
            good = _faults(house)
            good = _latency(house) and good
            good = _memory(house, requests) and good
        finally:
            house.end()
    return 0 if good else 1


def _heard_right(house: House) -> dict[Path, str]:
    """The recordings that the embedded checkpoint hears right (29 of 30)."""
    right: dict[Path, str] = {}
    for path, said in house.said.items():
        try:
            house.hear(path)
            right[path] = said
        except AssertionError:
            pass
    assert len(right) >= 29
    house.speech, house.words = next(iter(right.items()))
    return right


def _faults(house: House) -> bool:
    table = Table("tried", "survived", "lost")
    good = True
    for fault in FAULTS:
        try:
            for tried, survived in fault(house):
                table.add_row(tried, survived, "nothing")
        except (AssertionError, LfmError, OSError) as error:
            table.add_row(fault.__doc__ or "", "", f"{type(error).__name__}: {error}")
            good = False
        house.begin()
    Console(width=120).print(table)
    return good


def _latency(house: House) -> bool:
    """The first byte of text for a recording of 4 s, warm and cold, and what `lfm` adds."""
    recording = Path(os.environ["LFM_HOME"]) / "four.wav"
    _four_seconds(house, recording)
    command = [*COMMAND, "-q", "transcribe", str(recording)]
    warm, own, cold = list[float](), list[float](), list[float]()
    house.begin()
    _first_byte(command)
    for _ in range(RUNS):
        warm.append(_first_byte(command))
        own.append(_own_time(house))
        cold.append(_first_byte([*command, "--no-daemon"]))
    added = statistics.median(warm) - statistics.median(own)
    print(
        f"first byte of text, 4 s recording, medians of {RUNS}: "
        f"warm daemon {statistics.median(warm) * 1000:.0f} ms, "
        f"cold process {statistics.median(cold) * 1000:.0f} ms; the engine's own time "
        f"{statistics.median(own) * 1000:.0f} ms, so `lfm` adds {added * 1000:.0f} ms "
        f"(at most {MOST_ADDED * 1000:.0f})"
    )
    return added <= MOST_ADDED


def _four_seconds(house: House, path: Path) -> None:
    import numpy as np
    import soundfile

    pieces = [soundfile.read(each, dtype="float32")[0] for each in list(house.said)[:3]]
    soundfile.write(path, np.concatenate(pieces)[: 4 * 16_000], 16_000)


def _first_byte(command: list[str]) -> float:
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.read(1)
        taken = time.perf_counter() - begun
        process.stdout.read()
    return taken


def _own_time(house: House) -> float:
    """What the last job took in the daemon, by its log."""
    from lfm_daemon.paths import log_path

    time.sleep(0.05)
    lines = log_path().read_text("utf-8").splitlines()
    (taken,) = re.findall(r"spans: done after ([\d.]+) s", lines[-1])
    return float(taken)


def _memory(house: House, requests: int) -> bool:
    first = min(FIRST, requests // 2)
    before, after = memory_over(house, first, requests)
    grown = after / before - 1
    print(
        f"memory of supervisor and worker: {before / 1e6:.1f} MB after {first} requests, "
        f"{after / 1e6:.1f} MB after {requests:,}: {grown:+.2%} (at most {MOST_GROWN:.0%})"
    )
    return grown <= MOST_GROWN


if __name__ == "__main__":
    sys.exit(main())
