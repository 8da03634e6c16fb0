"""What README and docs tell people to type works, and what they say exists is there."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lfm_cli.model import NOTE

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """Fenced blocks of a language, with the document's name."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(path.name, block) for path in DOCUMENTS for block in pattern.findall(path.read_text())]


def lines(language: str) -> list[str]:
    return [line for _, block in blocks(language) for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the repository's files in view, where commands may write."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("tests", "lfm2audio_mlx"):
        (folder / name).symlink_to(ROOT / name)
    yield folder
    # Commands start a daemon by themselves.
    stop = [sys.executable, "-m", "lfm_cli", "daemon", "stop"]
    subprocess.run(stop, env={**os.environ, "LFM_HOME": str(folder)}, capture_output=True)


def surroundings(workplace: Path) -> dict[str, str]:
    """`lfm` on the PATH, and a home of its own."""
    place = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "LFM_HOME": str(workplace)}


SHELL = re.compile(r"^(lfm|echo|cat|curl) |\| *lfm ")


def test_commands_run_in_the_order_they_are_given(workplace: Path):
    """In bash, as a reader types them, with a home of their own."""
    env = surroundings(workplace)
    env.pop("LFM_MODEL", None)
    ran = 0
    for line in lines("sh"):
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            env[name] = value
        elif SHELL.search(line):
            result = subprocess.run(
                ["bash", "-c", line],
                cwd=workplace,
                env=env,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert result.returncode == 0, f"{line}\n{result.stderr}"
            said = [told for told in result.stderr.splitlines() if told != f"lfm: {NOTE}"]
            assert said == [] or "config" in line, f"{line}\n{result.stderr}"
            ran += 1
    assert ran > 30
    assert {"alarm.wav", "alarm.flac", "answer.wav", "nano-4bit", "transcripts"} <= {
        path.name for path in workplace.iterdir()
    }


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {word for line in lines("sh") if line.startswith("make ") for word in line.split()[1:]}
    assert {"demo", "test"} <= told <= targets


@pytest.mark.parametrize(("document", "code"), blocks("python"))
def test_python_examples_run(workplace: Path, document: str, code: str):
    env = {**surroundings(workplace), "LFM_MODEL": "nano"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=workplace, env=env, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, f"{document}: {result.stderr}"
    assert "alarm set for five thirty" in result.stdout


def test_every_other_command_is_spelled_as_the_help_has_it(workplace: Path):
    """Commands that need weights which are not here are still parsed: options must exist."""
    for line in lines("console"):
        if line.startswith("> "):
            continue  # what is typed inside
        assert line.startswith("$ lfm ")
        command, options = shlex.split(line)[2], re.findall(r"--[a-z-]+", line)
        result = subprocess.run(
            [sys.executable, "-m", "lfm_cli", command, "--help"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert all(option in result.stdout for option in options)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_module_of_the_engine_has_a_room_in_the_plan():
    plan = (ROOT / "docs" / "architecture.md").read_text()
    for path in (ROOT / "lfm2audio_mlx").rglob("*.py"):
        if path.stem not in ("__init__", "layers"):
            assert path.stem in plan, path


@pytest.mark.slow
def test_what_is_derived_is_written_down():
    """docs/performance.md follows from the code (`make performance`)."""
    script = ROOT / "scripts" / "performance.py"
    printed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "performance.md").read_text() == printed.stdout
