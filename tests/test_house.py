"""Rules of the house that no linter knows: exports, imports without side effects, the wheel."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("lfm2audio_mlx", "lfm_convert", "lfm_cli", "lfm_daemon")


def modules() -> list[str]:
    names: list[str] = []
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        names += [package, *(m.name for m in pkgutil.walk_packages(path, f"{package}."))]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.parametrize("name", modules())
def test_what_a_module_exports_is_there_and_sorted(name: str):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), "a module says in its first lines what it is for"
    exported = getattr(module, "__all__", [])
    assert all(hasattr(module, entry) for entry in exported)
    assert len(set(exported)) == len(exported)


def test_the_package_gives_its_names_without_loading_mlx():
    code = """
import sys, lfm2audio_mlx
assert "mlx" not in sys.modules
assert lfm2audio_mlx.Engine.__name__ == "Engine"
assert "mlx" in sys.modules
try:
    lfm2audio_mlx.nothing
except AttributeError as error:
    assert "nothing" in str(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_no_file_is_long_and_no_line_of_it_strays():
    """About 350 lines a file; past 450 it holds more than one idea."""
    root = Path(__file__).parents[1]
    for folder in ("lfm2audio_mlx", "cli", "daemon", "convert", "scripts"):
        for path in (root / folder).rglob("*.py"):
            assert len(path.read_text("utf-8").splitlines()) <= 450, path
