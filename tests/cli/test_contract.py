"""What scripts rely on: exit codes, results alone on stdout, JSON by its schema, no traceback."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lfm_cli.app import COMMANDS, PLACES, app

Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH = RECORDINGS / "seen_04.wav"
SAID = "set a timer for twenty one minutes"


# JSON


def test_every_kind_of_document_is_as_its_schema_says(lfm: Run, document: Document, tmp_path: Path):
    """One of each, in an order in which the later ones have something to tell of."""
    commands: list[tuple[str, list[object]]] = [
        ("transcript", ["transcribe", SPEECH, "--json"]),
        ("speech", ["say", "alarm set for seven", "-o", "a.wav", "--json"]),
        ("voices", ["say", "-v", "?", "--json"]),
        ("answer", ["chat", "--once", SPEECH, "-o", "b.wav", "--save", "kitchen", "--json"]),
        ("chats", ["chats", "--json"]),
        ("chat", ["chats", "show", "kitchen", "--json"]),
        ("exported", ["chats", "export", "kitchen", "--json"]),
        ("removed", ["chats", "rm", "kitchen", "--yes", "--json"]),
        ("classification", ["classify", SPEECH, "--labels", "a,b", "--json"]),
        ("models", ["list", "--json"]),
        ("model", ["show", "nano", "--json"]),
        ("verification", ["verify", "nano", "--json"]),
        ("converted", ["convert", "nano", "copy", "--recipe", "8bit", "--json"]),
        ("config", ["config", "say.voice", "uk-female", "--json"]),
        ("bench", ["bench", "--repeat", "1", "--json"]),
    ]
    from lfm2audio_mlx.installed import EMBEDDED

    (tmp_path / "nano").symlink_to(EMBEDDED)
    for kind, command in commands:
        result = lfm(*command)
        assert (result.returncode, result.stderr) == (0, ""), command
        (line,) = result.stdout.splitlines()
        assert document(line)["kind"] == kind
    doctor = lfm("doctor", "--json")
    assert document(doctor.stdout)["kind"] == "doctor"


def test_json_is_there_for_every_command(lfm: Run):
    """Of a group, for all in it."""
    for name in PLACES:
        command = app_command(name)
        for each in [command, *getattr(command, "commands", {}).values()]:
            assert any("--json" in option.opts for option in each.params), each.name


def app_command(name: str) -> Any:
    import typer

    return typer.main.get_command(app).get_command(None, name)  # type: ignore[attr-defined]


def test_several_recordings_give_a_document_each(lfm: Run, document: Document):
    other = RECORDINGS / "seen_00.wav"
    result = lfm("transcribe", SPEECH, other, "--json")
    told = [document(line) for line in result.stdout.splitlines()]
    assert [entry["file"] for entry in told] == [str(SPEECH), str(other)]
    assert told[0]["text"] == told[0]["segments"][0]["text"] == SAID
    assert 0 <= told[0]["segments"][0]["start"] < told[0]["segments"][0]["end"]
    assert told[0]["segments"][0]["end"] <= told[0]["duration"]


# Exit codes and purity

FAILURES: dict[str, tuple[int, list[object], str]] = {
    "missing file": (1, ["transcribe", "nothing.wav"], "nothing.wav: no such file"),
    "missing text": (1, ["say", "-f", "nothing.txt"], "nothing.txt: cannot be read"),
    "empty text": (1, ["say", " ", "-o", "a.wav"], "empty"),
    "unknown voice": (1, ["say", "hello", "-v", "nobody", "-o", "a.wav"], "nobody"),
    "unknown ending": (1, ["say", "hello", "-o", "a.xyz"], "a.xyz"),
    "unknown conversation": (1, ["chats", "show", "nothing"], "nothing"),
    "not kept": (1, ["chat", "--resume", "nothing", "--once", "hello"], "nothing"),
    "a folder": (1, ["transcribe", "."], "--recursive"),
    "no option": (2, ["transcribe", SPEECH, "--nonsense"], "--nonsense"),
    "no command": (2, ["nonsense"], "nonsense"),
    "nothing to do": (2, ["transcribe"], "--mic"),
    "two things": (2, ["transcribe", SPEECH, "--mic"], "one of the three"),
    "unknown format": (2, ["transcribe", SPEECH, "-f", "doc"], "txt, srt"),
    "one label": (2, ["classify", SPEECH, "--labels", "a"], "two labels"),
    "unknown model": (3, ["transcribe", SPEECH, "-m", "nothing"], "lfm pull"),
    "unknown model, say": (3, ["say", "hello", "-o", "a.wav", "-m", "nothing"], "lfm pull"),
    "unknown model, chat": (3, ["chat", "--once", "hello", "-m", "nothing"], "lfm pull"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_has_its_code_and_leaves_stdout_alone(lfm: Run, tmp_path: Path, case: str):
    code, command, part = FAILURES[case]
    result = lfm(*command)
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert part in result.stderr
    assert "Traceback" not in result.stderr
    if code != 2:
        assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_model_the_ways_to_get_one_are_named(lfm: Run):
    result = lfm("transcribe", SPEECH, env={"LFM_MODEL": ""})
    assert result.returncode == 3
    assert "lfm pull" in result.stderr
    assert "--model nano" in result.stderr


def test_the_toy_says_that_it_is_one(tmp_path: Path):
    command = [sys.executable, "-m", "lfm_cli", "transcribe", str(SPEECH), "--model", "nano"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert result.stdout == f"{SAID}\n"
    (line,) = result.stderr.splitlines()
    assert "toy" in line
    assert "lfm pull" in line
    quiet = subprocess.run([*command, "-q"], capture_output=True, text=True, timeout=60)
    assert (quiet.stdout, quiet.stderr) == (f"{SAID}\n", "")


def test_an_installed_model_is_used_without_being_named(lfm: Run, home: Path, tmp_path: Path):
    from lfm2audio_mlx.installed import EMBEDDED

    assert lfm("convert", EMBEDDED, home / "models" / "mine").returncode == 1
    (home / "models").mkdir()
    assert lfm("convert", EMBEDDED, home / "models" / "mine").returncode == 0
    result = lfm("transcribe", SPEECH, env={"LFM_MODEL": ""})
    assert (result.returncode, result.stdout) == (0, f"{SAID}\n")


def test_a_fault_of_ours_is_one_line_and_debug_shows_more(lfm: Run, home: Path):
    """A configuration folder that is a file where a folder should be is nobody's plan."""
    (home / "config.toml").mkdir()
    result = lfm("list")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    debug = lfm("--debug", "list")
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_so_by_its_code(tmp_path: Path, number: signal.Signals):
    command = [sys.executable, "-m", "lfm_cli", "-q", "transcribe", "--watch", "."]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(3)
    assert process.poll() is None
    process.send_signal(number)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert (out, errors) == ("", "")


@pytest.mark.parametrize("command", ["transcribe", "nonsense"])
def test_with_stderr_closed_stdout_still_has_results_alone(command: str):
    shell = f"{sys.executable} -m lfm_cli {command} {SPEECH} 2>&-"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    wanted = (0, f"{SAID}\n") if command == "transcribe" else (2, "")
    assert (result.returncode, result.stdout) == wanted


def test_what_runs_under_nohup_does_not_end_with_the_terminal(tmp_path: Path):
    command = ["nohup", sys.executable, "-m", "lfm_cli", "-q", "transcribe", "--watch", "."]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(3)
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 143


# Terminals


@pytest.mark.parametrize("options", [["-o", "out"], ["-f", "srt"], ["--json"]])
def test_the_bar_is_gone_before_results_are_printed(tmp_path: Path, options: list[str]):
    """Each line of results begins at the left edge, where the bar has been erased."""
    import pexpect

    child = pexpect.spawn(
        sys.executable,
        ["-m", "lfm_cli", "transcribe", str(SPEECH), *options],
        env={**os.environ, "TERM": "xterm"},
        cwd=str(tmp_path),
        encoding="utf-8",
        dimensions=(24, 400),
        timeout=60,
    )
    shown = child.read()
    child.close()
    first = {"-o": "out/seen_04.txt", "-f": "1\r\n", "--json": '{"schema"'}[options[0]]
    at = shown.index(first)
    # Erase in line, or a fresh line, directly before it.
    assert shown[:at].endswith(("\x1b[2K", "\r\n", "\x1b[?25h"))


def test_the_name_of_a_file_is_no_markup(tmp_path: Path):
    import shutil

    import pexpect

    name = "d[/x].wav"
    (tmp_path / "d[").mkdir()
    shutil.copy(SPEECH, tmp_path / name)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "lfm_cli", "transcribe", name],
        env={**os.environ, "TERM": "xterm"},
        cwd=str(tmp_path),
        encoding="utf-8",
        timeout=60,
    )
    shown = child.read()
    child.close()
    assert (child.exitstatus, SAID in shown) == (0, True)


def test_progress_and_colours_stay_out_of_pipes(tmp_path: Path):
    command = [sys.executable, "-m", "lfm_cli", "transcribe", str(SPEECH), "-f", "srt"]
    result = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=60)
    assert b"\x1b" not in result.stdout + result.stderr
    assert b"%" not in result.stderr


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_plain_terminal_gets_no_colours(tmp_path: Path, environment: dict[str, str]):
    import pexpect

    child = pexpect.spawn(
        sys.executable,
        ["-m", "lfm_cli", "list"],
        env={**os.environ, **environment},
        encoding="utf-8",
        timeout=60,
    )
    shown = child.read()
    child.close()
    assert "nano" in shown
    assert "\x1b[3" not in shown


# Help


def test_help_is_in_groups_and_each_line_is_that_of_the_command():
    runner = CliRunner()
    told = runner.invoke(app, ["--help"]).stdout
    for group, commands in COMMANDS.items():
        assert f"{group}:" in told
        for name, (_, line) in commands.items():
            assert line in told
            own = runner.invoke(app, [name, "--help"]).stdout
            assert "Example: lfm " in own, name
            for shared in ("--quiet", "--verbose", "--debug"):
                assert shared in own


def test_the_documented_help_is_that_of_the_commands():
    """`make commands` writes it anew."""
    import commands  # scripts/commands.py

    path = Path(__file__).parents[2] / "docs" / "commands.md"
    assert path.read_text("utf-8") == commands.document()


def test_a_typing_mistake_is_answered_with_a_suggestion():
    result = CliRunner().invoke(app, ["transcrib"])
    assert result.exit_code == 2
    assert "transcribe" in result.output


def test_completion_knows_commands_and_options(lfm: Run, tmp_path: Path):
    environment = {"_LFM_COMPLETE": "complete_bash", "COMP_WORDS": "lfm tran", "COMP_CWORD": "1"}
    command = [str(Path(sys.executable).with_name("lfm"))]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )
    assert result.stdout.split() == ["transcribe"]


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["transcribe", "--help"]])
def test_starting_up_loads_nothing_heavy(command: list[str]):
    heavy = ("mlx", "numpy", "soundfile", "rich", "tomlkit", "huggingface_hub", "sqlite3")
    code = (
        "import sys\nfrom lfm_cli.app import app\n"
        f"try:\n    app({command!r})\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr


def test_what_help_says_of_json_is_true():
    kinds = json.loads((Path(__file__).parents[2] / "docs" / "schema.json").read_text())["$defs"]
    text = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    assert all(f"`{kind}`" in text for kind in kinds)
