"""A repository's files: what a hub announces of them, fetched, resumed and checked.

All that touches the network is here. huggingface_hub makes the requests (its token, `HF_ENDPOINT`,
`HF_HOME`, retries, progress bars), but the loop over the files is ours, for two reasons: its
`snapshot_download` deletes the file that an interruption cut off (so 3 GB start again), and checks
a file's size but not its digest.
"""

# pyright: reportUnknownVariableType=false
# (huggingface_hub's types are partial.)

import errno
import fnmatch
import hashlib
import logging
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers

from lfm2audio_mlx.errors import DownloadError

__all__ = ["RemoteFile", "Snapshot", "fetch", "forbid_offline", "look_up", "missing_bytes"]

log = logging.getLogger(__name__)

WANTED = ("*.json", "*.safetensors", "*.jinja", "LICENSE*", "NOTICE*", "audio_detokenizer/*")
PATIENCE = 30.0
"""Seconds that a hub may take to answer a question."""


@dataclass(frozen=True)
class RemoteFile:
    """`digest`: sha256 (of a large file) or git's blob id, in hexadecimal; "" if not announced."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Snapshot:
    """The files of one commit that a conversion wants."""

    repository: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def forbid_offline(repository: str) -> None:
    """To be called before anything is asked.

    Raises:
        DownloadError: the environment says that the network is not to be used.
    """
    for variable in ("LFM_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(variable, "").upper() in {"1", "ON", "YES", "TRUE"}:
            raise DownloadError(
                f"{repository}: {variable}={os.environ[variable]} forbids the network; unset it "
                "to download"
            )


def look_up(repository: str, revision: str) -> Snapshot:
    """Ask the hub for a revision's commit, and for that commit's files.

    Raises:
        DownloadError: the hub cannot be reached, refuses, or the repository is no checkpoint.
    """
    forbid_offline(repository)
    with _explained(repository, revision):
        info = HfApi().model_info(
            repository, revision=revision, files_metadata=True, timeout=PATIENCE
        )
    if not re.fullmatch(r"[0-9a-f]{40}", info.sha or ""):
        raise DownloadError(f"{repository}: the hub names no commit for revision '{revision}'")
    siblings = info.siblings or []
    files = tuple(_announced(repository, s) for s in siblings if _is_wanted(s.rfilename))
    names = {file.name for file in files}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise DownloadError(f"{repository}: holds no checkpoint (config.json and safetensors)")
    return Snapshot(repository, str(info.sha), files)


def _is_wanted(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in WANTED)


def _announced(repository: str, sibling: RepoSibling) -> RemoteFile:
    name, path = sibling.rfilename, PurePosixPath(sibling.rfilename)
    if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
        raise DownloadError(f"{repository}: file name '{name}' leads out of its folder")
    size = sibling.lfs.size if sibling.lfs else sibling.size
    if size is None or size < 0:
        raise DownloadError(f"{repository}: the hub does not say how large '{name}' is")
    return RemoteFile(name, size, (sibling.lfs.sha256 if sibling.lfs else sibling.blob_id) or "")


def missing_bytes(snapshot: Snapshot, folder: Path) -> int:
    """What is still to be fetched into `folder`."""
    return sum(
        file.size - max(_size(folder / file.name), _size(_part(folder, file)))
        for file in snapshot.files
    )


def fetch(snapshot: Snapshot, folder: Path) -> None:
    """Make `folder` hold the snapshot's files, each checked against size and digest.

    What is there already is not fetched again; a file that was cut off goes on where it ended.

    Raises:
        DownloadError: the hub cannot be reached, refuses or sends something else; the disk is full.
    """
    forbid_offline(snapshot.repository)
    for file in snapshot.files:
        path, part = folder / file.name, _part(folder, file)
        if _size(path) == file.size and _is_right(path, file):
            continue
        with _explained(snapshot.repository, snapshot.commit, file.name):
            path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            if _size(part) > file.size:
                part.unlink()
            _fetch_rest(snapshot, file, part)
        if not _is_right(part, file):
            # Kept, it would be "resumed" for ever.
            part.unlink()
            raise DownloadError(
                f"{snapshot.repository}: {file.name} is not what the hub announced (another "
                "digest); it was deleted, pull again"
            )
        part.rename(path)


def _fetch_rest(snapshot: Snapshot, file: RemoteFile, part: Path) -> None:
    url = hf_hub_url(snapshot.repository, file.name, revision=snapshot.commit)
    # A compressed answer has no ranges.
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    with part.open("ab") as rest, _quiet_client():
        if file.size == 0:
            return
        http_get(
            url,
            rest,
            resume_size=rest.tell(),
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.name,
        )


def _part(folder: Path, file: RemoteFile) -> Path:
    return folder / f"{file.name}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_right(path: Path, file: RemoteFile) -> bool:
    """Is the file's digest the announced one, of whichever kind that is?"""
    if not file.digest:
        return True
    if len(file.digest) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as data:
        while chunk := data.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() == file.digest


@contextmanager
def _quiet_client() -> Generator[None]:
    """huggingface_hub warns in many lines of what it then mends, or we report in one."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    if not log.isEnabledFor(logging.DEBUG):
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _explained(repository: str, revision: str, file: str = "") -> Generator[None]:
    """Turn whatever goes wrong with a request into one line."""
    try:
        yield
    except HfHubHTTPError as error:
        why = _refusal(error, repository, revision)
        raise DownloadError(f"{repository}: {file and f'{file}: '}{why}") from error
    except Exception as error:  # the HTTP library's own errors are of no public kind
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise DownloadError(
                f"{repository}: {file}: the disk is full; make room and pull again to go on"
            ) from error
        if isinstance(error, OSError) and error.filename is not None:
            raise DownloadError(f"{error.filename}: cannot be written: {error.strerror}") from error
        host = urlsplit(constants.ENDPOINT).netloc
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DownloadError(
            f"{repository}: {file and f'{file}: '}no connection to {host}, or it was cut ({why}); "
            "pull again to go on"
        ) from error


def _refusal(error: HfHubHTTPError, repository: str, revision: str) -> str:
    """What an answer of the hub means, and what to do."""
    status = error.response.status_code
    page = f"{constants.ENDPOINT}/{repository}"
    log_in = "then `hf auth login` or set HF_TOKEN"
    if isinstance(error, GatedRepoError) or status == 403:
        return f"access is restricted ({status}): accept the licence at {page}, {log_in}"
    if isinstance(error, RevisionNotFoundError):
        return f"there is no revision '{revision}' at {page}"
    if status == 401:
        # The hub answers so for what is private, for what is not there, and to a bad token.
        return f"not there, or not for you ({status}): look at {page}, {log_in}"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no such repository at {constants.ENDPOINT}"
    if status == 429:
        return "the hub has had too many requests (429); try later, what is here is kept"
    if status == 404:
        return f"not found (404) at {page}"
    return f"the hub answers {status}; try later, what is here is kept"
