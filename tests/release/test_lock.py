"""`uv.lock` holds what pyproject.toml asks for, and all that the formula needs."""

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import resources

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = resources.load_lock()
(OURS,) = [package for package in PACKAGES if package["name"] == resources.PROJECT]


def asked(requirements: list[Any]) -> set[tuple[str, frozenset[str], str]]:
    """Requirements of pyproject.toml as name, extras and specifier."""
    parsed = [Requirement(entry) for entry in requirements if isinstance(entry, str)]
    return {
        (canonicalize_name(each.name), frozenset(each.extras), str(each.specifier))
        for each in parsed
    }


def of_group(name: str) -> list[Any]:
    """A group's requirements, those of the groups in it among them."""
    entries: list[Any] = []
    for entry in PYPROJECT["dependency-groups"][name]:
        entries += [entry] if isinstance(entry, str) else of_group(entry["include-group"])
    return entries


def locked(entries: list[dict[str, Any]]) -> set[tuple[str, frozenset[str], str]]:
    """The same as the lock file has taken it down."""
    return {
        (
            entry["name"],
            frozenset(entry.get("extras", ())),
            str(Requirement(f"x{entry.get('specifier', '')}").specifier),
        )
        for entry in entries
    }


def test_the_lock_was_made_of_these_requirements():
    """`make lock` makes it anew."""
    metadata = OURS["metadata"]
    assert locked(metadata["requires-dist"]) == asked(PYPROJECT["project"]["dependencies"])
    for group in PYPROJECT["dependency-groups"]:
        assert locked(metadata["requires-dev"][group]) == asked(of_group(group)), group


@pytest.mark.parametrize("requirement", PYPROJECT["project"]["dependencies"])
def test_what_is_locked_is_in_range(requirement: str):
    wanted = Requirement(requirement)
    versions = [p["version"] for p in PACKAGES if p["name"] == canonicalize_name(wanted.name)]
    assert versions and all(wanted.specifier.contains(version) for version in versions)


def test_every_file_is_one_of_pypi_with_its_digest():
    for package in PACKAGES:
        if package is OURS:
            continue
        assert package["source"] == {"registry": "https://pypi.org/simple"}
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        for file in files:
            assert file["url"].startswith("https://files.pythonhosted.org/packages/")
            algorithm, _, digest = file["hash"].partition(":")
            assert algorithm == "sha256" and len(digest) == 64


def test_uv_agrees(tmp_path: Path):
    """Without the network: what is in the lock file fits what is in pyproject.toml."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv")
    result = subprocess.run(
        [uv, "export", "--frozen", "--no-dev", "--no-emit-project", "--project", ROOT],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "tokenizers==" in result.stdout


# What the formula takes of it


def test_the_formula_needs_what_a_mac_needs():
    needs = resources.needed(PACKAGES)
    names = [each.name for each in needs.resources]
    for requirement in PYPROJECT["project"]["dependencies"]:
        name = canonicalize_name(Requirement(requirement).name)
        assert (name in names) != (name in resources.BREWED), name
    assert {"mlx", "numpy", "pydantic", "portaudio", "libsndfile"} <= set(needs.formulae)
    assert "pytest" not in names and "mlx-cpu" not in names
    assert all(each.url.endswith(".tar.gz") for each in needs.resources)


def test_what_the_tables_name_is_in_the_lock():
    """A dependency that is gone takes its tools and libraries with it."""
    here = {package["name"] for package in resources.closure(PACKAGES)}
    for table in (resources.BREWED, resources.LEFT_OUT, resources.LIBRARIES, resources.TOOLS):
        assert set(table) <= here


def test_a_new_compiled_package_is_an_error_until_it_is_told_how_it_is_built(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delitem(resources.TOOLS, "tokenizers")
    with pytest.raises(ValueError, match="tokenizers has no wheel for all machines"):
        resources.needed(PACKAGES)


def test_a_package_without_a_source_archive_is_an_error():
    without = [{k: v for k, v in p.items() if k != "sdist"} for p in PACKAGES]
    with pytest.raises(ValueError, match="has no source archive"):
        resources.needed(without)
