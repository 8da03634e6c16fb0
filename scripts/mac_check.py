"""`make mac-check`: what can be known of a Mac without one, a line each.

Each line is ok, failed (what is wrong is below it), missing (the check itself is not there) or
skipped (a program that it needs is not installed; the line says which). Anything but ok and
skipped is exit code 1. scripts/mac-check.sh runs the real things on a Mac.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from formula_rules import RULES

ROOT = Path(__file__).parents[1]
FORMULA = ROOT / "Formula" / "lfm.rb"

FORMULA_TESTS = "tests/release/test_formula.py"
BUILT = "tests/release/test_distribution.py"
CHECKS = {
    "formula is of the lock file": (FORMULA_TESTS, "test_the_file"),
    "formula in Ruby": (FORMULA_TESTS, "it_says or caveats or older_mlx"),
    "formula of a release": (FORMULA_TESTS, "a_release or copy_in"),
    "rubocop": (FORMULA_TESTS, "rubocop"),
    "completions": (FORMULA_TESTS, "completions"),
    "lock file": ("tests/release/test_lock.py", ""),
    "manual page": ("tests/release/test_manual.py", ""),
    "workflows of GitHub": ("tests/release/test_workflows.py", ""),
    "wheel and source archive": (BUILT, "not formulas_own_test"),
    "wheel runs the formula's test": (BUILT, "formulas_own_test"),
    "mac-check.sh": ("tests/release/test_mac_check.py", ""),
    "agent's plist and unit": ("tests/daemon/test_agent.py", ""),
    "starting at a connection": ("tests/daemon/test_activation.py", ""),
    "lfm daemon install": ("tests/cli/test_daemon_install.py", ""),
    "Quick Actions": ("tests/cli/test_quick_actions.py", ""),
    "files of Shortcuts": ("tests/cli/test_shortcut_files.py", ""),
    "pictures of Shortcuts": ("tests/cli/test_shortcut_pictures.py", ""),
    "lfm shortcuts": ("tests/cli/test_shortcuts.py", ""),
}
"""What pytest runs for each line: a file, and which tests of it."""


@dataclass(frozen=True)
class Line:
    """A check and what came of it; `told` is printed below it."""

    name: str
    state: str
    note: str = ""
    told: str = ""


def rules() -> Iterator[Line]:
    """Homebrew's rules, each on the formula."""
    text = FORMULA.read_text("utf-8")
    for name, check in RULES.items():
        wrong = list(check(text))
        yield Line(f"rule: {name}", "failed" if wrong else "ok", told="\n".join(wrong))


def ruby() -> Line:
    """Ruby's own look at the formula."""
    if shutil.which("ruby") is None:
        return Line("ruby -c Formula/lfm.rb", "skipped", "no ruby")
    result = subprocess.run(["ruby", "-wc", FORMULA], capture_output=True, text=True)
    state = "failed" if result.returncode or result.stderr else "ok"
    return Line("ruby -c Formula/lfm.rb", state, result.stdout.strip(), result.stderr)


def tests(name: str, file: str, which: str) -> Line:
    """A file of tests, or some of it."""
    if not (ROOT / file).is_file():
        return Line(name, "missing", file)
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-rs", file, "-k", which]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    summary = (result.stdout.strip().splitlines() or [""])[-1]
    if result.returncode:
        return Line(name, "failed", summary, result.stdout[-4000:] + result.stderr[-1000:])
    reasons = sorted(set(re.findall(r"^SKIPPED \[\d+\] \S+: (.*)$", result.stdout, re.MULTILINE)))
    note = re.sub(r" in [\d.]+s.*", "", summary) + (f" ({'; '.join(reasons)})" if reasons else "")
    return Line(name, "ok" if " passed" in summary else "skipped", note)


def lines() -> Iterator[Line]:
    yield from rules()
    yield ruby()
    for name, (file, which) in CHECKS.items():
        yield tests(name, file, which)


def main() -> int:
    bad = 0
    for line in lines():
        print(f"{line.state:<8} {line.name:<32} {line.note}".rstrip(), flush=True)
        if line.state in ("failed", "missing"):
            bad += 1
            print("\n".join(f"         | {told}" for told in line.told.splitlines()), flush=True)
    print(f"\n{bad} failed or missing" if bad else "\nall is well, as far as this machine can tell")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
