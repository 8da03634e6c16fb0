"""The workflows are what GitHub takes, and none can do more than it is for."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
RUNNERS = {"ubuntu-24.04", "macos-15", "${{ matrix.os }}"}
WRITES = {
    ("release.yml", "attest"): {"id-token": "write", "attestations": "write"},
    ("release.yml", "publish"): {"id-token": "write"},
    ("release.yml", "release"): {"contents": "write"},
}
"""The jobs that may do more than read, and what."""


def workflow(path: Path) -> dict[str, Any]:
    """A workflow; YAML 1.1 reads its key `on` as true."""
    read: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in read.items()}


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return workflow(path)["jobs"]


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


def test_there_are_the_ones_that_we_know():
    assert [path.name for path in FILES] == ["ci.yml", "formula.yml", "macos.yml", "release.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_its_keys_are_those_of_github(path: Path):
    assert set(workflow(path)) <= {"name", "on", "permissions", "jobs", "concurrency", "env"}
    assert workflow(path)["permissions"] == {"contents": "read"}
    for name, job in jobs(path).items():
        known = {"runs-on", "needs", "strategy", "steps", "permissions", "environment", "env"}
        assert set(job) <= known, name
        assert job["runs-on"] in RUNNERS
        needs = job.get("needs", [])
        assert {needs} if isinstance(needs, str) else set(needs) <= set(jobs(path))
        assert job.get("permissions", {}) == WRITES.get((path.name, name), {}), name
    for step in steps(path):
        assert set(step) <= {"name", "uses", "with", "run", "env"}
        assert ("uses" in step) != ("run" in step)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_have_versions(path: Path):
    """A major version of GitHub's own; a commit with its version where a job may publish."""
    for line in re.findall(r"uses: (.*)", path.read_text("utf-8")):
        if path.name == "release.yml":
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
        else:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", line), line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_they_run_is_there(path: Path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for step in steps(path):
        command = step.get("run", "")
        assert set(re.findall(r"\bmake ([a-z-]+)", command)) <= targets, command
        for script in re.findall(r"scripts/[\w.-]+", command):
            assert (ROOT / script).is_file(), script
        assert "${{" not in command, "what GitHub fills in may be anything: pass it by env"
        if step.get("uses", "").startswith("actions/checkout") and path.name != "ci.yml":
            assert path.name == "macos.yml" or step["with"] == {"persist-credentials": False}


def test_a_release_is_built_once_tried_attested_and_then_published():
    path = FOLDER / "release.yml"
    assert workflow(path)["on"] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
    order = list(jobs(path))
    assert order == ["build", "try", "attest", "publish", "release"]
    for before, name in pairwise(order):
        assert jobs(path)[name]["needs"] == before
    assert jobs(path)["publish"]["environment"]["name"] == "pypi"
    assert "secrets." not in path.read_text("utf-8")
    built = [step.get("run", "") for step in jobs(path)["build"]["steps"]]
    assert any("scripts/formula.py dist/*.tar.gz" in command for command in built)
    for name in order[1:]:
        assert not any("make dist" in step.get("run", "") for step in jobs(path)[name]["steps"])


def test_homebrew_builds_tests_and_audits_the_formula():
    commands = "\n".join(step.get("run", "") for step in steps(FOLDER / "formula.yml"))
    for wanted in (
        "brew style",
        "brew install --build-from-source",
        "brew test",
        "brew audit --strict",
        "scripts/mac-check.sh",
    ):
        assert wanted in commands
