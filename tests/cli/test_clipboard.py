"""`lfm transcribe --copy`: on a true clipboard."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from transcribing import LFM, OTHER, OTHER_SAID, PATIENCE, SAID, SPEECH, Run


@pytest.fixture
def clipboard() -> Generator[dict[str, str]]:
    """What a process needs to reach a true clipboard: the Mac's, which is put right afterwards,
    or one of an X server of our own."""
    if platform.system() == "Darwin":
        before = subprocess.run(["pbpaste"], capture_output=True).stdout
        yield {}
        subprocess.run(["pbcopy"], input=before)
        return
    if not (shutil.which("Xvfb") and shutil.which("xclip")):
        pytest.skip("neither macOS nor Xvfb with xclip")
    command = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "64x64x8"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        display = server.stdout.readline().strip()
        assert display, "Xvfb did not start"
        yield {"DISPLAY": f":{display}", "WAYLAND_DISPLAY": ""}
        server.terminate()


def test_what_was_said_can_be_pasted(clipboard: dict[str, str], tmp_path: Path):
    """Its output goes into a file: xclip stays to serve the text, and would keep a pipe open."""
    environment = {**os.environ, **clipboard}
    command = [*LFM, "-q", "transcribe", str(SPEECH), str(OTHER), "--copy"]
    with (tmp_path / "out").open("w+") as out:
        result = subprocess.run(command, stdout=out, stderr=out, env=environment, timeout=PATIENCE)
        assert result.returncode == 0
    assert (tmp_path / "out").read_text() == f"{SPEECH}: {SAID}\n{OTHER}: {OTHER_SAID}\n"
    code = "import pyperclip; print(pyperclip.paste(), end='')"
    pasted = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE,
    )
    assert pasted.stdout == f"{SAID}\n{OTHER_SAID}\n"


@pytest.mark.skipif(platform.system() == "Darwin", reason="a Mac always has a clipboard")
def test_without_a_clipboard_it_says_so_before_any_work(lfm: Run, tmp_path: Path):
    nowhere = {"PATH": str(tmp_path), "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    result = lfm("transcribe", SPEECH, "--copy", env=nowhere)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "no clipboard" in line
