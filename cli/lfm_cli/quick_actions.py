"""Quick Actions as Automator keeps them: a folder with two property lists.

`Info.plist` tells the Services menu what to show and when (Apple's Services Implementation Guide,
"Services Properties"), `document.wflow` tells Automator what to do: one Run Shell Script. Apple
does not describe the second; its keys are those that Automator itself writes.
"""

from __future__ import annotations

import hashlib
import plistlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfm2audio_mlx import __version__
from lfm_cli.shortcut_catalogue import Installation, QuickAction, script

__all__ = [
    "DOCUMENT",
    "INFO",
    "SUFFIX",
    "contents",
    "folder_name",
    "identifier",
    "stable_uuid",
    "state",
]

SUFFIX = ".workflow"
INFO = "Contents/Info.plist"
DOCUMENT = "Contents/document.wflow"

OURS = "lfm2audio-mlx.quick-action."
"""How the bundle identifiers of our Quick Actions begin, by which they are known."""
DIGEST = "LFMDocumentDigest"
"""The key under which Info.plist has the digest of the document as it was written."""

TYPE = "com.apple.Automator."
STDIN, ARGUMENTS = 0, 1


@dataclass(frozen=True)
class Selection:
    """What a selection is to Automator: the type of it, when the menu offers the entry, and
    whether the shell has it on stdin or as arguments."""

    type: str
    offered: dict[str, Any]
    method: int
    presentation: int


SELECTIONS = {
    "recordings": Selection(
        "fileSystemObject",
        {
            "NSSendFileTypes": ["public.audio", "public.movie"],
            "NSRequiredContext": {"NSApplicationIdentifier": "com.apple.finder"},
        },
        ARGUMENTS,
        15,
    ),
    "text": Selection(
        "text", {"NSSendTypes": ["public.utf8-plain-text"], "NSRequiredContext": {}}, STDIN, 11
    ),
    "nothing": Selection("nothing", {"NSRequiredContext": {}}, STDIN, 11),
}


def folder_name(action: QuickAction) -> str:
    """What its folder is called, after which the menu's entry is shown in System Settings."""
    return action.title + SUFFIX


def identifier(action: QuickAction) -> str:
    """The bundle identifier."""
    return OURS + action.name


def contents(action: QuickAction, installation: Installation) -> dict[str, bytes]:
    """The files of a Quick Action by their places in its folder; the same each time."""
    document = plistlib.dumps(_document(action, installation))
    info = {
        "CFBundleIdentifier": identifier(action),
        "CFBundleName": action.title,
        "CFBundleShortVersionString": __version__,
        DIGEST: hashlib.sha256(document).hexdigest(),
        "NSServices": [
            {
                "NSMenuItem": {"default": action.title},
                "NSMessage": "runWorkflowAsService",
                **SELECTIONS[action.takes].offered,
            }
        ],
    }
    return {INFO: plistlib.dumps(info), DOCUMENT: document}


def state(folder: Path, action: QuickAction, wanted: dict[str, bytes]) -> str:
    """What stands at a Quick Action's place:

    - absent: nothing;
    - installed: what would be written there;
    - outdated: what another version wrote, or for an `lfm` elsewhere;
    - changed: what we wrote, and somebody changed;
    - foreign: something that we did not write.
    """
    if not folder.exists() and not folder.is_symlink():
        return "absent"
    try:
        if all((folder / place).read_bytes() == data for place, data in wanted.items()):
            return "installed"
        info: Any = plistlib.loads((folder / INFO).read_bytes())
        if info["CFBundleIdentifier"] != identifier(action):
            return "foreign"
        document = (folder / DOCUMENT).read_bytes()
        whole = info.get(DIGEST) == hashlib.sha256(document).hexdigest()
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        plistlib.InvalidFileException,
    ):
        return "foreign"
    return "outdated" if whole else "changed"


def stable_uuid(*parts: str) -> str:
    """An identifier that is the same each time; in capitals, as Apple writes them."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("lfm2audio-mlx", *parts)))).upper()


def _document(action: QuickAction, installation: Installation) -> dict[str, Any]:
    taken = SELECTIONS[action.takes]
    return {
        "AMApplicationBuild": "528",
        "AMApplicationVersion": "2.10",
        "AMDocumentVersion": "2",
        "actions": [
            {"action": _run_shell_script(action, installation, taken.method), "isViewVisible": True}
        ],
        "connectors": {},
        "workflowMetaData": {
            "applicationBundleIDsByPath": {},
            "applicationPaths": [],
            "inputTypeIdentifier": TYPE + taken.type,
            "outputTypeIdentifier": TYPE + "nothing",
            "presentationMode": taken.presentation,
            "processesInput": False,
            "serviceInputTypeIdentifier": TYPE + taken.type,
            "serviceOutputTypeIdentifier": TYPE + "nothing",
            "serviceProcessesInput": False,
            "systemImageName": "NSActionTemplate",
            "useAutomaticInputType": False,
            "workflowTypeIdentifier": TYPE + "servicesMenu",
            **_only_in(taken.offered["NSRequiredContext"]),
        },
    }


def _only_in(context: dict[str, str]) -> dict[str, str]:
    """The program that alone offers the entry, if there is one."""
    program = context.get("NSApplicationIdentifier")
    return {"serviceApplicationBundleID": program} if program else {}


def _run_shell_script(
    action: QuickAction, installation: Installation, method: int
) -> dict[str, Any]:
    parameters = {
        "COMMAND_STRING": script(action.title, action.lines, installation),
        "CheckedForUserDefaultShell": True,
        "inputMethod": method,
        "shell": "/bin/sh",
        "source": "",
    }
    bundle = "/System/Library/Automator/Run Shell Script.action"
    defaults = {"inputMethod": 0, "source": "", "CheckedForUserDefaultShell": False}
    return {
        "AMAccepts": {"Container": "List", "Optional": True, "Types": ["com.apple.cocoa.string"]},
        "AMActionVersion": "2.0.3",
        "AMApplication": ["Automator"],
        "AMParameterProperties": {name: {} for name in parameters},
        "AMProvides": {"Container": "List", "Types": ["com.apple.cocoa.string"]},
        "ActionBundlePath": bundle,
        "ActionName": "Run Shell Script",
        "ActionParameters": parameters,
        "BundleIdentifier": "com.apple.RunShellScript",
        "CFBundleVersion": "2.0.3",
        "CanShowSelectedItemsWhenRun": False,
        "CanShowWhenRun": True,
        "Category": ["AMCategoryUtilities"],
        "Class Name": "RunShellScriptAction",
        "InputUUID": stable_uuid(action.name, "input"),
        "Keywords": ["Shell", "Script", "Command", "Run", "Unix"],
        "OutputUUID": stable_uuid(action.name, "output"),
        "UUID": stable_uuid(action.name, "action"),
        "UnlocalizedApplications": ["Automator"],
        "arguments": {
            str(number): {
                "default value": defaults.get(name, ""),
                "name": name,
                "required": "0",
                "type": "0",
                "uuid": str(number),
            }
            for number, name in enumerate(sorted(parameters))
        },
        "conversionLabel": 0,
        "isViewVisible": True,
        "location": "309.000000:253.000000",
        "nibPath": f"{bundle}/Contents/Resources/Base.lproj/main.nib",
    }
