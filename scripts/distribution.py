"""Builds the wheel and the source archive, and runs the formula's own test on what a wheel
installs; `make dist` prints what was built.

An empty environment is made for the test, and nothing is downloaded: the wheel is installed by
itself, and finds its dependencies where this Python has them.
"""

import io
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build(folder: Path, kind: str, source: Path = ROOT) -> Path:
    """The path of a `wheel` or an `sdist` of a source tree, built with hatchling.

    Raises:
        CalledProcessError: it could not be built.
    """
    before = set(folder.glob("*")) if folder.exists() else set[Path]()
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True, text=True)
    (built,) = set(folder.glob("*")) - before
    return built


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """What a wheel installs, by path; without the list of its own files."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("RECORD")]
        return {name: archive.read(name) for name in names}


def archive_files(archive: Path) -> dict[str, bytes]:
    """What a source archive holds, by path below its one folder."""
    with tarfile.open(archive) as opened:
        members = [member for member in opened.getmembers() if member.isfile()]
        return {
            member.name.partition("/")[2]: (opened.extractfile(member) or io.BytesIO()).read()
            for member in members
        }


def unpack(archive: Path, folder: Path) -> Path:
    """The one folder of a source archive."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found


def install(wheel: Path, folder: Path) -> Path:
    """An environment in which there is a wheel and nothing else; the folder of its programs."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True)
    place = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    # After its own folder, so that the wheel's modules are found first.
    (Path(place) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def formula_test(programs: Path, shared: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the test of Formula/lfm.rb, as Ruby reads it, on an installed `lfm`.

    `shared` is what the formula calls pkgshare, `folder` an empty one for the test.
    """
    stage = ROOT / "tests" / "release" / "stage.rb"
    manuals = programs.parent / "share" / "man" / "man1"
    command = ["ruby", stage, ROOT / "Formula" / "lfm.rb", programs, shared, manuals, folder]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LFM_", "PYTHON"))}
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300
    )


if __name__ == "__main__":
    for kind in ("sdist", "wheel"):
        print(build(ROOT / "dist", kind).relative_to(ROOT))
