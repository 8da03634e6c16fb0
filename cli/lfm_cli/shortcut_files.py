"""Shortcuts as the app Shortcuts reads them: a property list of steps, signed on the user's Mac.

Apple describes the format nowhere; identifiers, keys and how one step means another's output are
those of files that the app itself wrote. An unsigned file cannot be imported, and only Apple's
`shortcuts` can sign.
"""

from __future__ import annotations

import plistlib
from typing import Any

from lfm_cli.quick_actions import stable_uuid
from lfm_cli.shortcut_catalogue import (
    INPUT,
    Installation,
    Output,
    Shell,
    Shortcut,
    Step,
    Value,
    Variable,
    Written,
    script,
)

__all__ = ["SUFFIX", "content", "file_name"]

SUFFIX = ".shortcut"
PREFIX = "is.workflow.actions."

OUTPUTS = {
    "ask": "Provided Input",
    "base64encode": "Base64 Encoded",
    "recordaudio": "Recorded Audio",
    "runshellscript": "Shell Script Result",
    "setitemname": "Renamed Item",
}
"""What the app calls the outputs of actions."""

FILES = ["WFAVAssetContentItem", "WFGenericFileContentItem"]
TEXTS = ["WFStringContentItem", "WFRichTextContentItem", "WFURLContentItem"]
TAKES = {"recordings": FILES, "text": TEXTS, "nothing": list[str]()}
ASKS_FOR = {"recordings": "WFGenericFileContentItem", "text": "WFStringContentItem"}
"""What the app asks for where a shortcut is run without anything."""

PLACES = {"recordings": ["ActionExtension", "QuickActions"], "text": ["ActionExtension"]}
"""Where the app offers a shortcut: the share sheet, the Finder's Quick Actions."""

BLUE, USUAL = 463140863, 61440
"""Colour and symbol of the icon, by the app's own numbers."""
HOLE = "￼"
"""Stands in a text where the output of a step goes (U+FFFC)."""


def file_name(shortcut: Shortcut) -> str:
    """What its file is called; the app names what it imports after that."""
    return shortcut.title + SUFFIX


def content(shortcut: Shortcut, installation: Installation) -> bytes:
    """The unsigned file of a shortcut; the same each time."""
    actions = [_action(step, shortcut, installation) for step in shortcut.steps]
    document: dict[str, Any] = {
        "WFQuickActionSurfaces": [],
        "WFWorkflowActions": actions,
        "WFWorkflowClientVersion": "2302.0.4",
        "WFWorkflowHasOutputFallback": False,
        "WFWorkflowHasShortcutInputVariables": shortcut.takes != "nothing",
        "WFWorkflowIcon": {
            "WFWorkflowIconGlyphNumber": USUAL,
            "WFWorkflowIconStartColor": BLUE,
        },
        "WFWorkflowImportQuestions": [],
        "WFWorkflowInputContentItemClasses": TAKES[shortcut.takes],
        "WFWorkflowMinimumClientVersion": 900,
        "WFWorkflowMinimumClientVersionString": "900",
        "WFWorkflowName": shortcut.title,
        "WFWorkflowOutputContentItemClasses": [],
        "WFWorkflowTypes": PLACES.get(shortcut.takes, []),
    }
    if shortcut.takes in ASKS_FOR:
        document["WFWorkflowNoInputBehavior"] = {
            "Name": "WFWorkflowNoInputBehaviorAskForInput",
            "Parameters": {"ItemClass": ASKS_FOR[shortcut.takes]},
        }
    return plistlib.dumps(document)


def _action(step: Step, shortcut: Shortcut, installation: Installation) -> dict[str, Any]:
    parameters: dict[str, Any] = {"UUID": _uuid(shortcut, step.name)}
    for key, value in step.parameters.items():
        parameters[key] = _serialized(value, shortcut, installation)
    return {
        "WFWorkflowActionIdentifier": PREFIX + step.action,
        "WFWorkflowActionParameters": parameters,
    }


def _serialized(value: Value, shortcut: Shortcut, installation: Installation) -> Any:
    """A parameter as the app writes it."""
    if isinstance(value, Shell):
        return script(shortcut.title, value.lines, installation)
    if isinstance(value, Variable):
        return _attachment({"Type": "Variable", "VariableName": value.name})
    if isinstance(value, Output):
        return _attachment(_meant(value.step, shortcut))
    if isinstance(value, Written):
        held = {f"{{0, {len(HOLE)}}}": _meant(value.step, shortcut)}
        return {
            "Value": {"attachmentsByRange": held, "string": HOLE},
            "WFSerializationType": "WFTextTokenString",
        }
    return value


def _attachment(meant: dict[str, str]) -> dict[str, Any]:
    return {"Value": meant, "WFSerializationType": "WFTextTokenAttachment"}


def _meant(name: str, shortcut: Shortcut) -> dict[str, str]:
    """How a step's output is spoken of in others."""
    if name == INPUT.step:
        return {"Type": "ExtensionInput"}
    (step,) = (step for step in shortcut.steps if step.name == name)
    return {
        "OutputName": OUTPUTS[step.action],
        "OutputUUID": _uuid(shortcut, name),
        "Type": "ActionOutput",
    }


def _uuid(shortcut: Shortcut, step: str) -> str:
    return stable_uuid("shortcut", shortcut.name, step)
