"""`lfm config`: look into the configuration and change it, one option at a time.

Its file is edited as text, so that a person's comments and order survive. What is set is first
given to the option itself, as the command line would: what it refuses is never written.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lfm2audio_mlx.errors import ConfigError, RequestError
from lfm_cli.settings import SHARED, config_path, read_settings
from lfm_cli.terminal import JsonOption, columns, emit

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

__all__ = ["config"]

log = logging.getLogger(__name__)

Settings = dict[str, Any]
"""What is set, by `model`, `daemon` or `COMMAND.OPTION`."""


def config(
    ctx: typer.Context,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY", help="model, daemon, or COMMAND.OPTION, for example say.voice."
        ),
    ] = None,
    value: Annotated[str | None, typer.Argument(metavar="VALUE", help="What to set.")] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Forget what KEY is set to.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print where the file is.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is set in place of options that are not given, or set it.

    Example: lfm config say.voice uk-female
    """
    if unset and (key is None or value is not None):
        raise typer.BadParameter("--unset takes a KEY and no VALUE")
    if path and (unset or key is not None):
        raise typer.BadParameter("--path takes neither a KEY nor --unset")
    place = config_path()
    if path and not as_json:
        print(place)
        return
    settings = read_settings(place)
    if key is None:
        _show(place, _flat(settings), as_json)
    elif unset:
        _found(place, settings, key)
        _change(place, settings, key, None)
    elif value is not None:
        _change(place, settings, key, _accepted(ctx, key, value))
    elif not as_json:
        print(_text(_found(place, settings, key)))
    if key is not None and as_json:
        found = {key: _plain(_found(place, settings, key))} if not unset else {}
        emit("config", path=str(place), settings=found)


def _show(place: Path, settings: Settings, as_json: bool) -> None:
    """All that is set."""
    if as_json:
        plain = {key: _plain(value) for key, value in settings.items()}
        emit("config", path=str(place), settings=plain)
    elif settings:
        columns([("KEY", "VALUE"), *((key, _text(value)) for key, value in settings.items())])
    else:
        log.info("nothing is set; `lfm config KEY VALUE` would write %s", place)


def _flat(settings: dict[str, Any]) -> Settings:
    """A file's content, by key."""
    flat: Settings = {}
    for section, values in settings.items():
        if isinstance(values, dict):
            inside = cast(dict[str, Any], values)
            flat.update({f"{section}.{option}": value for option, value in inside.items()})
        else:
            flat[section] = values
    return flat


def _found(place: Path, settings: dict[str, Any], key: str) -> Any:
    """What a key is set to.

    Raises:
        RequestError: it is not set.
    """
    try:
        return _flat(settings)[key]
    except KeyError:
        raise RequestError(f"{key} is not set in {place}") from None


def _text(value: Any) -> str:
    """A value as it would be typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> str | float | bool:
    """A value as JSON can say it; TOML knows dates, and numbers that are not finite."""
    plain = isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else str(value)


def _accepted(ctx: typer.Context, key: str, value: str) -> str | float | bool:
    """A value as its option takes it: a number or a switch as such, all else as it was typed.

    Raises:
        BadParameter: there is no such option, or it refuses the value.
    """
    command, option = _option(ctx, key)
    try:
        taken = option.process_value(type(ctx)(command, parent=ctx.parent), value)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{key} {value!r}: {error.message}") from error
    return taken if isinstance(taken, bool | int | float) else value


def _option(ctx: typer.Context, key: str) -> tuple[Any, Any]:
    """The command and the option that a key stands for.

    Raises:
        BadParameter: there are none.
    """
    root: Any = ctx.find_root().command
    options: dict[str, dict[str, str]] = root.long_options()
    # Its own options cannot be set: it does not read the file that it may have to mend.
    options.pop("config", None)
    section, _, name = key.partition(".")
    if key in SHARED:
        section, name = next(command for command, known in options.items() if key in known), key
    if section not in options:
        sections = ", ".join(sorted(options))
        told = " nor ".join(map(repr, SHARED))
        raise typer.BadParameter(f"{key!r} is neither {told} nor COMMAND.OPTION with {sections}")
    if name not in options[section]:
        known = ", ".join(sorted(options[section])) or "none"
        raise typer.BadParameter(f"'{section}' has no option {name!r} to set; it has {known}")
    command = root.get_command(ctx, section)
    parameter = options[section][name]
    return command, next(option for option in command.params if option.name == parameter)


def _change(place: Path, settings: dict[str, Any], key: str, value: Any) -> None:
    """Set a key in the file and in `settings`, which is what the file says; None unsets it.

    Raises:
        ConfigError: the file is not one that can be edited, or it cannot be written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(place.read_bytes() if place.exists() else b"")
        if "." in key and key.partition(".")[0] not in document and len(document):
            document.add(tomlkit.nl())
        _edit(place, document, key, value)
        text = tomlkit.dumps(document)
    except TOMLKitError as error:
        raise ConfigError(f"{place}: cannot be edited by lfm, edit it yourself: {error}") from error
    _edit(place, settings, key, value)
    # An editor that keeps comments is intricate; what it made is not trusted unread.
    if not _says(text, settings):
        raise ConfigError(f"{place}: {key} cannot be changed without harm, edit it yourself")
    _write(place, text.encode("utf-8"))


def _says(text: str, settings: dict[str, Any]) -> bool:
    """Is a text the TOML of these settings, in any order?"""
    try:
        found = _flat(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return False
    # By what they look like, so that a NaN is like another.
    return {k: repr(v) for k, v in found.items()} == {
        k: repr(v) for k, v in _flat(settings).items()
    }


def _edit(place: Path, settings: TOMLDocument | dict[str, Any], key: str, value: Any) -> None:
    """Set a key in a document, or in plain data; None unsets it.

    Raises:
        ConfigError: what should be a section is none.
    """
    section, dot, option = key.partition(".")
    inside: Any = settings
    if dot:
        if section not in settings:
            settings[section] = {}
        inside = settings[section]
        if not isinstance(cast(object, inside), dict):
            raise ConfigError(f"{place}: {section!r} is no section, edit it yourself")
    name = option if dot else section
    if value is not None:
        inside[name] = value
        return
    del inside[name]
    # An empty section that no command has would still be refused; a comment in it is kept.
    if dot and not inside and not getattr(inside, "as_string", str)().strip("{ }\n"):
        del settings[section]


def _write(place: Path, data: bytes) -> None:
    """Replace the file at once; what a link points to is replaced, not the link.

    Raises:
        ConfigError: it cannot be written.
    """
    place = place.resolve()
    unfinished = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        number, unfinished = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}-")
        with os.fdopen(number, "wb") as file:
            file.write(data)
        if place.exists():
            shutil.copymode(place, unfinished)
        os.replace(unfinished, place)
        unfinished = None
    except OSError as error:
        raise ConfigError(f"{place}: cannot be written: {error.strerror}") from error
    finally:
        if unfinished:
            os.unlink(unfinished)
