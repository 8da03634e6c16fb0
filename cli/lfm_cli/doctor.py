"""`lfm doctor`: what on this machine would keep `lfm` from working, and how to mend it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false
# (sounddevice has no types.)

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from email.message import Message
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, cast

import typer
from rich.filesize import decimal

from lfm2audio_mlx import __version__, installed
from lfm2audio_mlx.errors import DaemonError, LfmError, ModelError
from lfm2audio_mlx.installed import EMBEDDED, find_model, preferred
from lfm_cli.agent_check import agent
from lfm_cli.finding import Finding
from lfm_cli.kernel_check import kernels
from lfm_cli.machine import chip_and_system
from lfm_cli.model import ModelOption
from lfm_cli.program import from_homebrew
from lfm_cli.settings import config_path, defaults, read_settings
from lfm_cli.sound_checks import loudspeaker, microphone
from lfm_cli.terminal import JsonOption, columns, emit

__all__ = ["doctor"]

PACKAGE = "lfm2audio-mlx"
MACOS = "14.0"
"""The oldest macOS that MLX's wheels run on (its installation page)."""
WORKING_MEMORY = 500_000_000
"""Bytes that a model takes beside its weights: the context's caches, a recording's features."""
PULL_SPACE = 4_000_000_000
"""Bytes that `lfm pull` fills for a while: a download of some 3 GB, and 1 GB of what it makes."""


def doctor(model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Check the machine, the model, the loudspeaker and the microphone, and say what to mend.

    The microphone is opened for a moment; what it hears is thrown away.

    Example: lfm doctor
    """
    findings = dict(_examine(model))
    faults = [name for name, finding in findings.items() if finding.state == "fault"]
    if as_json:
        checks = [{"name": name, **asdict(finding)} for name, finding in findings.items()]
        emit("doctor", checks=checks, healthy=not faults)
    else:
        rows = [(name, f.state, f.detail, f.mend) for name, f in findings.items()]
        columns([("CHECK", "STATE", "FOUND", "TO MEND IT"), *rows])
    if faults:
        raise typer.Exit(3 if faults == ["model"] else 1)


def _examine(model: str | None) -> Iterator[tuple[str, Finding]]:
    for name, check in CHECKS.items():
        try:
            yield name, check(model)
        except (LfmError, OSError) as error:
            yield name, Finding("fault", str(error))


# The machine


def _system(_: str | None) -> Finding:
    chip, system = chip_and_system()
    return judge_system(
        f"{chip}, {system}", platform.system(), platform.machine(), platform.mac_ver()[0]
    )


def judge_system(told: str, system: str, processor: str, macos: str) -> Finding:
    """What `platform` says of a machine -> whether MLX runs on it."""
    if system != "Darwin":
        return Finding("note", f"{told}: no Mac, so it runs on the CPU, for development")
    if processor != "arm64":
        mend = "on Apple silicon: `brew install python`, and install lfm with that"
        return Finding("fault", f"{told}: this Python is made for Intel", mend)
    if not _fits(macos, f">={MACOS}"):
        return Finding("fault", f"{told}: MLX needs macOS {MACOS} or newer", "update macOS")
    return Finding("ok", told)


def _python(_: str | None) -> Finding:
    found = platform.python_version()
    wanted = _metadata().get("Requires-Python") or ""
    if _fits(found, wanted):
        return Finding("ok", found)
    return Finding("fault", f"{found}, not {wanted}", "install lfm with a newer Python")


def _mlx(_: str | None) -> Finding:
    required = _metadata().get_all("Requires-Dist") or []
    wanted = next((spec for entry in required if (spec := _spec_of("mlx", entry))), "")
    mend = "`brew upgrade mlx`" if from_homebrew() else f"pip install -U 'mlx{wanted}'"
    try:
        found = metadata.version("mlx")
        import_module("mlx.core")  # installed is not enough, it must load too
    except (metadata.PackageNotFoundError, ImportError) as error:
        return Finding("fault", f"cannot be loaded: {error}", mend)
    if _fits(found, wanted):
        return Finding("ok", found)
    return Finding("fault", f"{found}, not {wanted}", mend)


def _metadata() -> Any:
    """What lfm itself was installed with; nothing, if it runs without having been."""
    try:
        return metadata.metadata(PACKAGE)
    except metadata.PackageNotFoundError:
        return Message()


def _spec_of(name: str, requirement: str) -> str:
    """The versions that a line of a package's metadata wants of `name`; "" if it is of another."""
    from packaging.requirements import Requirement

    found = Requirement(requirement)
    return str(found.specifier) if found.name == name else ""


def _fits(version: str, wanted: str) -> bool:
    """Is a version in a range such as ">=0.32,<1"? One of a development branch counts too."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def _metal(_: str | None) -> Finding:
    if platform.system() != "Darwin":
        return Finding("skipped", "not a Mac")
    try:
        import mlx.core as mx
    except ImportError:
        return Finding("skipped", "MLX cannot be loaded")
    if mx.metal.is_available():
        return Finding("ok", "the GPU can be used")
    return Finding(
        "fault", "the GPU cannot be used", "run on the Mac itself, in no virtual machine"
    )


def _memory(model: str | None) -> Finding:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        size = installed.folder_size(_chosen(model))
    except LfmError:
        size = 0  # there is a check of its own for that
    return judge_memory(total, size)


def judge_memory(total: int, size: int) -> Finding:
    """Bytes of memory and of a model -> whether it fits."""
    needed = size + WORKING_MEMORY
    told = f"{total / 1e9:,.1f} GB"
    if not size:
        return Finding("ok", told)
    if needed <= total:
        return Finding("ok", f"{told}; the model needs {needed / 1e9:,.1f} GB")
    mend = "use a model of fewer bits: `lfm pull --recipe 4bit`"
    return Finding("fault", f"{told}, and the model needs {needed / 1e9:,.1f} GB", mend)


def _weights(model: str | None) -> Finding:
    """In what form a CPU multiplies quantised weights is most of its speed."""
    try:
        import mlx.core as mx

        from lfm2audio_mlx.config import read_config
        from lfm2audio_mlx.layout import pays_to_unpack
        from lfm2audio_mlx.weights import FILES, open_tensors, unpacked_size, usual_dtype
    except ImportError:
        return Finding("skipped", "MLX cannot be loaded")
    if mx.default_device() == mx.Device(mx.gpu):
        return Finding("ok", "as they are stored, on the GPU")
    try:
        folder = _chosen(model)
        config = read_config(folder)
        parts = ("model", "detokenizer" if config.detokenizer else "mimi")
        size = unpacked_size(config, {part: open_tensors(folder / FILES[part]) for part in parts})
    except LfmError:
        return Finding("skipped", "no model to look at")  # there is a check of its own for that
    return judge_weights(size, pays_to_unpack(size, usual_dtype(config)))


def judge_weights(size: int, unpacked: bool) -> Finding:
    """Bytes of weights in float32, and whether they will stand in memory so -> what that means."""
    if not size:
        return Finding("ok", "not quantised, on the CPU")
    if unpacked:
        return Finding("ok", f"unpacked to {decimal(size)} of float32, fastest on a CPU")
    told = f"stay packed, which is slow on a CPU: {decimal(size)} do not fit well"
    return Finding("note", told, "end other programs that take memory")


# The model


def _chosen(model: str | None) -> Path:
    """The folder that `choose_model` would take, without offering to get one.

    Raises:
        ModelError: there is none.
    """
    if model is not None:
        return find_model(model)
    if folder := preferred():
        return folder
    raise ModelError("no model is installed")


def _model(model: str | None) -> Finding:
    from lfm2audio_mlx.config import read_config
    from lfm2audio_mlx.manifest import check_files, read_manifest

    try:
        folder = _chosen(model)
    except LfmError as error:
        return Finding("fault", str(error), "`lfm pull`")
    try:
        read_config(folder)
        manifest = read_manifest(folder)
        if manifest is None:
            return Finding("note", f"{folder}: has no manifest, so nobody knows if it is whole")
        check_files(folder, manifest, digests=True)
    except LfmError as error:
        return Finding("fault", str(error), _mend_of(folder))
    return Finding("ok", f"{folder}: {len(manifest.files)} files, each as it was made")


def _mend_of(folder: Path) -> str:
    """How to get a model anew."""
    if folder == EMBEDDED:
        return "install lfm again"
    if folder.parent == installed.models_folder():
        return f"`lfm rm {folder.name}`, then `lfm pull`"
    return "convert it again, or `lfm pull`"


# Sound


def _converter(_: str | None) -> Finding:
    found = [name for name in ("/usr/bin/afconvert", "ffmpeg") if shutil.which(name)]
    if found:
        return Finding("ok", f"by {' and '.join(Path(name).name for name in found)}")
    mend = "`brew install ffmpeg`" if platform.system() == "Darwin" else "apt install ffmpeg"
    return Finding("note", "neither afconvert nor ffmpeg: m4a and mp4 cannot be read", mend)


# The disk


def _disk(_: str | None) -> Finding:
    folder = installed.models_folder()
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    told = f"{free / 1e9:,.1f} GB free for {folder}"
    if free >= PULL_SPACE:
        return Finding("ok", told)
    return Finding(
        "note", f"{told}; `lfm pull` needs {PULL_SPACE / 1e9:.0f} for a while", "make room"
    )


def _access(_: str | None) -> Finding:
    """May others change the models, or what else is kept there?"""
    models = installed.models_folder()
    open_to: dict[str, list[str]] = {"others": [], "its group": []}
    for folder in (models.parent, models):
        mode = folder.stat().st_mode if folder.exists() else 0
        if mode & 0o002:
            open_to["others"].append(str(folder))
        elif mode & 0o020:
            open_to["its group"].append(str(folder))
    for who, folders in open_to.items():
        if folders:
            told = f"{' and '.join(folders)} can be written by {who}"
            mend = f"chmod go-w {' '.join(folders)}"
            # Many Linux systems make every folder so, for a group of one.
            return Finding("fault" if who == "others" else "note", told, mend)
    return Finding("ok", str(models.parent))


def _daemon(_: str | None) -> Finding:
    from lfm_daemon.launch import health
    from lfm_daemon.paths import run_folder, socket_path

    folder = run_folder()
    if folder.exists() and folder.stat().st_mode & 0o077:
        return Finding("fault", f"{folder}: is open to others", f"chmod 700 {folder}")
    try:
        found = health()
    except DaemonError as error:
        return Finding("fault", str(error), "`lfm daemon restart`")
    if not found:
        return Finding("ok", "none runs; the first command that needs one starts it")
    told = f"version {found['version']}, {found['state']}, at {socket_path()}"
    if found["version"] != __version__:
        return Finding("note", told, "`lfm daemon restart`; the next command does it by itself")
    return Finding("ok", told)


def _configuration(model: str | None) -> Finding:
    from lfm_cli.app import PLACES, app

    path = config_path()
    keys = read_settings(path)
    options = cast(Any, typer.main.get_command(app)).long_options()
    for name, known in options.items():
        defaults(name, known, path, PLACES)
    return Finding("ok", f"{path}: {'is there' if keys else 'nothing is set'}")


CHECKS: dict[str, Callable[[str | None], Finding]] = {
    "system": _system,
    "configuration": _configuration,
    "Python": _python,
    "MLX": _mlx,
    "GPU": _metal,
    "kernels": kernels,
    "memory": _memory,
    "weights": _weights,
    "model": _model,
    "loudspeaker": loudspeaker,
    "microphone": microphone,
    "m4a": _converter,
    "disk": _disk,
    "folder": _access,
    "daemon": _daemon,
    "agent": agent,
}
"""All checks in the order in which they are told, each for the model that is wished for."""
