"""Where `lfm` itself is, for whoever starts it later: after an upgrade, without a PATH."""

import os
import shutil
import sys
from pathlib import Path

__all__ = ["from_homebrew", "stable_program"]


def stable_program() -> tuple[str, ...]:
    """The beginning of a command that runs this very installation, with absolute paths.

    That is the `lfm` which people type, where it is ours: Homebrew, uv and pipx keep a link there
    that leads to each new version in turn, while the folder of a version goes with it.
    """
    for place in (sys.argv[0], shutil.which("lfm")):
        if place and Path(place).name == "lfm" and _ours(Path(place)):
            return (os.path.abspath(place),)
    # -P: nothing is imported from the folder where it is started.
    return (sys.executable, "-P", "-m", "lfm_cli")


def from_homebrew() -> bool:
    """Is this the environment that Homebrew made for `lfm`?"""
    return Path(sys.prefix).resolve().match("Cellar/lfm/*/libexec")


def _ours(place: Path) -> bool:
    home = Path(sys.prefix).resolve()
    # A keg of Homebrew has the environment in `libexec`, and may have a wrapper in `bin`.
    keg = home.parent if home.name == "libexec" else home
    return os.access(place, os.X_OK) and place.resolve().is_relative_to(keg)
