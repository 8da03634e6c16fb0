"""What a converted folder should hold: its files with size and digest, and where they come from.

Written when a folder is made. Loading compares sizes, which costs nothing; `lfm verify` compares
the digests.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.strict import OrZero, parse, read_json

__all__ = [
    "MANIFEST",
    "FileRecord",
    "Manifest",
    "SelfTest",
    "check_files",
    "file_record",
    "read_manifest",
    "write_manifest",
]

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileRecord:
    """Bytes of a file, and their sha256 in hexadecimal."""

    size: OrZero
    sha256: str


@dataclass(frozen=True)
class SelfTest:
    """Digest of the greedy tokens that a fixed input gave, and on what kind of device."""

    device: str
    tokens: str


@dataclass(frozen=True)
class Manifest:
    """`source` and `revision`: a repository and its commit, or a folder's name and ""."""

    tool: str
    recipe: str
    source: str
    revision: str
    files: dict[str, FileRecord]
    self_test: SelfTest


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, or None where there is none.

    Raises:
        ConfigError: it is damaged.
    """
    path = folder / MANIFEST
    return parse(Manifest, read_json(path), str(path)) if path.exists() else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it beside the files that it lists."""
    text = json.dumps(dataclasses.asdict(manifest), indent=2) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")


def check_files(folder: Path, manifest: Manifest, digests: bool = False) -> None:
    """Compare what is there with what should be, by size, and by digest when asked to.

    Raises:
        CheckpointError: a file is missing, of another size, or damaged.
    """
    for name, record in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path}: not there, the manifest lists it")
        size = path.stat().st_size
        if size != record.size:
            raise CheckpointError(f"{path}: damaged: {size:,} bytes, should be {record.size:,}")
        if digests and file_record(path) != record:
            raise CheckpointError(f"{path}: damaged: its sha256 is not {record.sha256[:12]}...")


def file_record(path: Path) -> FileRecord:
    """Read a file to its end."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return FileRecord(path.stat().st_size, digest.hexdigest())
