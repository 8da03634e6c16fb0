"""What Automator, the Services menu and Shortcuts require of the files that `lfm shortcuts` writes.

Drawn from Apple's Services Implementation Guide ("Services Properties") for `NSServices`; from
public workflows that Automator saved for `document.wflow`; and for Shortcuts from files that the
app wrote and from the parameters that its own framework lists for each action (published with the
package shortcutkit, read off macOS). As JSON Schema, since a property list is read as the same
values; and as data on actions, with the functions that hold links between them to be whole.
"""

import re
from typing import Any

import jsonschema

__all__ = ["actions_of", "check_info", "check_shortcut", "check_workflow", "uuids_of"]

UUID = r"^[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}$"
TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
NUMBER = {"type": "integer"}
EMPTY = {"type": "object", "maxProperties": 0}
ANY_UUID = {"type": "string", "pattern": UUID}


def record(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """A dictionary with all of the first keys, perhaps some of the second, and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def several(item: dict[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": least}


# The Services menu

MENU_ENTRY = record(
    {
        "NSMenuItem": record({"default": {"type": "string", "minLength": 1}}),
        "NSMessage": {"const": "runWorkflowAsService"},
        "NSRequiredContext": record({}, {"NSApplicationIdentifier": TEXT}),
    },
    {
        # Uniform type identifiers; a file's, or those of what is on the pasteboard.
        "NSSendFileTypes": several({"enum": ["public.audio", "public.movie"]}, 1),
        "NSSendTypes": several({"enum": ["public.utf8-plain-text"]}, 1),
    },
)
INFO = record(
    {
        "CFBundleIdentifier": {"type": "string", "pattern": r"^[A-Za-z0-9.-]+$"},
        "CFBundleName": TEXT,
        "CFBundleShortVersionString": {"type": "string", "pattern": r"^\d"},
        "NSServices": {**several(MENU_ENTRY, 1), "maxItems": 1},
        "LFMDocumentDigest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
)

# Automator

STRINGS = record(
    {"Container": {"const": "List"}, "Types": {"const": ["com.apple.cocoa.string"]}},
    {"Optional": FLAG},
)
SHELLS = ["/bin/sh", "/bin/zsh", "/bin/bash"]
RUN_SHELL_SCRIPT = record(
    {
        "AMAccepts": STRINGS,
        "AMActionVersion": {"const": "2.0.3"},
        "AMApplication": {"const": ["Automator"]},
        "AMParameterProperties": {"type": "object", "additionalProperties": EMPTY},
        "AMProvides": STRINGS,
        "ActionBundlePath": {"const": "/System/Library/Automator/Run Shell Script.action"},
        "ActionName": {"const": "Run Shell Script"},
        "ActionParameters": record(
            {
                "COMMAND_STRING": {"type": "string", "minLength": 1},
                "CheckedForUserDefaultShell": FLAG,
                "inputMethod": {"enum": [0, 1]},  # stdin, arguments
                "shell": {"enum": SHELLS},
                "source": TEXT,
            }
        ),
        "BundleIdentifier": {"const": "com.apple.RunShellScript"},
        "CFBundleVersion": {"const": "2.0.3"},
        "CanShowSelectedItemsWhenRun": FLAG,
        "CanShowWhenRun": FLAG,
        "Category": several(TEXT, 1),
        "Class Name": {"const": "RunShellScriptAction"},
        "InputUUID": ANY_UUID,
        "Keywords": several(TEXT),
        "OutputUUID": ANY_UUID,
        "UUID": ANY_UUID,
        "UnlocalizedApplications": {"const": ["Automator"]},
        "arguments": {
            "type": "object",
            "patternProperties": {
                r"^\d$": record(
                    {
                        "default value": {"type": ["string", "integer", "boolean"]},
                        "name": TEXT,
                        "required": {"const": "0"},
                        "type": {"const": "0"},
                        "uuid": {"type": "string", "pattern": r"^\d$"},
                    }
                )
            },
            "additionalProperties": False,
        },
        "isViewVisible": FLAG,
        "location": {"type": "string", "pattern": r"^[\d.]+:[\d.]+$"},
        "nibPath": TEXT,
    },
    {"conversionLabel": NUMBER},
)
TYPES = ["fileSystemObject", "text", "nothing"]
TYPE = {"enum": [f"com.apple.Automator.{name}" for name in TYPES]}
DOCUMENT = record(
    {
        "AMApplicationBuild": TEXT,
        "AMApplicationVersion": {"type": "string", "pattern": r"^2\."},
        "AMDocumentVersion": {"const": "2"},
        "actions": several(record({"action": RUN_SHELL_SCRIPT, "isViewVisible": FLAG}), 1),
        "connectors": EMPTY,  # one action is connected with nothing
        "workflowMetaData": record(
            {
                "applicationBundleIDsByPath": {"type": "object"},
                "applicationPaths": several(TEXT),
                "inputTypeIdentifier": TYPE,
                "outputTypeIdentifier": TYPE,
                "presentationMode": {"enum": [11, 15]},
                "processesInput": FLAG,
                "serviceInputTypeIdentifier": TYPE,
                "serviceOutputTypeIdentifier": TYPE,
                "serviceProcessesInput": FLAG,
                "systemImageName": TEXT,
                "useAutomaticInputType": {"const": False},
                "workflowTypeIdentifier": {"const": "com.apple.Automator.servicesMenu"},
            },
            {"serviceApplicationBundleID": TEXT},
        ),
    }
)

# Shortcuts

MEANT = {
    "oneOf": [
        record({"Type": {"const": "ActionOutput"}, "OutputUUID": ANY_UUID, "OutputName": TEXT}),
        record({"Type": {"const": "ExtensionInput"}}),
        record({"Type": {"const": "Variable"}, "VariableName": TEXT}),
    ]
}
PICKED = record({"WFSerializationType": {"const": "WFTextTokenAttachment"}, "Value": MEANT})
WRITTEN = {
    "oneOf": [
        TEXT,
        record(
            {
                "WFSerializationType": {"const": "WFTextTokenString"},
                "Value": record(
                    {
                        "string": TEXT,
                        "attachmentsByRange": {
                            "type": "object",
                            "patternProperties": {r"^\{\d+, 1\}$": MEANT},
                            "additionalProperties": False,
                        },
                    }
                ),
            }
        ),
    ]
}


def one_of(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


ACTIONS: dict[str, tuple[str | None, dict[str, Any], tuple[str, ...]]] = {
    "appendvariable": (
        None,
        {"WFVariableName": {"type": "string", "minLength": 1}, "WFInput": PICKED},
        ("WFVariableName", "WFInput"),
    ),
    "ask": (
        "Provided Input",
        {
            "WFAskActionPrompt": WRITTEN,
            "WFInputType": one_of("Date", "Date and Time", "Number", "Text", "Time", "URL"),
            "WFAllowsMultilineText": FLAG,
        },
        (),
    ),
    "base64encode": (
        "Base64 Encoded",
        {"WFEncodeMode": one_of("Encode", "Decode"), "WFInput": PICKED},
        ("WFInput",),
    ),
    "output": (
        None,
        {
            "WFOutput": WRITTEN,
            "WFNoOutputSurfaceBehavior": one_of("Respond", "Do Nothing", "Copy to Clipboard"),
            "WFResponse": WRITTEN,
        },
        ("WFOutput",),
    ),
    "playsound": (None, {"WFInput": PICKED}, ()),
    "recordaudio": (
        "Recorded Audio",
        {
            "WFRecordingCompression": one_of("Normal", "Very High"),
            "WFRecordingStart": one_of("On Tap", "Immediately"),
            "WFRecordingEnd": one_of("On Tap", "After Time"),
        },
        (),
    ),
    "runshellscript": (
        "Shell Script Result",
        {
            "Script": {"type": "string", "minLength": 1},  # a text with holes could be run as code
            "Shell": {"enum": SHELLS},
            "Input": PICKED,
            "InputMode": one_of("to stdin", "as arguments"),
            "RunAsRoot": {"const": False},
        },
        ("Script", "Shell", "Input", "InputMode"),
    ),
    "setclipboard": (None, {"WFInput": PICKED, "WFLocalOnly": FLAG}, ("WFInput",)),
    "setitemname": (
        "Renamed Item",
        {"WFName": WRITTEN, "WFDontIncludeFileExtension": FLAG, "WFInput": PICKED},
        ("WFName", "WFInput"),
    ),
}
"""Of each action its output's name (None: nothing that another step may mean), its parameters, and
those that it needs."""

PREFIX = "is.workflow.actions."
ITEMS = ["WFAVAssetContentItem", "WFGenericFileContentItem", "WFRichTextContentItem"]
ITEMS += ["WFStringContentItem", "WFURLContentItem"]
WORKFLOW = record(
    {
        "WFQuickActionSurfaces": several(TEXT),
        "WFWorkflowActions": several(
            record(
                {
                    "WFWorkflowActionIdentifier": one_of(*(PREFIX + name for name in ACTIONS)),
                    "WFWorkflowActionParameters": {"type": "object"},
                }
            ),
            1,
        ),
        "WFWorkflowClientVersion": {"type": "string", "pattern": r"^\d+(\.\d+)*$"},
        "WFWorkflowHasOutputFallback": FLAG,
        "WFWorkflowHasShortcutInputVariables": FLAG,
        "WFWorkflowIcon": record(
            {"WFWorkflowIconGlyphNumber": NUMBER, "WFWorkflowIconStartColor": NUMBER}
        ),
        "WFWorkflowImportQuestions": several({"type": "object"}),
        "WFWorkflowInputContentItemClasses": several({"enum": ITEMS}),
        "WFWorkflowMinimumClientVersion": NUMBER,
        "WFWorkflowMinimumClientVersionString": {"type": "string", "pattern": r"^\d+$"},
        "WFWorkflowName": TEXT,
        "WFWorkflowOutputContentItemClasses": several(TEXT),
        "WFWorkflowTypes": several(one_of("ActionExtension", "QuickActions", "MenuBar", "Watch")),
    },
    {
        "WFWorkflowNoInputBehavior": record(
            {
                "Name": {"const": "WFWorkflowNoInputBehaviorAskForInput"},
                "Parameters": record({"ItemClass": {"enum": ITEMS}}),
            }
        )
    },
)


# Holding files to it


def check_info(info: dict[str, Any]) -> None:
    """`Info.plist`: its keys, and that the entry of the menu is offered for one kind of thing."""
    jsonschema.validate(info, INFO)
    (entry,) = info["NSServices"]
    assert not ("NSSendTypes" in entry and "NSSendFileTypes" in entry)


def check_workflow(document: dict[str, Any], info: dict[str, Any]) -> None:
    """`document.wflow`: its keys, and that it takes what the menu sends."""
    jsonschema.validate(document, DOCUMENT)
    about = document["workflowMetaData"]
    (entry,) = info["NSServices"]
    sent = "nothing"
    if "NSSendTypes" in entry:
        sent = "text"
    elif "NSSendFileTypes" in entry:
        sent = "fileSystemObject"
    assert about["serviceInputTypeIdentifier"] == f"com.apple.Automator.{sent}"
    assert about["inputTypeIdentifier"] == about["serviceInputTypeIdentifier"]
    program = entry["NSRequiredContext"].get("NSApplicationIdentifier")
    assert about.get("serviceApplicationBundleID") == program
    ((first,),) = ([each["action"] for each in document["actions"]],)
    parameters = first["ActionParameters"]
    assert parameters["inputMethod"] == (1 if sent == "fileSystemObject" else 0)
    assert set(first["AMParameterProperties"]) == set(parameters)
    assert {each["name"] for each in first["arguments"].values()} == set(parameters)


def check_shortcut(document: dict[str, Any]) -> None:
    """A shortcut: its keys, each action's parameters, and that every step means an earlier one."""
    jsonschema.validate(document, WORKFLOW)
    version = document["WFWorkflowMinimumClientVersion"]
    assert document["WFWorkflowMinimumClientVersionString"] == str(version)
    made: dict[str, str | None] = {}
    filled: set[str] = set()
    takes_input = False
    for name, parameters in actions_of(document):
        output, known, needed = ACTIONS[name]
        schema = record({"UUID": ANY_UUID}, known)
        schema["required"] += needed
        jsonschema.validate(parameters, schema)
        for meant in _meant(parameters):
            if meant["Type"] == "ActionOutput":
                assert made.get(meant["OutputUUID"]) == meant["OutputName"]
            elif meant["Type"] == "Variable":
                assert meant["VariableName"] in filled
            else:
                takes_input = True
        made[parameters["UUID"]] = output
        if name == "appendvariable":
            filled.add(parameters["WFVariableName"])
        for text in _texts(parameters):
            holes = {f"{{{match.start()}, 1}}" for match in re.finditer("\ufffc", text["string"])}
            assert holes == set(text["attachmentsByRange"])
    assert document["WFWorkflowHasShortcutInputVariables"] == takes_input
    assert bool(document["WFWorkflowInputContentItemClasses"]) == takes_input
    assert ("WFWorkflowNoInputBehavior" in document) == takes_input


def actions_of(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The steps of a shortcut: the action without its prefix, and its parameters."""
    return [
        (
            each["WFWorkflowActionIdentifier"].removeprefix(PREFIX),
            each["WFWorkflowActionParameters"],
        )
        for each in document["WFWorkflowActions"]
    ]


def uuids_of(value: Any) -> list[str]:
    """All identifiers that are given (not those that are meant) anywhere in a property list."""
    if isinstance(value, list):
        return [found for each in value for found in uuids_of(each)]
    if not isinstance(value, dict):
        return []
    own = [each for key, each in value.items() if key in ("UUID", "InputUUID", "OutputUUID")]
    if "Type" in value:
        return []
    return own + [found for each in value.values() for found in uuids_of(each)]


def _meant(value: Any) -> list[dict[str, Any]]:
    """What the parameters of a step mean, anywhere in them."""
    if isinstance(value, list):
        return [found for each in value for found in _meant(each)]
    if not isinstance(value, dict):
        return []
    if "Type" in value:
        return [value]
    return [found for each in value.values() for found in _meant(each)]


def _texts(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        return []
    if "attachmentsByRange" in value:
        return [value]
    return [found for each in value.values() for found in _texts(each)]
