"""`lfm shortcuts`: what is put where, what is left alone, and what the user is told. macOS itself
is stood in for: its name, and the programs that Linux lacks."""

import errno
import json
import os
import plistlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mac_programs import Mac, make_mac  # noqa: F401 - a fixture
from typer.testing import CliRunner, Result
from workflow_schema import check_shortcut

from lfm2audio_mlx.errors import LfmError
from lfm_cli import quick_actions, shortcut_places
from lfm_cli.quick_actions import DOCUMENT, INFO
from lfm_cli.shortcut_catalogue import NAMES, QUICK_ACTIONS, SHORTCUTS
from lfm_cli.shortcuts import shortcuts

Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]

TITLES = {shortcut.title for shortcut in SHORTCUTS}


@pytest.fixture
def user(mac: Mac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    """Somebody at a Mac, with a home of their own and lfm on the PATH."""
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(shortcut_places, "SERVICES", mac.folder / "pbs")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("PATH", f"{mac.lfm.parent}:{mac.folder}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "argv", ["lfm_cli"])
    monkeypatch.setattr(sys, "prefix", str(mac.folder))
    monkeypatch.chdir(tmp_path)
    return mac


@pytest.fixture
def services(tmp_path: Path) -> Path:
    return tmp_path / "user" / "Library" / "Services"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(shortcuts, [str(argument) for argument in arguments])


def run(*arguments: object) -> str:
    """Runs what must go well, and gives its stdout."""
    result = invoke(*arguments)
    assert result.exception is None, result.output
    return result.stdout


def states() -> dict[str, str]:
    told = json.loads(run("list", "--json"))["shortcuts"]
    return {entry["title"]: entry["state"] for entry in told}


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# install


def test_all_is_installed_and_shortcuts_asks(user: Mac, services: Path, home: Path):
    lines = run("install").splitlines()
    assert lines[:5] == [f"{each.title} (quick action): installed" for each in QUICK_ACTIONS]
    assert lines[5:] == [f"{each.title} (shortcut): opened" for each in SHORTCUTS]
    folders = {f"{each.title}.workflow" for each in QUICK_ACTIONS}
    assert {path.name for path in services.iterdir()} == folders
    signed = home / "shortcuts"
    assert {path.name for path in signed.iterdir()} == {f"{title}.shortcut" for title in TITLES}
    assert [asked for asked, _ in user.asked("pbs")] == [["-flush"], ["-update"]]
    assert [asked for asked, _ in user.asked("open")] == [
        [str(signed / f"{each.title}.shortcut")] for each in SHORTCUTS
    ]


def test_signing_is_for_anyone_and_of_what_is_opened(user: Mac, home: Path):
    run("install", "dictate")
    (listed, sign) = [asked for asked, _ in user.asked("shortcuts")]
    assert listed == ["list"]
    opened = home / "shortcuts" / "Dictate.shortcut"
    assert sign[:4] == ["sign", "--mode", "anyone", "--input"]
    assert sign[5:] == ["--output", str(opened)]
    assert not Path(sign[4]).exists()
    document = plistlib.loads(opened.read_bytes())
    check_shortcut(document)
    assert document["WFWorkflowName"] == "Dictate"


def test_only_what_is_named_is_installed(user: Mac, services: Path):
    assert run("install", "answer") == "Answer Aloud with LFM (quick action): installed\n"
    assert [path.name for path in services.iterdir()] == ["Answer Aloud with LFM.workflow"]
    assert user.asked("open") == []


def test_a_name_that_there_is_not_is_wrong_usage(user: Mac):
    result = invoke("install", "nothing")
    assert result.exit_code == 2
    assert all(name in result.stderr for name in NAMES)


def test_installing_again_changes_nothing(user: Mac, services: Path):
    run("install")
    before = everything(services)
    stamps = {path: path.stat().st_mtime_ns for path in services.rglob("*")}
    user.answer(shortcuts="\n".join(sorted(TITLES)))
    lines = run("install").splitlines()
    assert [line.rsplit(": ")[1] for line in lines] == ["installed"] * 9
    assert everything(services) == before
    assert {path: path.stat().st_mtime_ns for path in services.rglob("*")} == stamps
    assert len(user.asked("open")) == len(SHORTCUTS)


def test_a_shortcut_of_that_name_is_added_again_when_forced(user: Mac):
    user.answer(shortcuts="Other\nDictate\n")
    assert run("install", "dictate").splitlines()[1] == "Dictate (shortcut): installed"
    assert user.asked("open") == []
    assert run("install", "dictate", "--force").splitlines()[1] == "Dictate (shortcut): opened"
    assert len(user.asked("open")) == 1


def test_what_another_version_wrote_is_replaced(
    user: Mac, services: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Here: one whose models were elsewhere."""
    run("install", "speak", "answer")
    monkeypatch.setenv("LFM_HOME", str(tmp_path / "another home"))
    assert states()["Answer Aloud with LFM"] == "outdated"
    run("install", "answer")
    assert states()["Answer Aloud with LFM"] == "installed"
    assert states()["Speak with LFM"] == "outdated"
    document = plistlib.loads((services / "Answer Aloud with LFM.workflow" / DOCUMENT).read_bytes())
    assert f"export LFM_HOME='{tmp_path}/another home'\n" in str(
        document["actions"][0]["action"]["ActionParameters"]["COMMAND_STRING"]
    )


def change(workflow: Path) -> None:
    """As Automator does it, when somebody edits a Quick Action."""
    document = plistlib.loads((workflow / DOCUMENT).read_bytes())
    document["AMApplicationBuild"] = "999"
    (workflow / DOCUMENT).write_bytes(plistlib.dumps(document))


def be_another(workflow: Path) -> None:
    (workflow / INFO).write_bytes(plistlib.dumps({"NSServices": []}))


def be_a_file(workflow: Path) -> None:
    for path in sorted(workflow.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    workflow.rmdir()
    workflow.write_text("mine")


def be_a_link(workflow: Path) -> None:
    workflow.rename(workflow.parent.parent / "elsewhere")
    be_another(workflow.parent.parent / "elsewhere")
    workflow.symlink_to(workflow.parent.parent / "elsewhere")


def be_a_broken_list(workflow: Path) -> None:
    (workflow / INFO).write_text("not a property list")


THEIRS = {
    "changed": (change, "changed since", "changed since"),
    "another": (be_another, "not lfm's", "left alone"),
    "file": (be_a_file, "not lfm's", "left alone"),
    "link": (be_a_link, "not lfm's", "left alone"),
    "broken": (be_a_broken_list, "not lfm's", "left alone"),
}


@pytest.mark.parametrize("case", THEIRS)
def test_what_somebody_else_made_is_not_touched(
    user: Mac, services: Path, case: str, caplog: pytest.LogCaptureFixture
):
    make, on_install, on_uninstall = THEIRS[case]
    run("install", "speak", "answer")
    theirs = services / "Speak with LFM.workflow"
    make(theirs)
    before = theirs.read_bytes() if theirs.is_file() else everything(theirs)
    for command, part in (("install", on_install), ("uninstall", on_uninstall)):
        caplog.clear()
        result = invoke(command, "speak", "answer")
        assert result.exit_code == 1
        (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert str(theirs) in error
        assert part in error
        assert "Answer Aloud" in result.stdout
        assert before == (theirs.read_bytes() if theirs.is_file() else everything(theirs))


@pytest.mark.parametrize("case", THEIRS)
def test_unless_that_is_forced(user: Mac, services: Path, case: str):
    run("install", "answer")
    theirs = services / "Answer Aloud with LFM.workflow"
    right = everything(theirs)
    THEIRS[case][0](theirs)
    assert run("install", "answer", "--force").endswith("installed\n")
    assert everything(theirs) == right
    assert not theirs.is_symlink()
    assert [path.name for path in services.iterdir()] == [theirs.name]
    if case == "link":
        assert (services.parent / "elsewhere" / INFO).exists()


def test_a_folder_that_cannot_be_written(
    user: Mac, services: Path, caplog: pytest.LogCaptureFixture
):
    services.parent.mkdir(parents=True)
    services.write_text("a file")
    assert invoke("install", "answer").exit_code == 1
    assert f"{services}: is a file where a folder has to be" in caplog.text


def test_what_the_system_refuses_is_told_and_nothing_is_half_done(
    user: Mac, services: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """As for who may not write; root, whom the tests may run as, may."""
    run("install", "answer")
    place = services / "Answer Aloud with LFM.workflow"
    change(place)
    before = everything(services)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    for command, deed in (("install", "written"), ("uninstall", "deleted")):
        caplog.clear()
        assert invoke(command, "answer", "--force").exit_code == 1
        assert caplog.messages == [f"{place}: cannot be {deed}: Permission denied"]
        assert everything(services) == before
    monkeypatch.setattr(quick_actions, "state", refuse)
    assert str(invoke("list").exception).endswith("cannot be read: Permission denied")


def test_of_a_link_only_the_link_is_deleted(user: Mac, services: Path, tmp_path: Path):
    run("install", "answer")
    place = services / "Answer Aloud with LFM.workflow"
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert run("uninstall", "answer").endswith("removed\n")
    assert not place.is_symlink() and (tmp_path / "elsewhere" / INFO).exists()


def test_a_file_is_no_folder_to_write_into(user: Mac, tmp_path: Path):
    (tmp_path / "file").touch()
    assert invoke("install", "--folder", "file").exit_code == 2
    assert invoke("install", "answer", "--folder", "file/in").exit_code == 1


# What macOS may refuse


def test_without_a_signature_quick_actions_are_there_all_the_same(
    user: Mac, services: Path, home: Path, caplog: pytest.LogCaptureFixture
):
    user.answer(shortcuts=None)
    result = invoke("install", "transcribe")
    assert result.exit_code == 1
    assert result.stdout == "Transcribe with LFM (quick action): installed\n"
    (error,) = [record.getMessage() for record in caplog.records]
    assert error.startswith("Transcribe File.shortcut: `shortcuts` failed: shortcuts: no; ")
    assert "iCloud" in error
    assert list((home / "shortcuts").iterdir()) == []


def test_an_old_signature_is_not_taken_for_a_new_one(
    user: Mac, home: Path, caplog: pytest.LogCaptureFixture
):
    run("install", "dictate")
    (user.folder / "shortcuts").write_text("#!/bin/sh\n")
    assert invoke("install", "dictate").exit_code == 1
    assert "was not signed" in caplog.text
    assert len(user.asked("open")) == 1


def test_a_mac_without_shortcuts(user: Mac, caplog: pytest.LogCaptureFixture):
    (user.folder / "shortcuts").unlink()
    assert states()["Dictate"] == "unknown"
    assert invoke("install", "dictate").exit_code == 1
    assert "shortcuts cannot be run" in caplog.text


def test_a_file_that_does_not_open(user: Mac, caplog: pytest.LogCaptureFixture):
    user.answer(open=None)
    assert invoke("install", "dictate").exit_code == 1
    assert "open it yourself" in caplog.text


def test_on_another_system_nothing_is_installed(lfm: Run, tmp_path: Path):
    env = {"HOME": str(tmp_path)}
    for command in ("install", "uninstall"):
        result = lfm("shortcuts", command, env=env)
        assert (result.returncode, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert "no Mac" in line
    assert list(tmp_path.iterdir()) == []


# uninstall


def test_what_was_installed_is_taken_away(
    user: Mac, services: Path, home: Path, caplog: pytest.LogCaptureFixture
):
    run("install")
    (services / "Mine.workflow").mkdir()
    user.answer(shortcuts="Dictate\nMine\n")
    with caplog.at_level("INFO", logger="lfm_cli"):
        lines = run("uninstall").splitlines()
    assert lines[:5] == [f"{each.title} (quick action): removed" for each in QUICK_ACTIONS]
    assert sorted(lines[5:]) == [
        "Ask (shortcut): absent",
        "Dictate (shortcut): installed",
        "Speak Text (shortcut): absent",
        "Transcribe File (shortcut): absent",
    ]
    assert [path.name for path in services.iterdir()] == ["Mine.workflow"]
    assert list((home / "shortcuts").iterdir()) == []
    assert caplog.messages == ["macOS lets only you delete shortcuts, in the app: Dictate"]


def test_uninstalling_what_is_not_there_is_no_failure(user: Mac, services: Path):
    assert {line.rsplit(": ")[1] for line in run("uninstall").splitlines()} == {"absent"}
    assert not services.exists()


def test_uninstalling_needs_no_lfm_on_the_path(
    user: Mac, services: Path, monkeypatch: pytest.MonkeyPatch
):
    run("install", "answer")
    monkeypatch.setenv("PATH", "/nowhere")
    assert run("uninstall", "answer") == "Answer Aloud with LFM (quick action): removed\n"
    assert list(services.iterdir()) == []


def test_what_was_changed_goes_when_forced(user: Mac, services: Path):
    run("install", "answer")
    change(services / "Answer Aloud with LFM.workflow")
    run("uninstall", "answer", "--force")
    assert list(services.iterdir()) == []


# list, JSON, --folder


def test_the_list_tells_what_is_there(user: Mac, services: Path):
    run("install", "speak", "answer", "ask")
    change(services / "Speak with LFM.workflow")
    be_another(services / "Ask LFM about This.workflow")
    user.answer(shortcuts="Ask\n")
    assert states() == {
        "Transcribe with LFM": "absent",
        "Speak with LFM": "changed",
        "Dictate with LFM": "absent",
        "Ask LFM about This": "foreign",
        "Answer Aloud with LFM": "installed",
        "Transcribe File": "absent",
        "Dictate": "absent",
        "Speak Text": "absent",
        "Ask": "installed",
    }
    head, *rows = run().splitlines()
    assert head.split() == ["NAME", "TITLE", "IS", "A", "STATE", "TAKES", "GIVES"]
    assert len(rows) == len(QUICK_ACTIONS) + len(SHORTCUTS)


def test_every_document_is_as_its_schema_says(user: Mac, document: Document, tmp_path: Path):
    commands = (["list"], ["install"], ["install", "--folder", tmp_path / "out"], ["uninstall"])
    for command in commands:
        found = document(run(*command, "--json"))
        assert found["kind"] == "shortcuts"
        assert len(found["shortcuts"]) == len(QUICK_ACTIONS) + len(SHORTCUTS)


def test_files_can_be_looked_at_on_any_machine(lfm: Run, tmp_path: Path):
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for _ in range(2):
        result = lfm("shortcuts", "install", "--folder", "out dir", env=env)
        assert (result.returncode, result.stderr) == (0, "")
        assert all(line.endswith(": written") for line in result.stdout.splitlines())
    found = everything(tmp_path / "out dir")
    assert len(found) == 2 * len(QUICK_ACTIONS) + len(SHORTCUTS)
    for name, data in found.items():
        assert b"<plist" in data, name
    (tmp_path / "out dir" / "Ask.shortcut").write_text("mine")
    result = lfm("shortcuts", "install", "ask", "--folder", "out dir", env=env)
    assert result.returncode == 1
    assert "--force" in result.stderr
    assert (tmp_path / "out dir" / "Ask.shortcut").read_text() == "mine"


# Where lfm is


def test_the_path_of_lfm_outlives_an_upgrade(
    user: Mac, services: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Homebrew's way: a link on the PATH leads into the folder of a version."""
    link = tmp_path / "homebrew" / "lfm"
    link.parent.mkdir()
    link.symlink_to(user.lfm)
    monkeypatch.setenv("PATH", f"{link.parent}:{os.environ['PATH']}")
    run("install", "speak")
    info = plistlib.loads((services / "Speak with LFM.workflow" / DOCUMENT).read_bytes())
    lines = info["actions"][0]["action"]["ActionParameters"]["COMMAND_STRING"].splitlines()
    assert shlex.split(lines[0]) == [f"lfm={link}"]
    assert str(user.folder) not in "".join(lines)


def test_without_lfm_on_the_path_nothing_is_written(
    user: Mac, services: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "/nowhere")
    result = invoke("install")
    assert isinstance(result.exception, LfmError)
    assert "PATH" in str(result.exception)
    assert not services.exists()
