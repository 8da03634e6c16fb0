"""The command's entry: gathers the sub-commands and turns errors into one line and an exit code.

Exit codes: 0 done, 1 something failed (one line on stderr says what), 2 wrong usage,
130 interrupted. Each sub-command imports the engine only when it runs, so that `--help` and a
typing mistake cost nothing.
"""

import io
import logging
import os
import signal
import sys
from typing import Annotated

import typer

from lfm2audio_mlx import __version__
from lfm2audio_mlx.errors import LfmError
from lfm_cli.chat import chat
from lfm_cli.convert import convert
from lfm_cli.models import list_models, remove, show
from lfm_cli.pull import pull
from lfm_cli.say import say
from lfm_cli.transcribe import transcribe
from lfm_cli.verify import verify

__all__ = ["app", "main"]

app = typer.Typer(
    name="lfm",
    help="Hear, think and speak with LFM2-Audio, offline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(transcribe)
app.command()(say)
app.command()(chat)
app.command()(convert)
app.command()(verify)
app.command()(pull)
app.command("list")(list_models)
app.command()(show)
app.command("rm")(remove)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lfm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log details to stderr.")] = False,
) -> None:
    logging.basicConfig(format="lfm: %(message)s", stream=sys.stderr)
    if verbose:
        for package in ("lfm2audio_mlx", "lfm_convert"):
            logging.getLogger(package).setLevel(logging.DEBUG)


def main() -> None:
    """Run the command line and exit."""
    _prepare()
    try:
        app()
    except LfmError as error:
        print(f"lfm: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"lfm: {error}", file=sys.stderr)
        # What stdout could not take must not be tried again at exit.
        sys.stdout = None
        sys.exit(1)


def _prepare() -> None:
    """Make odd surroundings ordinary."""
    if sys.stdin is None:
        # A closed stdin would give its number to the next file, which MLX takes for an error.
        os.open(os.devnull, os.O_RDONLY)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # A polite end cleans up, as ctrl-C does; 128 + number is what a shell reports.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
