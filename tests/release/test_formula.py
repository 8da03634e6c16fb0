"""Formula/lfm.rb is what scripts/formula.py makes of the lock file, and keeps Homebrew's rules."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import formula
from formula_rules import RULES, faults
from lfm2audio_mlx import __version__

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Formula" / "lfm.rb"
TEXT = FILE.read_text("utf-8")
STAGE = Path(__file__).parent / "stage.rb"
SCRIPT = ROOT / "scripts" / "formula.py"

needs_ruby = pytest.mark.skipif(shutil.which("ruby") is None, reason="no ruby")
needs_rubocop = pytest.mark.skipif(shutil.which("rubocop") is None, reason="no rubocop")
needs_brew = pytest.mark.skipif(shutil.which("brew") is None, reason="no Homebrew")


def test_the_file_is_what_the_lock_file_makes():
    """`make formula` writes it."""
    assert formula.formula(formula.UNRELEASED, formula.needed(formula.load_lock())) == TEXT


@pytest.mark.parametrize("rule", RULES)
def test_it_keeps_the_rule(rule: str):
    assert list(RULES[rule](TEXT)) == []


BROKEN = {
    "class": ("class Lfm", "class LFM"),
    "order of components": ('  license "Apache-2.0"\n', ""),
    "desc": ('desc "Hear', 'desc "The lfm hears'),
    "homepage": ('homepage "https', 'homepage "http'),
    "license": ('license "Apache-2.0"', 'license "Apache"'),
    "archives and digests": ('    sha256 "0a3', '    sha256 "0A3'),
    "dependencies": ('  depends_on "mlx"\n', '  depends_on "zlib"\n'),
    "resources": ('  depends_on "libyaml"\n', ""),
    "install": ("    generate_completions_from_executable", "    no_completions"),
    "caveats": ("lfm pull", "lfm push"),
    "service": ("run [opt_bin", "run [bin"),
    "test": ("  test do\n", "  test do\n    true\n  end\n\n  tested do\n"),
    "layout": ("  service do\n", "  service do \n"),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_can_be_broken(rule: str):
    good, bad = BROKEN[rule]
    assert good in TEXT
    assert rule in faults(TEXT.replace(good, bad))


# A release


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60
    )


def test_a_release_fills_in_owner_address_and_digest(tmp_path: Path):
    archive = tmp_path / formula.ARCHIVE
    archive.write_bytes(b"an archive")
    result = run_script(str(archive), "somebody/lfm2audio-mlx")
    assert result.returncode == 0, result.stderr
    assert formula.NO_DIGEST not in result.stdout and formula.NO_OWNER not in result.stdout
    assert hashlib.sha256(b"an archive").hexdigest() in result.stdout
    assert f"somebody/lfm2audio-mlx/releases/download/v{__version__}/" in result.stdout
    assert faults(result.stdout) == {}
    assert result.stdout == run_script(str(archive), "somebody/lfm2audio-mlx").stdout


def test_a_release_cannot_be_made_of_what_is_none(tmp_path: Path):
    archive = tmp_path / formula.ARCHIVE
    other = tmp_path / "lfm2audio_mlx-9.9.9.tar.gz"
    other.write_bytes(b"another version")
    wrong = {
        (str(archive), "somebody/lfm"): formula.ARCHIVE,  # it is not there
        (str(other), "somebody/lfm"): "is in lfm2audio_mlx",
    }
    archive_there = [
        ("lfm", "OWNER/NAME"),
        (formula.UNRELEASED.repository, "true owner"),
    ]
    for (path, repository), message in wrong.items():
        result = run_script(path, repository)
        assert result.returncode == 1 and message in result.stderr and result.stdout == ""
    archive.write_bytes(b"an archive")
    for repository, message in archive_there:
        result = run_script(str(archive), repository)
        assert result.returncode == 1 and message in result.stderr and result.stdout == ""


def test_the_copy_in_the_repository_installs_nothing():
    assert formula.NO_DIGEST in TEXT and f"github.com/{formula.NO_OWNER}/" in TEXT


# In Ruby


@pytest.fixture(scope="module")
def staged() -> dict[str, Any]:
    """What the formula says and does, by a stand-in for Homebrew."""
    result = subprocess.run(["ruby", STAGE, FILE], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@needs_ruby
def test_ruby_reads_it():
    result = subprocess.run(["ruby", "-wc", FILE], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert "Syntax OK" in result.stdout and result.stderr == ""


@needs_ruby
def test_it_says_and_does_what_it_should(staged: dict[str, Any]):
    assert staged["version"] == __version__
    assert staged["calls"] == [
        ["virtualenv_install_with_resources"],
        ["completions", "/bin/lfm", {"shell_parameter_format": "typer"}],
    ]
    ((recording, name),) = staged["shared"][0].items()
    assert (ROOT / recording).is_file() and name == "alarm.wav"
    assert staged["service"] == {
        "run": ["/opt_bin/lfm", "serve"],
        "keep_alive": {"crashed": True},
        "process_type": "interactive",
        "log_path": "/var/log/lfm.log",
        "error_log_path": "/var/log/lfm.log",
    }
    needs = formula.needed(formula.load_lock())
    assert staged["resource"] == {
        each.name: {"url": each.url, "sha256": each.sha256} for each in needs.resources
    }


@needs_ruby
def test_commands_in_the_caveats_are_commands(staged: dict[str, Any]):
    lines = [line.strip() for line in staged["caveats"].splitlines() if line.startswith("  lfm ")]
    assert len(lines) >= 4
    for line in lines:
        words = [word for word in line.split()[1:] if re.fullmatch(r"-*[a-z-]+", word)]
        path = words[:2] if words[0] == "daemon" else words[:1]
        command = [sys.executable, "-m", "lfm_cli", *path, "--help"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, line
        assert all(word in result.stdout for word in words if word.startswith("-")), line


@needs_ruby
@pytest.mark.parametrize(("mlx", "fits"), [("0.31.9", False), ("0.32.0", True), ("1.0.0", True)])
def test_an_older_mlx_of_homebrew_is_refused(mlx: str, fits: bool):
    result = subprocess.run(
        ["ruby", STAGE, FILE],
        env={**os.environ, "STAGED_MLX": mlx},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode == 0) is fits
    assert fits or "brew upgrade mlx" in result.stderr


@needs_rubocop
def test_rubocop_finds_nothing(tmp_path: Path):
    """With the settings of Homebrew's that change what its stock rules ask of a formula."""
    config = tmp_path / "rubocop.yml"
    config.write_text((Path(__file__).parent / "rubocop.yml").read_text("utf-8"))
    for name, wanted in ((FILE, 0), (tmp_path / "bad.rb", 1)):
        if wanted:
            name.write_text(TEXT.replace('license "Apache-2.0"', "license 'Apache-2.0' "))
        result = subprocess.run(
            ["rubocop", "--config", config, "--cache", "false", name],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == wanted, result.stdout + result.stderr


@needs_brew
def test_brew_style_finds_nothing():
    result = subprocess.run(
        ["brew", "style", "--formula", FILE], capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completions_are_there_as_homebrew_asks_for_them(shell: str):
    result = subprocess.run(
        [Path(sys.executable).parent / "lfm", "--show-completion", shell],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert "_LFM_COMPLETE" in result.stdout
