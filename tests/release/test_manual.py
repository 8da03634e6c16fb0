"""docs/lfm.1 is what the commands say, and a manual page without faults."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import manual
from lfm_cli.app import PLACES

PAGE = Path(__file__).parents[2] / "docs" / "lfm.1"
SECTIONS = [
    *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS"),
    *("ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"),
]


def test_the_page_is_what_the_commands_say():
    """`make manual` writes it anew."""
    assert PAGE.read_text("utf-8") == manual.document()


def test_it_has_every_command_and_the_usual_sections():
    text = PAGE.read_text("utf-8")
    assert re.findall(r"^\.SH (.*)$", text, re.MULTILINE) == SECTIONS
    told = [name.replace(r"\-", "-") for name in re.findall(r'^\.SS "(.*)"$', text, re.MULTILINE)]
    assert [name for name in told if " " not in name] == list(PLACES)
    assert "daemon restart" in told and "chats export" in told
    assert re.search(r"^\\fBLFM_KERNELS\\fR$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (".TH is no request", r"\&.TH is no request"),
        ("a\n.b", "a\n\\&.b"),
        (r"C:\new", r"C:\enew"),
        ("--json", r"\-\-json"),
        ("the model's", r"the model\(aqs"),
    ],
)
def test_nothing_in_a_text_is_taken_for_roff(text: str, wanted: str):
    assert manual.escaped(text) == wanted


def test_groff_finds_no_fault(tmp_path: Path):
    if shutil.which("groff") is None:
        pytest.skip("no groff")
    bad = tmp_path / "bad.1"
    bad.write_text(PAGE.read_text("utf-8") + ".XY\n\\fQ\n")
    for path, silent in ((PAGE, True), (bad, False)):
        result = subprocess.run(
            ["groff", "-ww", "-man", "-Tascii", "-z", path], capture_output=True, text=True
        )
        assert (result.stderr == "") is silent, result.stderr


def test_mandoc_finds_no_fault():
    """macOS shows manual pages with mandoc. A date it wants, and a page that is made anew with
    every change has none."""
    if shutil.which("mandoc") is None:
        pytest.skip("no mandoc")
    result = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", PAGE], capture_output=True, text=True
    )
    told = [line for line in result.stdout.splitlines() if "missing date" not in line]
    assert told == []


def test_man_shows_it():
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("no man")
    result = subprocess.run(
        ["man", "--warnings", "-l", PAGE], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0 and result.stderr == ""
    assert "lfm transcribe talk.mp3 -f srt" in result.stdout
