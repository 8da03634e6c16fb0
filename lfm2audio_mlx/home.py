"""Where a user's things are: models, conversations, the configuration, logs.

All in one folder if `LFM_HOME` names it, else where the system keeps such things.
"""

import os
from pathlib import Path

import platformdirs

from lfm2audio_mlx.errors import RequestError

__all__ = ["APPLICATION", "config_folder", "data_folder", "expanded", "log_folder"]

APPLICATION = "lfm2audio-mlx"


def data_folder() -> Path:
    """Models and conversations; it may not exist yet.

    Raises:
        RequestError: `LFM_HOME` names a user that there is not.
    """
    return _home() or platformdirs.user_data_path(APPLICATION).absolute()


def config_folder() -> Path:
    """The configuration; it may not exist yet.

    Raises:
        RequestError: see `data_folder`.
    """
    return _home() or platformdirs.user_config_path(APPLICATION).absolute()


def log_folder() -> Path:
    """What the daemon writes down; it may not exist yet.

    Raises:
        RequestError: see `data_folder`.
    """
    home = _home()
    return home / "logs" if home else platformdirs.user_log_path(APPLICATION).absolute()


def _home() -> Path | None:
    home = os.environ.get("LFM_HOME")
    return expanded(home).absolute() if home else None


def expanded(path: str) -> Path:
    """A path with its `~` resolved.

    Raises:
        RequestError: it names a user that there is not.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise RequestError(f"{path}: {error}") from error
