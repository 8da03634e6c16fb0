"""Our engine beside its peers, on one machine, in one run (`make compare`).

    python -m benchmarks.compare                         everything; the first run installs peers
    python -m benchmarks.compare --peer rustymimi --stage "codec frame"

All run on the same random weights of the true shapes. Each peer has its own environment and is
measured in turn with ours, never beside another peer, so that two models fit into memory. Prints
medians and ratios, writes all runs to `build/compare/result.json`, and exits with 1 when a target
is missed or something of ours fails.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.compare.figures import Results
from benchmarks.compare.peers import PEERS
from benchmarks.compare.session import Options, compare
from benchmarks.compare.table import show
from benchmarks.compare.talk import Failed
from benchmarks.compare.targets import TARGETS, Verdict, judge

ROOT = Path(__file__).parents[2]


def weights(folder: Path) -> tuple[Path, Path]:
    """The random checkpoint and our conversion of it, made when they are missing."""
    original, converted = folder / "original", folder / "4bit"
    if not original.exists():
        maker = ROOT / "benchmarks" / "make_checkpoint.py"
        subprocess.run([sys.executable, maker, original], check=True)
    if not converted.exists():
        command = ["convert", str(original), str(converted), "--recipe", "4bit"]
        subprocess.run([sys.executable, "-m", "lfm_cli", *command], check=True)
    return original, converted


def main() -> int:
    parser = argparse.ArgumentParser(description="Our engine beside its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="at most so many runs of a stage")
    parser.add_argument("--seconds", type=float, default=60.0, help="for the 4th run and later")
    parser.add_argument("--peer", action="append", choices=[p.name for p in PEERS], dest="peers")
    parser.add_argument("--stage", action="append", dest="stages", help="only this; repeatable")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH")
    parser.add_argument("--no-counts", action="store_true", help="times alone")
    parser.add_argument("--weights", type=Path, default=Path("build/full-size"))
    parser.add_argument("--folder", type=Path, default=Path("build/compare"))
    given = parser.parse_args()
    original, converted = weights(given.weights)
    given.folder.mkdir(parents=True, exist_ok=True)
    options = Options(
        original=original,
        converted=converted,
        folder=given.folder,
        peers=[peer for peer in PEERS if given.peers is None or peer.name in given.peers],
        stages=given.stages,
        rounds=given.rounds,
        seconds=given.seconds,
        pythons={name: Path(path) for name, path in (one.split("=", 1) for one in given.python)},
        counts=not given.no_counts,
    )
    written = given.folder / "result.json"

    def keep(results: Results) -> list[Verdict]:
        verdicts = [judge(results, target) for target in TARGETS]
        targets = [
            {"figure": v.target.figure, "wanted": v.target.wanted, "found": v.value, "met": v.met}
            for v in verdicts
        ]
        written.write_text(json.dumps(results.record() | {"targets": targets}, indent=1), "utf-8")
        return verdicts

    try:
        results = compare(options, keep)
    except Failed as error:
        print(f"our own engine does not start: {error}", file=sys.stderr)
        return 1
    verdicts = keep(results)
    show(results, verdicts)
    return int(results.ours.failed or any(verdict.met is False for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
