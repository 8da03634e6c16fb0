"""The user's configuration: a TOML file whose values stand in for options that are not given.

A section is a command and a key is one of its long options, with the same meaning; those that
many have, `model` and `daemon`, may also stand before all sections. What is given on the command
line or in the environment wins.
"""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lfm2audio_mlx.errors import ConfigError
from lfm2audio_mlx.home import config_folder

__all__ = ["SHARED", "config_path", "defaults", "read_settings"]

SHARED = ("model", "daemon")
"""Options that may be set for all commands at once."""


def config_path() -> Path:
    """Where the file is; it may not exist."""
    return config_folder() / "config.toml"


def read_settings(path: Path) -> dict[str, Any]:
    """The file as it is; nothing, if there is none.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: not a TOML file: nested too deeply") from error
    except ValueError as error:  # no UTF-8, no TOML, or a number of thousands of digits
        raise ConfigError(f"{path}: not a TOML file: {error}") from error


def defaults(
    command: str, known: Mapping[str, str], path: Path, commands: Collection[str]
) -> dict[str, Any]:
    """Values by parameter of one command, as Typer takes them for `default_map`.

    `known`: its long options without dashes, and the parameter that each is; `commands`: all
    there are. Other sections are looked into when their command is used.

    Raises:
        ConfigError: see `read_settings`; or it names a command or an option that there is not.
    """
    settings = read_settings(path)
    shared = {
        key: settings.pop(key)
        for key in SHARED
        if key in settings and not (key in commands and isinstance(settings[key], dict))
    }
    for section, values in settings.items():
        if section not in commands or not isinstance(values, dict):
            sections = ", ".join(sorted(commands))
            raise ConfigError(
                f"{path}: {section!r} is neither 'model' nor 'daemon' nor a section: {sections}"
            )
    chosen: dict[str, Any] = settings.get(command, {})
    chosen = {key: value for key, value in shared.items() if key in known} | chosen
    for key, value in chosen.items():
        if key not in known:
            options = ", ".join(sorted(known))
            raise ConfigError(f"{path}: [{command}] has no {key!r}; it has {options}")
        if not isinstance(value, str | int | float | bool):
            raise ConfigError(f"{path}: {command}.{key} must be a text, a number, or true or false")
    return {known[key]: value for key, value in chosen.items()}
