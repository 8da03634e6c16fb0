"""What docs/troubleshooting.md quotes the code says, and what docs/privacy.md names is there."""

import ast
import re
from pathlib import Path

import pytest

from lfm2audio_mlx import home
from lfm_cli.conversations import conversations_path
from lfm_cli.settings import config_path
from lfm_daemon import agent, logs, paths

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGES = ("lfm2audio_mlx", "cli", "daemon", "convert")


def texts() -> list[str]:
    """Every text in the source; what is filled in is left out, as `…`."""
    found: list[str] = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [
                        str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values
                    ]
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def quoted() -> list[str]:
    """The first cells of tables under a heading `it says`, as they are quoted."""
    told = (DOCS / "troubleshooting.md").read_text("utf-8")
    return re.findall(r"^\| `(.+?)` \|", told, re.MULTILINE)


TEXTS = texts()


@pytest.mark.parametrize("message", quoted())
def test_a_message_is_what_the_code_says(message: str):
    pieces = [re.escape(piece) for piece in message.split("…")]
    assert any(re.search(".*".join(pieces), text, re.DOTALL) for text in TEXTS)


def test_there_are_messages_and_wrong_ones_are_found():
    assert len(quoted()) > 25
    assert not any("no modle is installed" in text for text in TEXTS)


def test_what_is_kept_is_kept_there():
    """By the last part of each path, which is the same on both systems."""
    told = (DOCS / "privacy.md").read_text("utf-8")
    for path in (conversations_path(), config_path(), paths.log_path(), paths.run_folder()):
        assert re.search(rf"`[^`]*/{home.APPLICATION}(/log)?/{re.escape(path.name)}`", told), path
    assert f"LaunchAgents/{agent.LABEL}.plist" in told
    size = logs.LARGEST * (logs.KEPT + 1)
    assert f"at most {size >> 20} MB" in told
