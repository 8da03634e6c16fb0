"""Shortcuts: their files are as the app wants them, and run as the app would run them, step by
step, with the shell lines in those very files, they give what they promise."""

import base64
import copy
import io
import plistlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import soundfile
from mac_programs import NAMES, Mac, make_mac  # noqa: F401 - a fixture
from workflow_schema import actions_of, check_shortcut, uuids_of

from lfm_cli.shortcut_catalogue import SHORTCUTS, Installation, Shortcut
from lfm_cli.shortcut_files import content

SPEECH = Path(__file__).parents[1] / "data" / "recordings" / "seen_04.wav"
SAID = "set a timer for twenty one minutes"
ANSWERED = "timer set for"
BY_NAME = {shortcut.name: shortcut for shortcut in SHORTCUTS}
SHELLS = [shell for shell in ("sh", "bash", "zsh", "dash") if shutil.which(shell)]
ASKED = '-Why "this"? it\'s $HOME `id`\n\\n 🥝'

EACH = pytest.mark.parametrize("shortcut", SHORTCUTS, ids=lambda shortcut: shortcut.name)


class Stopped(Exception):
    """A step failed, and with it the shortcut."""


class App:
    """The app Shortcuts, as far as our shortcuts go: hands outputs on by their identifiers."""

    def __init__(self, mac: Mac, question: str = "", recording: Path = SPEECH):
        self.mac, self.question, self.recording = mac, question, recording
        self.clipboard: list[str] = []
        self.played: list[tuple[str, bytes]] = []
        self.results: list[subprocess.CompletedProcess[str]] = []
        self.shell: str | None = None

    def run(self, name: str, given: Any = None, env: dict[str, str] | None = None) -> Any:
        """What a shortcut gives, of what it is given: a text, or a list of files."""
        document = plistlib.loads(content(BY_NAME[name], Installation(str(self.mac.lfm))))
        outputs: dict[str, Any] = {}
        variables: dict[str, list[Any]] = {}

        def meant(value: Any) -> Any:
            """An input as its step gets it."""
            if not isinstance(value, dict):
                return value
            about = value["Value"]
            if value["WFSerializationType"] == "WFTextTokenString":
                (about,) = about["attachmentsByRange"].values()
            kind = about["Type"]
            if kind == "ExtensionInput":
                return given
            return (
                outputs[about["OutputUUID"]]
                if kind == "ActionOutput"
                else variables[about["VariableName"]]
            )

        for action, parameters in actions_of(document):
            inputs = {key: meant(value) for key, value in parameters.items()}
            if action == "output":
                return inputs["WFOutput"]
            if action == "appendvariable":
                found = inputs["WFInput"]
                held = variables.setdefault(parameters["WFVariableName"], [])
                held += found if isinstance(found, list) else [found]
            elif action == "runshellscript":
                outputs[parameters["UUID"]] = self._shell(inputs, env)
            else:
                outputs[parameters["UUID"]] = self._other(action, inputs)
        return None

    def _shell(self, inputs: dict[str, Any], env: dict[str, str] | None) -> str:
        given: Any = inputs["Input"]
        items = given if isinstance(given, list) else [given]
        arguments, stdin = [str(item) for item in items], ""
        if inputs["InputMode"] == "to stdin":
            arguments, stdin = [], str(given)
        shell = self.shell or inputs["Shell"]
        result = self.mac.run(shell, inputs["Script"], arguments, stdin, env)
        self.results.append(result)
        if result.returncode:
            raise Stopped
        return result.stdout

    def _other(self, action: str, inputs: dict[str, Any]) -> Any:
        if action == "ask":
            return self.question
        if action == "recordaudio":
            return self.recording
        if action == "setclipboard":
            self.clipboard.append(inputs["WFInput"])
            return None
        if action == "base64encode":
            assert inputs["WFEncodeMode"] == "Decode"
            return base64.b64decode(inputs["WFInput"])
        if action == "setitemname":
            return inputs["WFName"], inputs["WFInput"]
        assert action == "playsound", action
        self.played.append(inputs["WFInput"])
        return None


# What the app requires


@EACH
def test_a_file_is_as_it_should_be(shortcut: Shortcut, mac: Mac):
    document = plistlib.loads(content(shortcut, Installation(str(mac.lfm))))
    check_shortcut(document)
    assert document["WFWorkflowName"] == shortcut.title
    assert content(shortcut, Installation(str(mac.lfm))) == content(
        shortcut, Installation(str(mac.lfm))
    )


def test_every_identifier_is_there_once():
    found: list[str] = []
    for shortcut in SHORTCUTS:
        found += uuids_of(plistlib.loads(content(shortcut, Installation("/bin/lfm"))))
    assert len(found) == len(set(found)) == sum(len(shortcut.steps) for shortcut in SHORTCUTS)


def damage(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = plistlib.loads(content(BY_NAME["ask"], Installation("/bin/lfm")))
    change(document)
    return document


def parameters_of(document: dict[str, Any], action: str) -> dict[str, Any]:
    return next(parameters for name, parameters in actions_of(document) if name == action)


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "an unknown action": lambda d: d["WFWorkflowActions"][0].update(
        WFWorkflowActionIdentifier="is.workflow.actions.nothing"
    ),
    "an unknown key": lambda d: parameters_of(d, "ask").update(Prompt="?"),
    "no identifier": lambda d: parameters_of(d, "ask").pop("UUID"),
    "a step that is not there": lambda d: d["WFWorkflowActions"].pop(0),
    "a step that comes later": lambda d: d["WFWorkflowActions"].insert(
        0, d["WFWorkflowActions"].pop(1)
    ),
    "a variable that nobody fills": lambda d: parameters_of(d, "runshellscript")["Input"][
        "Value"
    ].update(VariableName="Other"),
    "an output of another name": lambda d: parameters_of(d, "appendvariable")["WFInput"][
        "Value"
    ].update(OutputName="Other"),
    "a hole without content": lambda d: parameters_of(d, "output")["WFOutput"]["Value"].update(
        attachmentsByRange={}
    ),
    "no word of the input": lambda d: d.update(WFWorkflowHasShortcutInputVariables=False),
    "lines with holes": lambda d: parameters_of(d, "runshellscript").update(
        Script=copy.deepcopy(parameters_of(d, "output")["WFOutput"])
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_the_schema_notices(case: str):
    check_shortcut(damage(lambda document: None))
    with pytest.raises((jsonschema.ValidationError, AssertionError)):
        check_shortcut(damage(DAMAGES[case]))


@EACH
@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_understands_the_lines(shell: str, shortcut: Shortcut):
    document = plistlib.loads(content(shortcut, Installation("/a b/it's/lfm", "/home $x")))
    lines = parameters_of(document, "runshellscript")["Script"]
    assert subprocess.run([shell, "-n"], input=lines, text=True).returncode == 0


# What they give


@pytest.fixture
def named(tmp_path: Path) -> list[Path]:
    """The same recording under all the names."""
    return [Path(shutil.copy(SPEECH, tmp_path / name)) for name in NAMES]


def test_a_file_gives_its_text(mac: Mac, named: list[Path]):
    assert App(mac).run("transcribe", [named[2]]) == f"{SAID}\n"


def test_several_files_give_their_texts(mac: Mac, named: list[Path]):
    several = named[3:5]
    assert App(mac).run("transcribe", several) == "".join(f"{path}: {SAID}\n" for path in several)


def test_what_is_said_is_on_the_clipboard_and_comes_out(mac: Mac):
    app = App(mac)
    assert app.run("dictate") == f"{SAID}\n"
    assert app.clipboard == [f"{SAID}\n"]


def test_text_gives_a_sound_that_is_played(mac: Mac):
    app = App(mac)
    name, data = app.run("speak", "alarm set for seven")
    assert name == "Speech.wav"
    assert app.played == [(name, data)]
    info = soundfile.info(io.BytesIO(data))
    assert (info.samplerate, info.channels, info.format) == (24_000, 1, "WAV")
    assert 0.5 < info.duration < 10


def test_a_question_about_a_file_gives_an_answer(mac: Mac, named: list[Path]):
    assert App(mac, question="What is wanted?").run("ask", [named[1]]).startswith(ANSWERED)


# Whatever it is called, whatever is asked


@pytest.mark.parametrize("shell", SHELLS)
def test_everything_reaches_lfm_as_it_is(mac: Mac, named: list[Path], shell: str):
    mac.pretend_lfm()
    app = App(mac, question=ASKED)
    app.shell = shell
    app.run("transcribe", named)
    app.run("ask", named)
    mac.answer(lfm="")
    asked = [each for each, _ in mac.asked("lfm")]
    assert asked[0] == ["-q", "transcribe", "--", *map(str, named)]
    assert asked[1:] == [["-q", "ask", "--", str(path), ASKED] for path in named]


def test_a_text_to_speak_goes_in_by_stdin(mac: Mac):
    mac.pretend_lfm()
    with pytest.raises(Stopped):  # what only writes down makes no sound
        App(mac).run("speak", ASKED)
    ((asked, text),) = mac.asked("lfm")
    assert asked[:5] == ["-q", "say", "-f", "-", "-o"]
    assert text == ASKED


def test_a_question_that_comes_as_a_file_is_read(mac: Mac, tmp_path: Path):
    mac.pretend_lfm()
    (tmp_path / "Provided Input.txt").write_text(ASKED)
    App(mac, question=str(tmp_path / "Provided Input.txt")).run("ask", [SPEECH])
    assert mac.asked("lfm")[0][0][-1] == ASKED


# Failures

FAILURES: dict[str, tuple[str, Any, dict[str, str], int, str]] = {
    "no model": ("transcribe", [SPEECH], {"LFM_MODEL": ""}, 3, "lfm pull"),
    "no model to speak": ("speak", "hello", {"LFM_MODEL": "nothing"}, 3, "lfm pull"),
    "no model to ask": ("ask", [SPEECH], {"LFM_MODEL": "nothing"}, 3, "lfm pull"),
    "no such file": ("transcribe", ["/gone.wav"], {}, 1, "/gone.wav: no such file"),
    "not a sound": ("ask", [Path(__file__)], {}, 1, "not a sound file"),
    "nothing to say": ("speak", " ", {}, 1, "empty"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_ends_it_and_is_told_in_lfms_words(mac: Mac, case: str):
    name, given, env, code, part = FAILURES[case]
    app = App(mac, question="What?")
    with pytest.raises(Stopped):
        app.run(name, given, env)
    ((title, told),) = mac.alerts()
    assert title == BY_NAME[name].title
    assert part in told
    assert app.results[-1].returncode == code
    assert part in app.results[-1].stderr
    assert (app.clipboard, app.played) == ([], [])


def test_where_models_are_kept_is_remembered(mac: Mac, tmp_path: Path):
    lines = plistlib.loads(content(BY_NAME["transcribe"], Installation(str(mac.lfm), "/x y/z")))
    script = parameters_of(lines, "runshellscript")["Script"]
    mac.lfm.write_text('#!/bin/sh\nprintf %s "$LFM_HOME"\n')
    assert mac.run("sh", script, ["a.wav"]).stdout == "/x y/z"
