"""Which models there are on this machine, by their names, and the folder of each.

Installed ones are folders of `models` in `LFM_HOME`, or in the user's data folder; names that start
with a dot are the converter's own. One more, tiny, ships with the package.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lfm2audio_mlx.errors import CheckpointError, LfmError, ModelError, RequestError
from lfm2audio_mlx.home import data_folder, expanded
from lfm2audio_mlx.manifest import Manifest, check_files, read_manifest

__all__ = [
    "DEFAULT",
    "EMBEDDED",
    "NANO",
    "Installed",
    "check_name",
    "find",
    "find_model",
    "folder_size",
    "look_at",
    "model_name",
    "models",
    "models_folder",
    "preferred",
]

NANO = "nano"
"""The name of the checkpoint that ships with the package; no other can have it."""
EMBEDDED = Path(__file__).parent / NANO
"""Its folder."""
DEFAULT = "lfm2.5-audio-1.5b"
"""The name of the model that people get who name none."""

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


def models() -> list[Installed]:
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


def find_model(model: str) -> Path:
    """The folder that a user means: one that exists, or else a model by its name.

    Raises:
        ModelError: it is neither.
    """
    folder = expanded(model)
    if model and folder.is_dir():
        return folder
    if model == NANO:
        return EMBEDDED
    try:
        return find(model)
    except RequestError as error:
        raise ModelError(
            f"'{model}' is neither a folder nor an installed model: `lfm list` shows what is "
            "there, `lfm pull` gets more"
        ) from error


def model_name(folder: Path) -> str:
    """What finds this model again: its name if it has one, else its folder."""
    if folder == EMBEDDED:
        return NANO
    folder = folder.resolve()
    return folder.name if folder.parent == models_folder().resolve() else str(folder)


def preferred() -> Path | None:
    """Of the installed models the one that `lfm pull` gets by itself, or else the first."""
    there = {entry.name: entry.folder for entry in models()}
    return there.get(DEFAULT, next(iter(there.values()), None))
