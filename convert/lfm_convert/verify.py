"""Is a converted folder what it was when it was made? Every file by digest, then a short run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lfm2audio_mlx.config import read_config
from lfm2audio_mlx.errors import CheckpointError, LfmError
from lfm2audio_mlx.manifest import MANIFEST, Manifest, file_record, read_manifest
from lfm_convert.selftest import self_test

__all__ = ["Check", "is_full_precision", "verify"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `fault` says what is wrong with it, or is empty."""

    name: str
    fault: str = ""


def verify(folder: Path) -> Iterator[Check]:
    """Check a converted folder; a check is given as soon as it is done.

    Files come first, each against its digest, then the configuration; the model is loaded and run
    only when these are as they should be.

    Raises:
        ConfigError: there is no manifest to hold it against, or the manifest is damaged.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise CheckpointError(f"{folder / MANIFEST}: not there; was {folder} made by lfm convert?")
    whole = True
    for check in (*_files(folder, manifest), _config(folder)):
        whole = whole and not check.fault
        yield check
    if whole:
        yield _run(folder, manifest)


def is_full_precision(folder: Path) -> bool:
    """Whether a folder holds float32 weights, so that it must agree with the reference.

    Raises:
        ConfigError: its configuration is at fault.
    """
    config = read_config(folder)
    return config.dtype == "float32" and not config.quantization


def _files(folder: Path, manifest: Manifest) -> Iterator[Check]:
    for name, record in manifest.files.items():
        path = folder / name
        if not path.is_file():
            yield Check(name, "is missing")
        elif (found := path.stat().st_size) != record.size:
            yield Check(name, f"has {found:,} bytes, should have {record.size:,}")
        elif file_record(path) != record:
            yield Check(name, f"is damaged: its sha256 is not {record.sha256[:12]}...")
        else:
            yield Check(name)
    strangers = {path.name for path in folder.iterdir()} - manifest.files.keys() - {MANIFEST}
    for name in sorted(name for name in strangers if not name.startswith(".")):  # .DS_Store
        yield Check(name, "is not listed in the manifest")


def _config(folder: Path) -> Check:
    try:
        read_config(folder)
    except LfmError as error:
        return Check("configuration", str(error))
    return Check("configuration")


def _run(folder: Path, manifest: Manifest) -> Check:
    """The fixed run must give the tokens that it gave at conversion, on the same kind of device."""
    name = "self-test"
    try:
        now = self_test(folder)
    except LfmError as error:
        return Check(name, str(error))
    then = manifest.self_test
    if then.device != now.device:
        return Check(f"{name} (runs; it was recorded on {then.device}, this is {now.device})")
    return Check(name, "" if then == now else "runs, but says something else than when converted")
