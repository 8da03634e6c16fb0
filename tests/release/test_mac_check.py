"""scripts/mac-check.sh is a script without faults, and tells what fails; on a Mac it runs for real.

Here every program of macOS is a stub that does what it is told to.
"""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import mac_check
from lfm_cli.shortcut_catalogue import QUICK_ACTIONS, SHORTCUTS, Installation
from lfm_cli.shortcut_places import put, write_unsigned

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "mac-check.sh"
NAMES = re.findall(r'^check "([^"]+)"', SCRIPT.read_text("utf-8"), re.MULTILINE)
WITH_SCRIPTS = (".wflow", ".shortcut")
PROGRAMS = (
    *("sysctl", "brew", "afconvert", "plutil", "launchctl", "curl", "automator", "shortcuts"),
    *("osacompile", "lfm", "man", "stat", "sleep", "make"),
)

pytestmark = pytest.mark.skipif(platform.system() == "Darwin", reason="stubs are for other systems")


def run(
    *arguments: str, script: Path = SCRIPT, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", script, *arguments],
        env={**os.environ, **({"PATH": path} if path else {})},
        capture_output=True,
        text=True,
        timeout=120,
    )


def stubs(folder: Path, code: int) -> str:
    """A PATH on which this is a Mac, whose programs say nothing and end with `code`."""
    (folder / "uname").write_text("#!/bin/sh\necho Darwin\n")
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho '{name} was run'\nexit {code}\n")
    for path in folder.iterdir():
        path.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_bash_reads_it():
    assert SCRIPT.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_shellcheck_finds_no_fault():
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck")
    for script in (SCRIPT, ROOT / ".ci" / "run"):
        result = subprocess.run(["shellcheck", script], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout


def test_where_there_is_no_mac_it_says_so():
    result = run()
    assert result.returncode == 2
    assert "this is no Mac" in result.stderr and result.stdout == ""
    assert run("--what").returncode == 2


@pytest.mark.parametrize("code", [0, 1])
def test_every_check_has_its_line(tmp_path: Path, code: int):
    """What stubs say is never what a Mac would say, so that a check that is ok for both is none."""
    script, programs = tmp_path / "scripts" / "mac-check.sh", tmp_path / "bin"
    script.parent.mkdir()
    programs.mkdir()
    shutil.copy(SCRIPT, script)  # in a checkout that has no environment
    result = run("--installed", script=script, path=stubs(programs, code))
    lines = re.findall(r"^(ok|failed|skipped) +(.{40})", result.stdout, re.MULTILINE)
    assert [name.strip() for _, name in lines] == NAMES
    assert result.returncode == 1 and re.search(r"^\d+ failed$", result.stdout, re.MULTILINE)
    assert "unbound variable" not in result.stdout + result.stderr
    assert "command not found" not in result.stdout + result.stderr
    states = dict((name.strip(), state) for state, name in lines)
    for name in ("lfm hears", "the first connection starts it", "a Quick Action runs (automator)"):
        assert states[name] in ("failed", "skipped"), name
    if code:
        assert "ok" not in states.values()


def test_what_is_compiled_is_all_the_applescript_that_is_written(tmp_path: Path):
    lfm = Installation("/opt/homebrew/bin/lfm")
    for action in QUICK_ACTIONS:
        put(action, lfm, tmp_path, False, "written")
    for shortcut in SHORTCUTS:
        write_unsigned(shortcut, lfm, tmp_path, False)
    function = re.search(r"^apple_script\(\).*?^}$", SCRIPT.read_text("utf-8"), re.DOTALL | re.M)
    assert function
    command = ["bash", "-c", f'{function[0]}\napple_script "$1"', "-", tmp_path]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    scripts = re.findall(r"^on run argv\n(?:.+\n)+?end run\n", told, re.MULTILINE)
    assert "".join(scripts) == told
    written = [p.read_text("utf-8") for p in tmp_path.rglob("*") if p.suffix in WITH_SCRIPTS]
    assert len(scripts) == sum(text.count("osascript -e") for text in written) > 8


# `make mac-check`


def test_a_check_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    line = mac_check.tests("nothing", "tests/release/test_nothing.py", "")
    assert (line.state, line.note) == ("missing", "tests/release/test_nothing.py")


def test_a_failure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "test_it.py").write_text("def test_this():\n    assert False, 'the reason'\n")
    monkeypatch.setattr(mac_check, "ROOT", tmp_path)
    line = mac_check.tests("it", "test_it.py", "")
    assert line.state == "failed" and "the reason" in line.told
    bad = mac_check.tests("it", "test_it.py", "no_such_test")
    assert bad.state == "failed", "a selection of nothing is no check"


def test_each_line_selects_tests_that_there_are():
    for file, which in mac_check.CHECKS.values():
        names = re.findall(r"^def (test_\w+)", (ROOT / file).read_text("utf-8"), re.MULTILINE)
        words = [word for word in which.split() if word not in ("or", "not")]
        assert all(any(word in name for name in names) for word in words), (file, which)
