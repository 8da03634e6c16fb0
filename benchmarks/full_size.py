"""Convert a checkpoint of the true shapes with `4bit`, and say what that took (`make full-size`).

Usage: python benchmarks/full_size.py WORKPLACE

Exits with 1 when the result is over 1,000,000,000 bytes or the conversion over 2.5 GB of memory.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

MOST_BYTES = 1_000_000_000
MOST_MEMORY = 2.5e9

LOAD = """
import resource, sys, time
from lfm2audio_mlx import Engine
start = time.perf_counter()
engine = Engine.load(sys.argv[1])
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1e9
print(f"loads in {time.perf_counter() - start:.1f} s, {memory:.2f} GB")
"""

UNIT = 1 if sys.platform == "darwin" else 1024
"""`ru_maxrss` counts bytes on a Mac, kilobytes on Linux."""


def main(workplace: Path) -> int:
    original, target = workplace / "original", workplace / "4bit"
    if not original.exists():
        maker = Path(__file__).with_name("make_checkpoint.py")
        subprocess.run([sys.executable, maker, original], check=True)
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    command = ["convert", str(original), str(target), "--recipe", "4bit", "--report"]
    process = subprocess.Popen([sys.executable, "-m", "lfm_cli", *command])
    # Its own peak memory, not that of the largest child so far.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        return 1
    size = sum(path.stat().st_size for path in target.iterdir())
    memory = usage.ru_maxrss * UNIT
    print(f"{size:,} bytes (at most {MOST_BYTES:,})")
    print(f"{memory / 1e9:.2f} GB of memory at most (at most {MOST_MEMORY / 1e9:.1f} GB)")
    print(f"{seconds:.0f} s, {usage.ru_utime:.0f} s of CPU")
    code = LOAD.replace("UNIT", str(UNIT))
    subprocess.run([sys.executable, "-c", code, str(target)], check=True)
    return int(size > MOST_BYTES or memory > MOST_MEMORY)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
