"""Where pulled models live, each in a folder of its name, and what is there.

The folder is `models` in `LFM_HOME`, or in the user's data folder. Names that start with a dot are
ours: locks, downloads, and models that are not finished.
"""

import fcntl
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lfm2audio_mlx.errors import CheckpointError, LfmError, RequestError
from lfm2audio_mlx.home import data_folder
from lfm2audio_mlx.manifest import Manifest, check_files, read_manifest

__all__ = [
    "EMBEDDED",
    "Installed",
    "check_name",
    "find",
    "folder_size",
    "installed",
    "locked",
    "look_at",
    "models_folder",
    "originals_folder",
    "remove",
    "staging_folder",
]

EMBEDDED = "nano"
"""The name of the checkpoint that ships with the package; no other can have it."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Installed:
    """A model's folder at a glance; `fault` is empty, or says in one line why it cannot be used.

    `size` is in bytes. `recipe`, `source` and `revision` are as in its `Manifest`, "" if unknown.
    """

    name: str
    folder: Path
    size: int
    recipe: str = ""
    source: str = ""
    revision: str = ""
    fault: str = ""


def models_folder() -> Path:
    """Where models live; it may not exist yet."""
    return data_folder() / "models"


def originals_folder() -> Path:
    """Where downloads are kept until they are converted, and after that on request."""
    return models_folder() / ".originals"


def check_name(name: str) -> str:
    """The name itself, if it can be a model's.

    Raises:
        RequestError: it cannot; a name is never a path.
    """
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"'{name}' cannot be a model's name: letters, digits, '.', '-' and '_', "
            "the first of them no '.' or '-', at most 100"
        )
    return name


def installed() -> list[Installed]:
    """All models, by name.

    Raises:
        RequestError: the folder of models cannot be read.
    """
    root = models_folder()
    try:
        names = sorted(path.name for path in root.iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RequestError(f"{root}: cannot be read: {error.strerror}") from error
    return [look_at(name, root / name) for name in names if _NAME.fullmatch(name)]


def look_at(name: str, folder: Path) -> Installed:
    """What a folder holds, as far as sizes can tell."""
    size, manifest, fault = 0, None, ""
    try:
        size = folder_size(folder)
        manifest = _checked(folder)
    except LfmError as error:
        fault = str(error)
    except OSError as error:
        fault = f"{folder}: cannot be read: {error.strerror}"
    if manifest is None:
        return Installed(name, folder, size, fault=fault)
    origin = manifest.recipe, manifest.source, manifest.revision
    return Installed(name, folder, size, *origin, fault=fault)


def _checked(folder: Path) -> Manifest:
    """The manifest of a folder that has every file at its size.

    Raises:
        ConfigError: the manifest is damaged.
        CheckpointError: it is missing, or a file is missing or of another size.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise CheckpointError(f"{folder}: has no manifest; it is not one that `lfm` made")
    check_files(folder, manifest)
    return manifest


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder and below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def find(name: str) -> Path:
    """The folder of an installed model.

    Raises:
        RequestError: there is none of that name.
    """
    folder = models_folder() / check_name(name)
    if not folder.is_dir():
        raise RequestError(
            f"no model '{name}' is installed: `lfm list` shows what is, `lfm pull` gets more"
        )
    return folder


def remove(name: str) -> None:
    """Delete an installed model; it is gone at once or not at all.

    Raises:
        RequestError: there is none, a pull into it is under way, or it cannot be deleted.
    """
    folder = find(name)
    with locked(name):
        try:
            # Half a model must not be met under its name.
            grave = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".removed-{name}-"))
            folder.rename(grave / name)
            shutil.rmtree(grave)
        except OSError as error:
            raise RequestError(f"{folder}: cannot be removed: {error.strerror}") from error


@contextmanager
def staging_folder(name: str) -> Generator[Path]:
    """An empty folder beside the models, for one that is not finished; gone afterwards.

    To be used under the name's lock: what an earlier, killed process left there is deleted.
    """
    folder = models_folder() / ".unfinished" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(name: str) -> Generator[None]:
    """Hold what `name` stands for, against other processes.

    Raises:
        RequestError: another process holds it, or the folder of models cannot be written.
    """
    locks = models_folder() / ".locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        file = (locks / name).open("w")
    except OSError as error:
        raise RequestError(f"{locks.parent}: cannot be written: {error.strerror}") from error
    with file:
        try:
            # Ends with the process, however it ends. The file stays: a lock on a deleted one
            # would hold nobody off.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(f"{name}: another `lfm` is working on it; wait for that") from None
        yield
