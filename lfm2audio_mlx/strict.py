"""JSON as frozen dataclasses, checked to the last key.

A field has no default: a missing, unknown or mistyped key is a `ConfigError` that names the file
and the key, and so is what a dataclass's own `validate` refuses through `require`. Numbers are
positive, but where a field is an `OrZero`.
"""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Annotated, Any

from lfm2audio_mlx.errors import ConfigError

__all__ = ["OrZero", "parse", "read_json", "require"]

OrZero = Annotated[int, "0 for none"]
"""A size that may be absent."""


def read_json(path: Path) -> Any:
    """The decoded content of a file.

    Raises:
        ConfigError: it is missing, cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: not there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as JSON: {error}") from error


class Contradiction(Exception):
    """Keys that cannot all be right; `parse` adds where."""


def require(condition: bool, message: str) -> None:
    """Refuse a dataclass from its `validate`."""
    if not condition:
        raise Contradiction(message)


def parse(kind: Any, value: Any, where: str, key: str = "") -> Any:
    """Decoded JSON as a `kind`: a dataclass, tuple, dict, optional or plain value.

    Raises:
        ConfigError: it is none; `where` and `key` name the place.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return 0 if value == 0 and type(value) is int else parse(arguments[0], value, where, key)
    if origin is types.UnionType:
        if value is None:
            return None
        return parse(arguments[0], value, where, key)
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(kind, value, where, key)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: key '{key}' must be a list, not {value!r:.80}")
        return tuple(parse(arguments[0], v, where, f"{key}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: key '{key}' must be an object, not {value!r:.80}")
        return {k: parse(arguments[1], v, where, f"{key}.{k}") for k, v in value.items()}
    return _parse_scalar(kind, value, where, key)


def _parse_scalar(kind: type, value: Any, where: str, key: str) -> Any:
    if kind is float and type(value) is int and abs(value) < 1 << 53:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where}: key '{key}' must be a {kind.__name__}, not {value!r:.80}")
    if kind in (int, float) and not 0 < value < float("inf"):
        raise ConfigError(f"{where}: key '{key}' must be positive, not {value!r:.80}")
    return value


def _parse_dataclass(kind: Any, value: Any, where: str, key: str) -> Any:
    name = f"{key}." if key else ""
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {f'key {key!r}' if key else 'the file'} must be an object")
    fields = {field.name: field.type for field in dataclasses.fields(kind)}
    for missing in fields.keys() - value.keys():
        raise ConfigError(f"{where}: key '{name}{missing}' is missing")
    for unknown in value.keys() - fields.keys():
        raise ConfigError(f"{where}: key '{name}{unknown}' is unknown")
    made = kind(**{k: parse(t, value[k], where, f"{name}{k}") for k, t in fields.items()})
    try:
        if hasattr(made, "validate"):
            made.validate()
    except Contradiction as error:
        raise ConfigError(f"{where}: {f'in {key!r}, ' if key else ''}{error}") from None
    return made
