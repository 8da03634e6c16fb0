"""Quick Actions: their property lists are as Automator and the Services menu want them, and the
shell lines in those very lists do what they promise, whatever the files are called."""

import json
import os
import plistlib
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from mac_programs import NAMES, Mac, make_mac  # noqa: F401 - a fixture
from workflow_schema import check_info, check_workflow, uuids_of

from lfm_cli.quick_actions import DOCUMENT, INFO, contents, state
from lfm_cli.shortcut_catalogue import QUICK_ACTIONS, Installation, QuickAction

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH = RECORDINGS / "seen_04.wav"
SAID = "set a timer for twenty one minutes"
ANSWERED = "timer set for"
BY_NAME = {action.name: action for action in QUICK_ACTIONS}
SHELLS = [shell for shell in ("sh", "bash", "zsh", "dash") if shutil.which(shell)]
SELECTED = '-v it\'s "1 < 2" & $HOME `id`\n\n\\n 🥝 END\nEND\n'


def written(action: QuickAction, mac: Mac, folder: Path) -> Path:
    """The files of a Quick Action, as they would be in the Services folder."""
    for name, data in contents(action, Installation(str(mac.lfm))).items():
        place = folder / action.title / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return folder / action.title


def lists(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    info = plistlib.loads((folder / INFO).read_bytes())
    return info, plistlib.loads((folder / DOCUMENT).read_bytes())


class Menu:
    """The Services menu: runs what a file on the disk says."""

    def __init__(self, mac: Mac, folder: Path):
        self.mac, self.folder = mac, folder

    def choose(
        self, name: str, *files: str, text: str = "", shell: str | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        _, document = lists(written(BY_NAME[name], self.mac, self.folder / "Services"))
        parameters = document["actions"][0]["action"]["ActionParameters"]
        by_arguments = parameters["inputMethod"] == 1
        assert bool(files) <= by_arguments
        return self.mac.run(
            shell or parameters["shell"],
            parameters["COMMAND_STRING"],
            files,
            "" if by_arguments else text,
            **more,
        )


@pytest.fixture
def menu(mac: Mac, tmp_path: Path) -> Menu:
    return Menu(mac, tmp_path)


# What Apple's programs require


@pytest.mark.parametrize("action", QUICK_ACTIONS, ids=lambda action: action.name)
def test_the_lists_are_as_they_should_be(action: QuickAction, mac: Mac, tmp_path: Path):
    folder = written(action, mac, tmp_path)
    info, document = lists(folder)
    check_info(info)
    check_workflow(document, info)
    assert info["NSServices"][0]["NSMenuItem"]["default"] == action.title
    assert state(folder, action, contents(action, Installation(str(mac.lfm)))) == "installed"


def test_every_identifier_is_there_once(mac: Mac, tmp_path: Path):
    found: list[str] = []
    for action in QUICK_ACTIONS:
        found += uuids_of(lists(written(action, mac, tmp_path))[1])
    assert len(found) == len(set(found)) == 3 * len(QUICK_ACTIONS)


def test_the_schema_notices(mac: Mac, tmp_path: Path):
    """It would not hold anything to anything if it let these pass."""
    import jsonschema

    info, document = lists(written(BY_NAME["ask"], mac, tmp_path))
    action = document["actions"][0]["action"]
    for place, key in (
        (action, "UUID"),
        (action["ActionParameters"], "shell"),
        (document, "actions"),
    ):
        kept = place.pop(key)
        with pytest.raises(jsonschema.ValidationError):
            check_workflow(document, info)
        place[key] = kept
    action["ActionParameters"]["inputMethod"] = 0
    with pytest.raises(AssertionError):
        check_workflow(document, info)
    info["NSServices"][0]["NSMessage"] = "run"
    with pytest.raises(jsonschema.ValidationError):
        check_info(info)


def test_titles_can_be_names_of_files_and_differ():
    titles = [action.title for action in QUICK_ACTIONS]
    assert len({title.casefold() for title in titles}) == len(titles)
    assert all("/" not in title and ":" not in title for title in titles)


@pytest.mark.parametrize("action", QUICK_ACTIONS, ids=lambda action: action.name)
@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_understands_the_lines(
    shell: str, action: QuickAction, mac: Mac, tmp_path: Path
):
    parameters = lists(written(action, mac, tmp_path))[1]["actions"][0]["action"][
        "ActionParameters"
    ]
    checked = subprocess.run([shell, "-n"], input=parameters["COMMAND_STRING"], text=True)
    assert checked.returncode == 0
    assert max(map(len, parameters["COMMAND_STRING"].splitlines()[1:])) <= 100


# Transcribe: a text beside each recording


@pytest.fixture
def named(tmp_path: Path) -> list[Path]:
    """The same recording under all the names."""
    folder = tmp_path / "my recordings"
    folder.mkdir()
    return [Path(shutil.copy(SPEECH, folder / name)) for name in NAMES]


def test_a_text_is_beside_each_recording(menu: Menu, named: list[Path]):
    result = menu.choose("transcribe", *map(str, named))
    assert (result.returncode, result.stderr) == (0, "")
    texts = {path.with_suffix(".txt") for path in named}
    assert set(named[0].parent.iterdir()) == {*named, *texts}
    assert {path.read_text() for path in texts} == {f"{SAID}\n"}
    assert menu.mac.alerts() == []


@pytest.mark.parametrize("shell", SHELLS)
def test_names_reach_lfm_as_they_are(menu: Menu, named: list[Path], shell: str):
    """Of any shell, and where they begin with a dash."""
    menu.mac.pretend_lfm()
    folder = named[0].parent
    for arguments in ([str(path) for path in named], list(NAMES)):
        assert menu.choose("transcribe", *arguments, shell=shell, cwd=folder).returncode == 0
    asked = [each for each, _ in menu.mac.asked("lfm")]
    whole = [["-q", "transcribe", f"--output-dir={folder}/", "--", str(path)] for path in named]
    bare = [["-q", "transcribe", "--output-dir=./", "--", name] for name in NAMES]
    assert asked == whole + bare


def test_a_text_that_is_there_is_never_replaced(menu: Menu, named: list[Path]):
    mine = named[0].with_suffix(".txt")
    mine.write_text("my own notes")
    result = menu.choose("transcribe", str(named[0]), str(named[1]))
    assert result.returncode == 1
    assert mine.read_text() == "my own notes"
    assert named[1].with_suffix(".txt").read_text() == f"{SAID}\n"
    told = f"{mine}: is there already; move it away first"
    assert menu.mac.alerts() == [["Transcribe with LFM", told]]
    assert result.stderr == f"{told}\n"


def test_what_fails_is_told_in_lfms_words_and_the_rest_is_done(menu: Menu, named: list[Path]):
    wrong = named[2]
    wrong.write_text("not a sound")
    result = menu.choose("transcribe", str(wrong), str(named[3]))
    assert result.returncode == 1
    ((title, told),) = menu.mac.alerts()
    assert title == "Transcribe with LFM"
    assert told.startswith(f"lfm: {wrong}")
    assert "not a sound file" in told
    assert named[3].with_suffix(".txt").exists()
    assert not wrong.with_suffix(".txt").exists()


@pytest.mark.parametrize("name", ["transcribe", "speak", "ask", "answer"])
def test_without_a_model_the_way_to_one_is_shown(menu: Menu, name: str):
    menu.mac.answer(text="What is it?")
    files = [str(SPEECH)] if BY_NAME[name].takes == "recordings" else []
    copies = [shutil.copy(file, menu.folder / "a.wav") for file in files]
    result = menu.choose(name, *map(str, copies), text="Hello.", env={"LFM_MODEL": ""})
    assert result.returncode == 3
    ((title, told),) = menu.mac.alerts()
    assert title == BY_NAME[name].title
    assert "lfm pull" in told
    assert "lfm pull" in result.stderr


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", BY_NAME)
def test_without_lfm_the_user_is_told_to_install_it(menu: Menu, name: str, shell: str):
    menu.mac.lfm.unlink()
    result = menu.choose(name, shell=shell)
    assert result.returncode == 127
    told = f"{menu.mac.lfm} is gone: install lfm, then run `lfm shortcuts install`"
    assert menu.mac.alerts() == [[BY_NAME[name].title, told]]


# Text in, speech out


@pytest.mark.parametrize("shell", SHELLS)
def test_selected_text_is_spoken_as_it_is(menu: Menu, shell: str):
    menu.mac.pretend_lfm()
    assert menu.choose("speak", text=SELECTED, shell=shell).returncode == 0
    assert menu.mac.asked("lfm") == [(["-q", "say", "-f", "-"], SELECTED)]


@pytest.mark.parametrize("shell", SHELLS)
def test_selected_text_is_answered_as_it_is(menu: Menu, shell: str):
    menu.mac.pretend_lfm()
    assert menu.choose("answer", text=SELECTED, shell=shell).returncode == 0
    ((asked, _),) = menu.mac.asked("lfm")
    assert asked == ["-q", "chat", f"--once={SELECTED.rstrip()}"]


@pytest.mark.parametrize("name", ["speak", "answer"])
def test_nothing_selected_is_told_as_that(menu: Menu, name: str):
    result = menu.choose(name, text=" \n")
    assert result.returncode == 1
    ((_, told),) = menu.mac.alerts()
    # Without a loudspeaker, that is what is wrong first.
    assert "empty" in told or (name == "speak" and "loudspeaker" in told)


# A question about a recording


def test_a_question_is_asked_for_and_its_answer_shown_and_copied(menu: Menu, named: list[Path]):
    menu.mac.answer(text="-What is `wanted`?\n", button="Copy")
    result = menu.choose("ask", str(named[2]), str(named[3]))
    assert (result.returncode, result.stderr) == (0, "")
    question, *shown = [asked for asked, _ in menu.mac.asked("osascript")]
    assert question[-2:] == ["Ask LFM about This", "What do you want to know about it?"]
    assert [each[-2] for each in shown] == [named[2].name, named[3].name]
    assert all(each[-1].startswith(ANSWERED) for each in shown)
    copied = [text for _, text in menu.mac.asked("pbcopy")]
    assert copied == [each[-1] for each in shown]


@pytest.mark.parametrize("shell", SHELLS)
def test_question_and_names_reach_lfm_as_they_are(menu: Menu, named: list[Path], shell: str):
    menu.mac.pretend_lfm()
    menu.mac.answer(text=SELECTED, lfm="--an answer")
    assert menu.choose("ask", *map(str, named), shell=shell).returncode == 0
    wanted = [["-q", "ask", "--", str(path), SELECTED.rstrip()] for path in named]
    assert [asked for asked, _ in menu.mac.asked("lfm")] == wanted
    assert [asked[-1] for asked, _ in menu.mac.asked("osascript")[1:]] == ["--an answer"] * len(
        named
    )
    assert menu.mac.asked("pbcopy") == []


def test_who_cancels_has_asked_nothing(menu: Menu):
    menu.mac.pretend_lfm()
    menu.mac.answer(text=None)
    assert menu.choose("ask", str(SPEECH)).returncode == 0
    assert menu.mac.asked("lfm") == []
    assert menu.mac.alerts() == []


def test_a_recording_that_cannot_be_asked_about(menu: Menu, tmp_path: Path):
    menu.mac.answer(text="What?")
    result = menu.choose("ask", str(tmp_path / "gone.wav"))
    assert result.returncode == 1
    assert "gone.wav: no such file" in menu.mac.alerts()[0][1]


# Dictation, in Terminal


@pytest.mark.parametrize("shell", SHELLS)
def test_dictation_happens_in_terminal(menu: Menu, tmp_path: Path, shell: str):
    menu.mac.pretend_lfm()
    assert menu.choose("dictate", shell=shell).returncode == 0
    ((asked, _),) = menu.mac.asked("open")
    assert asked[:2] == ["-a", "Terminal"]
    opened = Path(asked[2])
    assert opened.suffix == ".command"
    assert opened.stat().st_mode & 0o777 == 0o700
    assert menu.mac.asked("lfm") == []
    result = subprocess.run([opened], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stderr) == (0, "")
    assert "clipboard" in result.stdout
    assert menu.mac.asked("lfm") == [(["transcribe", "--mic", "--copy"], "")]
    assert not opened.parent.exists()


def test_ending_dictation_does_not_end_the_window_before_it_has_told(menu: Menu, tmp_path: Path):
    """ctrl-C is for everything in the terminal: lfm finishes on it, and the shell goes on."""
    stand_in = menu.mac.lfm
    ready = tmp_path / "ready"
    stand_in.write_text(
        f"#!/bin/sh\ntrap 'echo finished; exit 0' INT\ntouch {shlex.quote(str(ready))}\n"
        "while :; do sleep 0.1; done\n"
    )
    menu.choose("dictate")
    opened = menu.mac.asked("open")[0][0][2]
    process = subprocess.Popen([opened], stdout=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 20
    while not ready.exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert out.splitlines()[0] == "finished"
    assert "clipboard" in out
    assert process.returncode == 0


def test_a_terminal_that_does_not_open_is_told(menu: Menu):
    menu.mac.answer(open=None)
    result = menu.choose("dictate")
    assert result.returncode == 1
    assert menu.mac.alerts() == [["Dictate with LFM", "open: no"]]


def test_nothing_is_left_behind(menu: Menu, tmp_path: Path):
    """Temporary folders go, whether it worked or not."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    menu.mac.pretend_lfm()
    for answer in ("", None):
        menu.mac.answer(lfm=answer, text="What?")
        for name in ("transcribe", "speak", "ask", "answer"):
            files = [str(SPEECH)] if BY_NAME[name].takes == "recordings" else []
            result = menu.choose(name, *files, text="x", env={"TMPDIR": str(temporary)})
            assert result.returncode == (0 if answer == "" else 1), json.dumps([name, answer])
    assert list(temporary.iterdir()) == []
