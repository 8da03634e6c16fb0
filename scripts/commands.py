"""Prints docs/commands.md: the help of every command, as a person sees it. A test holds the file
to it; `make commands` writes it anew."""

from typing import Any

import typer

from lfm_cli.app import app

WIDTH = 80
HEAD = """\
# Commands

Made from the commands themselves (`make commands`); `lfm COMMAND --help` says the same.

## Exit codes

| | |
|---|---|
| 0 | done |
| 1 | some input failed; a line on stderr says which and why, the rest is done |
| 2 | wrong usage |
| 3 | no model is installed, the one asked for is not, or it cannot be used |
| 4 | the daemon cannot be started or reached, or gave a request up |
| 130 | interrupted (ctrl-C); 143: ended by another process |

Results go to stdout and nothing else does; messages and progress go to stderr, progress only
where that is a terminal. `--json` gives each result as a document of [json.md](json.md).
`NO_COLOR` is respected.
"""


def helps(command: Any, path: str, parent: Any = None) -> list[tuple[str, str]]:
    """Each command's full name and help text, groups before what is in them."""
    context = command.make_context(
        path,
        [],
        parent=parent,
        resilient_parsing=True,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
    )
    context.info_name = path.split()[-1]
    found = [(path, context.get_help())]
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        found += helps(command.get_command(context, name), f"{path} {name}", context)
    return found


def document() -> str:
    parts = [HEAD]
    for path, text in helps(typer.main.get_command(app), "lfm"):
        body = "\n".join(line.rstrip() for line in text.splitlines())
        parts.append(f"## {path}\n\n```text\n{body}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(document(), end="")
