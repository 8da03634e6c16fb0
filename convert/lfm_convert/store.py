"""Changes to the models that are installed: one worker at a time, whole or not at all.

Names that start with a dot are ours: locks, downloads, and models that are not finished.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.installed import find, models_folder

__all__ = ["locked", "originals_folder", "remove", "staging_folder"]


def originals_folder() -> Path:
    """Where downloads are kept until they are converted, and after that on request."""
    return models_folder() / ".originals"


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
