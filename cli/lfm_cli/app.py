"""The command's entry: gathers the sub-commands and turns errors into one line and an exit code.

Exit codes: 0 done, 1 something failed (one line on stderr says what), 2 wrong usage,
130 interrupted. Each sub-command imports the engine only when it runs, so that `--help` and a
typing mistake cost nothing.
"""

import logging
import sys
from typing import Annotated

import typer

from lfm2audio_mlx import __version__
from lfm2audio_mlx.errors import LfmError
from lfm_cli.chat import chat
from lfm_cli.convert import convert
from lfm_cli.say import say
from lfm_cli.transcribe import transcribe

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
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="lfm: %(message)s",
        stream=sys.stderr,
    )


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except LfmError as error:
        print(f"lfm: {error}", file=sys.stderr)
        sys.exit(1)
