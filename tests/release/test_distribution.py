"""The wheel and the source archive hold the same, and what they install works by itself."""

import email
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import distribution
import formula
from lfm2audio_mlx import __version__

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
DATA = f"lfm2audio_mlx-{__version__}.data/data/"
INFO = f"lfm2audio_mlx-{__version__}.dist-info/"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source archive, the wheel of the tree, and the wheel of the source archive."""
    folder = tmp_path_factory.mktemp("built")
    sdist = distribution.build(folder / "sdist", "sdist")
    source = distribution.unpack(sdist, folder / "source")
    return {
        "sdist": sdist,
        "wheel": distribution.build(folder / "wheel", "wheel"),
        "again": distribution.build(folder / "again", "wheel", source),
    }


@pytest.fixture(scope="module")
def programs(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of the wheel are, installed by itself."""
    return distribution.install(built["wheel"], tmp_path_factory.mktemp("installed") / "venv")


def sources() -> set[str]:
    """What git has of the packages, as paths in the wheel."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *PACKAGES],
        cwd=ROOT,
        text=True,
    ).splitlines()
    there = [name for name in listed if (ROOT / name).is_file()]
    return {
        f"{Path(package).name}/{name[len(package) + 1 :]}"
        for name in there
        for package in PACKAGES
        if name.startswith(f"{package}/")
    }


def test_both_ways_lead_to_the_same_wheel(built: dict[str, Path]):
    wheel, again = (distribution.wheel_files(built[name]) for name in ("wheel", "again"))
    assert set(wheel) == set(again)
    assert [name for name in wheel if wheel[name] != again[name]] == []
    assert built["wheel"].name == f"lfm2audio_mlx-{__version__}-py3-none-any.whl"
    assert built["sdist"].name == formula.ARCHIVE


def test_the_wheel_has_all_of_the_packages_and_nothing_else(built: dict[str, Path]):
    wheel = distribution.wheel_files(built["wheel"])
    code = {name for name in wheel if not name.startswith((DATA, INFO))}
    assert code == sources()
    assert {"lfm2audio_mlx/nano/model.safetensors", "lfm_cli/py.typed"} <= code
    assert {name for name in wheel if name.startswith(DATA)} == {f"{DATA}share/man/man1/lfm.1"}
    told = email.message_from_bytes(wheel[f"{INFO}METADATA"])
    assert told["License-Expression"] == "Apache-2.0" and told["Version"] == __version__


def test_what_the_wheel_has_is_in_the_source_archive_byte_for_byte(built: dict[str, Path]):
    archive = distribution.archive_files(built["sdist"])
    wheel = distribution.wheel_files(built["wheel"])
    places = {Path(package).name: package for package in PACKAGES}
    for name, content in wheel.items():
        if not name.startswith((DATA, INFO)):
            package, _, rest = name.partition("/")
            assert archive[f"{places[package]}/{rest}"] == content, name
    assert archive["docs/lfm.1"] == wheel[f"{DATA}share/man/man1/lfm.1"]
    assert archive[formula.RECORDING] == (ROOT / formula.RECORDING).read_bytes()
    assert {"pyproject.toml", "LICENSE", "README.md", "PKG-INFO"} <= set(archive)


def test_nothing_that_is_only_here_is_in_them(built: dict[str, Path]):
    names = [
        *distribution.archive_files(built["sdist"]),
        *distribution.wheel_files(built["wheel"]),
    ]
    for name in names:
        assert not {"__pycache__", ".venv", "dist", "shared"} & set(Path(name).parts), name
        assert not name.endswith((".pyc", ".whl", ".tar.gz")), name


def test_the_same_tree_makes_the_same_archive(built: dict[str, Path], tmp_path: Path):
    """So a digest in the formula can be checked by anybody."""
    again = distribution.build(tmp_path, "sdist")
    assert again.read_bytes() == built["sdist"].read_bytes()


def test_the_installed_program_is_the_wheels(programs: Path):
    code = "import lfm2audio_mlx, lfm_cli; print(lfm2audio_mlx.__file__, lfm_cli.__file__)"
    told = subprocess.check_output([programs / "python", "-I", "-c", code], text=True)
    assert told.count(str(programs.parent)) == 2
    assert (programs.parent / "share" / "man" / "man1" / "lfm.1").is_file()
    assert {"lfm"} == {path.name for path in programs.iterdir() if path.name.startswith("lfm")}


@pytest.mark.slow
def test_it_passes_the_formulas_own_test(programs: Path, tmp_path: Path):
    if shutil.which("ruby") is None:
        pytest.skip("no ruby")
    shared, folder = tmp_path / "share", tmp_path / "test"
    shared.mkdir()
    folder.mkdir()
    shutil.copy(ROOT / formula.RECORDING, shared / "alarm.wav")
    result = distribution.formula_test(programs, shared, folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert formula.SAID in result.stdout
    # and it can fail
    shutil.copy(ROOT / "tests/data/recordings/seen_04.wav", shared / "alarm.wav")
    result = distribution.formula_test(programs, shared, folder)
    assert result.returncode != 0 and formula.SAID in result.stderr
