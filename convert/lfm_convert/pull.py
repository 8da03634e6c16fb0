"""Get a model ready to use: download it, convert it into the store, delete the original."""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from lfm2audio_mlx import installed
from lfm2audio_mlx.errors import CheckpointError, ConfigError, DownloadError, RequestError
from lfm2audio_mlx.home import expanded
from lfm2audio_mlx.installed import NANO
from lfm2audio_mlx.manifest import Manifest, check_files, read_manifest
from lfm_convert import store
from lfm_convert.catalogue import CATALOGUE, entry_of
from lfm_convert.convert import convert
from lfm_convert.download import Snapshot, fetch, look_up, missing_bytes
from lfm_convert.recipes import RECIPES

__all__ = ["pull"]

Tell = Callable[[str], None]
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]
"""Called with a task; the context's value is called with bytes done and bytes in all."""

_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


@dataclass(frozen=True)
class _Origin:
    """A `folder`, or else a revision of a repository; `family` "" is left to the converter."""

    name: str
    folder: Path | None = None
    repository: str = ""
    revision: str = ""
    family: str = ""


def _silent(_: str) -> None:
    pass


def _no_progress(_: str) -> AbstractContextManager[None]:
    return nullcontext()


def pull(
    model: str,
    *,
    recipe: str,
    keep_original: bool = False,
    name: str | None = None,
    tell: Tell = _silent,
    progress: Progress = _no_progress,
) -> Path:
    """Install a model and return its folder.

    `model` is a name in the catalogue, a folder with a checkpoint, or `OWNER/NAME[@REVISION]` on
    the hub; `name` is what it shall be called here. `tell` gets a line for each step. The model
    appears when it is whole; what was downloaded until an interruption is kept and not fetched
    again. One that is there already is replaced when the commit or the recipe is another.

    Raises:
        RequestError: the model, name or recipe is none, the name is taken, or another pull has it.
        DownloadError: the hub, the network or the disk does not play along.
        ConfigError: the checkpoint's configuration is missing or at fault.
        CheckpointError: one of its tensors or files is.
    """
    if recipe not in RECIPES:
        raise RequestError(f"recipe '{recipe}' is unknown; there are {', '.join(RECIPES)}")
    origin = _resolve(model)
    name = installed.check_name(name or origin.name)
    if name == NANO:
        raise RequestError(f"'{name}' is the embedded checkpoint's name; choose another (--name)")
    with store.locked(name):
        target = installed.models_folder() / name
        before = _installed(target, origin)
        if origin.folder:
            _install(origin, origin.folder, target, recipe, "", progress)
            return target
        if _is_same(target, before, recipe, origin.revision):  # a commit needs no looking up
            tell(f"{name}: installed already, commit {origin.revision[:12]}")
            return target
        snapshot = look_up(origin.repository, origin.revision)
        if _is_same(target, before, recipe, snapshot.commit):
            tell(f"{name}: installed already, commit {snapshot.commit[:12]}")
            return target
        key = f"{snapshot.repository.replace('/', '--')}@{snapshot.commit}"
        original = store.originals_folder() / key
        with store.locked(key):
            _download(snapshot, original, recipe, tell)
            _install(origin, original, target, recipe, snapshot.commit, progress)
            if keep_original:
                tell(f"the original is kept in {original}")
            else:
                shutil.rmtree(original, ignore_errors=True)
    return target


def _resolve(model: str) -> _Origin:
    """What the user means: the catalogue first, then a folder, then the hub."""
    if entry := CATALOGUE.get(model):
        return _Origin(model, None, entry.repository, entry.revision, entry.prompts)
    folder = expanded(model)
    if model and folder.is_dir():
        return _Origin(folder.resolve().name.lower(), folder)
    match = _REPOSITORY.fullmatch(model)
    if match is None:
        raise RequestError(
            f"'{model}' is no folder, no OWNER/NAME on the hub and none of {', '.join(CATALOGUE)}"
        )
    repository, revision = match.groups()
    name, revision = repository.partition("/")[2].lower(), revision or "main"
    if entry := entry_of(repository):
        return _Origin(name, None, entry.repository, revision, entry.prompts)
    return _Origin(name, None, repository, revision)


def _installed(target: Path, origin: _Origin) -> Manifest | None:
    """The manifest of what is at `target`, which may be replaced; None where nothing is.

    Raises:
        RequestError: it is something else, which must not be lost.
    """
    if not os.path.lexists(target):
        return None
    how = f"choose another name (--name) or `lfm rm {target.name}` first"
    try:
        manifest = read_manifest(target)
    except ConfigError as error:
        raise RequestError(f"{error}; {how}") from error
    if manifest is None or origin.folder or manifest.source != origin.repository:
        what = f"'{manifest.source}'" if manifest else "something of unknown origin"
        raise RequestError(f"{target.name}: holds {what} already; {how}")
    return manifest


def _is_same(target: Path, before: Manifest | None, recipe: str, commit: str) -> bool:
    """Is what is wanted there, with all its files?"""
    if before is None or (before.recipe, before.revision) != (recipe, commit):
        return False
    try:
        check_files(target, before)
    except CheckpointError:
        return False
    return True


def _download(snapshot: Snapshot, folder: Path, recipe: str, tell: Tell) -> None:
    missing = missing_bytes(snapshot, folder)
    wanted = missing + _converted_bytes(snapshot, recipe)
    free = shutil.disk_usage(installed.models_folder()).free
    if free < wanted:
        raise DownloadError(
            f"{snapshot.repository}: {wanted / 1e9:,.2f} GB are needed to download and convert "
            f"it, {free / 1e9:,.2f} GB are free in {installed.models_folder()}"
        )
    here = snapshot.size - missing
    tell(
        f"{snapshot.repository}, commit {snapshot.commit[:12]}: {snapshot.size / 1e6:,.1f} MB in "
        f"{len(snapshot.files)} files" + (f", {here / 1e6:,.1f} MB of it here" if here else "")
    )
    fetch(snapshot, folder)


def _converted_bytes(snapshot: Snapshot, recipe: str) -> int:
    """An upper bound, from an original in 16 bits a weight."""
    made = RECIPES[recipe]
    stored = 32 if made.dtype == "float32" else 16
    if made.parts:
        stored = max(part.bits for part in made.parts) + 1  # scales and biases of groups of 32
    return snapshot.size * stored // 16


def _install(
    origin: _Origin,
    source: Path,
    target: Path,
    recipe: str,
    commit: str,
    progress: Progress,
) -> None:
    """Convert out of sight, then put the whole at `target`, in the place of what is there."""
    with store.staging_folder(target.name) as staging:
        with progress("converting") as show:
            made = convert(
                source,
                staging / "new",
                recipe,
                origin.family or None,
                repository=origin.repository,
                revision=commit,
                progress=show,
            )
        old = staging / "old"
        try:
            if os.path.lexists(target):
                target.rename(old)
            made.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
