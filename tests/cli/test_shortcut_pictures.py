"""The pictures in docs/shortcuts are of the workflows as they are."""

import plistlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from workflow_schema import ACTIONS

from lfm_cli.quick_actions import DOCUMENT, contents
from lfm_cli.shortcut_catalogue import QUICK_ACTIONS, SHORTCUTS
from lfm_cli.shortcut_files import content
from shortcut_pictures import FOLDER, INSTALLATION, KEYS, NAMES, pictures

DRAWN = pictures()


def test_all_pictures_are_there_and_as_they_are_drawn_now():
    found = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.svg")}
    assert found == DRAWN, "make pictures draws them anew"


def words(name: str) -> list[str]:
    """The texts in a picture, each within it."""
    picture = ET.fromstring(DRAWN[name])
    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    texts = [each for each in picture if each.tag.endswith("}text")]
    assert all(
        0 < float(t.attrib["x"]) < width and 0 < float(t.attrib["y"]) < height for t in texts
    )
    return ["".join(each.itertext()) for each in texts]


@pytest.mark.parametrize("action", QUICK_ACTIONS, ids=lambda action: action.name)
def test_a_quick_actions_lines_are_in_its_picture(action):
    document = plistlib.loads(contents(action, INSTALLATION)[DOCUMENT])
    script = document["actions"][0]["action"]["ActionParameters"]["COMMAND_STRING"]
    assert script.splitlines() == words(f"quick-action-{action.name}.svg")[5:]


@pytest.mark.parametrize("shortcut", SHORTCUTS, ids=lambda shortcut: shortcut.name)
def test_a_shortcuts_steps_are_in_its_picture(shortcut):
    shown = words(f"shortcut-{shortcut.name}.svg")
    assert shown[0] == f"Shortcut: {shortcut.title}"
    names = [NAMES[step.action] for step in shortcut.steps]
    assert [word for word in shown if word in NAMES.values()] == names
    for action in plistlib.loads(content(shortcut, INSTALLATION))["WFWorkflowActions"]:
        script = action["WFWorkflowActionParameters"].get("Script", "")
        assert set(script.splitlines()) <= set(shown)


def test_every_action_that_may_be_used_has_a_name():
    assert set(NAMES) == set(ACTIONS)
    assert set(KEYS) >= {key for step in SHORTCUTS[0].steps for key in step.parameters} - {"Script"}


def test_the_page_shows_every_picture():
    page = (Path(FOLDER).parent / "shortcuts.md").read_text("utf-8")
    assert all(f"](shortcuts/{name})" in page for name in DRAWN)
