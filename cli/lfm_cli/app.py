"""The command's entry: finds the sub-command, turns errors into one line and an exit code.

Exit codes: 0 done; 1 some input failed (one line on stderr says what); 2 wrong usage; 3 no model,
or one that cannot be used; 4 no daemon, or it gave up; 130 interrupted. A sub-command's module is
imported when it is used, and the engine when that runs, so that `--help` and a typing mistake cost
nothing.
"""

import importlib
import io
import logging
import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lfm2audio_mlx import __version__
from lfm2audio_mlx.errors import ConfigError, DaemonError, LfmError, ModelError

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = {
    "Hear and speak": {
        "transcribe": ("transcribe:transcribe", "Write down what recordings of any length say."),
        "say": ("say:say", "Speak a text of any length aloud, or into a file."),
        "chat": ("chat:chat", "Talk with the model, in words and voice."),
        "ask": ("ask:ask", "Ask a question about a recording."),
        "classify": ("classify:classify", "Tell which label fits a recording."),
        "chats": ("chats:chats", "List, show, export or remove kept conversations."),
    },
    "Models": {
        "pull": ("pull:pull", "Download a model and convert it."),
        "list": ("models:list_models", "List the models that are here."),
        "show": ("models:show", "Tell what a model is."),
        "rm": ("models:remove", "Delete installed models."),
        "convert": ("convert:convert", "Convert a checkpoint that is on the disk."),
        "verify": ("verify:verify", "Check a model against its digests, and run it."),
    },
    "Daemon": {
        "serve": ("serve:serve", "Serve the model to other programs, in the foreground."),
        "daemon": ("daemon:daemon", "Tell of the service in the background, start or stop it."),
        "ps": ("resident:ps", "Show the model in memory."),
        "stop": ("resident:stop", "Let the model in memory go."),
    },
    "Housekeeping": {
        "shortcuts": ("shortcuts:shortcuts", "LFM in the Services menu and in Shortcuts."),
        "doctor": ("doctor:doctor", "Check the machine, the model and the sound devices."),
        "bench": ("bench:bench", "Measure how fast a model is on this machine."),
        "config": ("config:config", "Show or set what stands in for options."),
    },
}
"""Each command's place (module:name in this package) and the first line of its help, by group."""

PLACES = {name: place for group in COMMANDS.values() for name, (place, _) in group.items()}
PACKAGES = ("lfm_cli", "lfm_convert", "lfm2audio_mlx")
EXIT_CODES: dict[type[Exception], int] = {ModelError: 3, DaemonError: 4}
PLAIN: Any = {"rich_markup_mode": None, "context_settings": {"help_option_names": ["-h", "--help"]}}


class Group(TyperGroup):
    """`lfm`: loads a sub-command when it is asked for, lets the shared options stand after it, and
    applies the configuration to it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(PLACES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in PLACES and cmd_name not in self.commands:
            self.commands[cmd_name] = self._load(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in PLACES:
            for name in PLACES:  # so that the nearest can be suggested
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)

    def _load(self, name: str) -> Any:
        module, _, attribute = PLACES[name].partition(":")
        found = getattr(importlib.import_module(f"lfm_cli.{module}"), attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False, **PLAIN)
            single.command(name)(found)
            found = single
        command: Any = typer.main.get_command(found)
        shared = [option for option in self.params if option.name in ("quiet", "verbose", "debug")]
        for each in (command, *getattr(command, "commands", {}).values()):
            each.params.extend(shared)
        return command

    def invoke(self, ctx: Any) -> Any:
        from lfm_cli import settings

        name = ctx._protected_args[0] if ctx._protected_args else None
        if name in PLACES and not {"-h", "--help"} & set(ctx.args):
            known, path = self.options_of(name), settings.config_path()
            try:
                ctx.default_map = {name: settings.defaults(name, known, path, PLACES)}
            except ConfigError:
                # These must run to see and mend a configuration that is at fault.
                if name not in ("config", "doctor"):
                    raise
        return super().invoke(ctx)

    def long_options(self) -> dict[str, dict[str, str]]:
        """Of each command, what a configuration may set; see `options_of`."""
        return {name: self.options_of(name) for name in PLACES}

    def options_of(self, name: str) -> dict[str, str]:
        """The long options of a command without dashes, and the parameter that each is."""
        return {
            option.removeprefix("--"): parameter.name
            for parameter in self.get_command(None, name).params
            if parameter.param_type_name == "option" and parameter.expose_value
            for option in parameter.opts
            if option.startswith("--") and parameter.name
        }

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands, in groups; none needs to be loaded for that."""
        for title, group in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in group.items()])


app = typer.Typer(
    name="lfm",
    cls=Group,
    help="Hear, think and speak with LFM2-Audio, offline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    **PLAIN,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lfm {__version__}")
        raise typer.Exit


def _quiet(wanted: bool) -> None:
    if wanted:
        _set_level(logging.ERROR, *PACKAGES)


def _verbose(wanted: bool) -> None:
    if wanted:
        _set_level(logging.DEBUG, "lfm2audio_mlx", "lfm_convert")


def _debug(wanted: bool) -> None:
    if wanted:
        _set_level(logging.DEBUG, *PACKAGES)


def _set_level(level: int, *packages: str) -> None:
    for package in packages:
        logging.getLogger(package).setLevel(level)


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_quiet,
            help="Show errors only.",
            expose_value=False,
            is_eager=True,
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            callback=_verbose,
            help="Tell what is done.",
            expose_value=False,
            is_eager=True,
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            callback=_debug,
            help="Show where an error comes from.",
            expose_value=False,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Runs before each sub-command."""


def main() -> None:
    """Run the command line and exit."""
    _prepare()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if logging.getLogger("lfm_cli").isEnabledFor(logging.DEBUG):
            raise
        told = str(error)
        if not isinstance(error, LfmError | OSError):
            told = f"a fault of lfm itself, --debug shows where: {type(error).__name__}: {error}"
        print(f"lfm: {told}", file=sys.stderr)
        if isinstance(error, OSError):
            # What stdout could not take must not be tried again at exit.
            sys.stdout = None
        sys.exit(EXIT_CODES.get(type(error), 1))


def _prepare() -> None:
    """Make odd surroundings ordinary."""
    logging.basicConfig(format="lfm: %(message)s", stream=sys.stderr)
    logging.getLogger("lfm_cli").setLevel(logging.INFO)
    # A closed one would give its number to the next file, which MLX takes for an error.
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for good
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # A polite end cleans up, as ctrl-C does; 128 + number is what a shell reports.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))
