"""Draws docs/shortcuts/*.svg: the steps of every Quick Action and Shortcut, read from the very
property lists that `lfm shortcuts install` writes. A test holds the files to it; `make pictures`
draws them anew."""

import plistlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from lfm_cli.quick_actions import DOCUMENT, INFO, contents
from lfm_cli.shortcut_catalogue import QUICK_ACTIONS, SHORTCUTS, Installation
from lfm_cli.shortcut_files import content

FOLDER = Path(__file__).parents[1] / "docs" / "shortcuts"
INSTALLATION = Installation("/opt/homebrew/bin/lfm")

LINE, LETTER = 17, 7.3
"""Pixels from line to line, and those of a letter where all are as wide."""
MARGIN, GAP, NARROWEST = 20, 14, 560
STYLE = """\
text { font: 13px -apple-system, "Helvetica Neue", Arial, sans-serif; fill: #1d1d1f }
.title { font-size: 17px; font-weight: 600 }
.name { font-weight: 600 }
.about { fill: #6e6e73 }
.code, .usual { font: 12px Menlo, "DejaVu Sans Mono", monospace }
.usual { fill: #8e8e93 }
"""
"""`usual` is what all scripts begin with."""

NAMES = {
    "appendvariable": "Add to Variable",
    "ask": "Ask for Input",
    "base64encode": "Base64 Encode",
    "output": "Stop and Output",
    "playsound": "Play Sound",
    "recordaudio": "Record Audio",
    "runshellscript": "Run Shell Script",
    "setclipboard": "Copy to Clipboard",
    "setitemname": "Set Name",
}
"""Actions as the app Shortcuts shows them."""
KEYS = {
    "Input": "input",
    "InputMode": "pass input",
    "Shell": "shell",
    "WFAskActionPrompt": "question",
    "WFEncodeMode": "mode",
    "WFInput": "input",
    "WFInputType": "type",
    "WFName": "name",
    "WFNoOutputSurfaceBehavior": "if there is nowhere to output",
    "WFOutput": "output",
    "WFRecordingEnd": "stop",
    "WFRecordingStart": "start",
    "WFResponse": "respond with",
    "WFVariableName": "variable",
}
"""Parameters in words, in the order in which they are told."""
TAKES = {
    "com.apple.Automator.fileSystemObject": "audio files and films, selected in the Finder",
    "com.apple.Automator.text": "text, selected in any program",
    "com.apple.Automator.nothing": "nothing",
    "WFGenericFileContentItem": "files; asks for one where there is none",
    "WFStringContentItem": "text; asks for it where there is none",
    "": "nothing",
}


@dataclass(frozen=True)
class Box:
    """A step: its name, its parameters in words, and the script that it runs."""

    name: str
    about: list[str]
    script: str


def pictures() -> dict[str, str]:
    """All pictures by the names of their files."""
    found: dict[str, str] = {}
    for action in QUICK_ACTIONS:
        files = contents(action, INSTALLATION)
        info, document = plistlib.loads(files[INFO]), plistlib.loads(files[DOCUMENT])
        found[f"quick-action-{action.name}.svg"] = of_quick_action(info, document)
    for shortcut in SHORTCUTS:
        document = plistlib.loads(content(shortcut, INSTALLATION))
        found[f"shortcut-{shortcut.name}.svg"] = of_shortcut(document)
    return found


def of_quick_action(info: dict[str, Any], document: dict[str, Any]) -> str:
    title = info["NSServices"][0]["NSMenuItem"]["default"]
    takes = TAKES[document["workflowMetaData"]["serviceInputTypeIdentifier"]]
    boxes: list[Box] = []
    for each in document["actions"]:
        parameters = each["action"]["ActionParameters"]
        mode = ("to stdin", "as arguments")[parameters["inputMethod"]]
        about = [f"shell: {parameters['shell']}", f"pass input: {mode}"]
        boxes.append(Box(each["action"]["ActionName"], about, parameters["COMMAND_STRING"]))
    return drawn(f"Quick Action: {title}", f"receives {takes}", boxes)


def of_shortcut(document: dict[str, Any]) -> str:
    asked = document.get("WFWorkflowNoInputBehavior", {}).get("Parameters", {})
    boxes: list[Box] = []
    for action in document["WFWorkflowActions"]:
        parameters = action["WFWorkflowActionParameters"]
        name = NAMES[action["WFWorkflowActionIdentifier"].rpartition(".")[2]]
        unknown = set(parameters) - set(KEYS) - {"UUID", "Script"}
        assert not unknown, unknown
        about = [f"{word}: {told(parameters[k])}" for k, word in KEYS.items() if k in parameters]
        boxes.append(Box(name, about, parameters.get("Script", "")))
    takes = f"receives {TAKES[asked.get('ItemClass', '')]}"
    return drawn(f"Shortcut: {document['WFWorkflowName']}", takes, boxes)


def told(value: Any) -> str:
    """A parameter in words."""
    if not isinstance(value, dict):
        return str(value)
    meant = value["Value"]
    if "attachmentsByRange" in meant:
        (meant,) = meant["attachmentsByRange"].values()
    kinds = {"ExtensionInput": "Shortcut Input", "Variable": meant.get("VariableName")}
    return f"[{kinds.get(meant['Type']) or meant['OutputName']}]"


def drawn(title: str, takes: str, boxes: list[Box]) -> str:
    """The picture: title, what goes in, and the steps below each other."""
    longest = max(len(line) for box in boxes for line in ("", *box.script.splitlines()))
    width = max(NARROWEST, round(longest * LETTER) + 4 * MARGIN)
    parts = [text("title", title, MARGIN, 34), text("about", takes, MARGIN, 56)]
    y = 72
    for number, box in enumerate(boxes):
        lines = box.script.splitlines()
        height = 34 + LINE * len(box.about) + (LINE * len(lines) + 18 if lines else 0)
        if number:
            middle = width // 2
            parts.append(f'<path d="M{middle} {y - GAP}v{GAP}" stroke="#c7c7cc" stroke-width="2"/>')
        parts.append(
            f'<rect x="{MARGIN}" y="{y}" width="{width - 2 * MARGIN}" height="{height}" rx="9" '
            'fill="#f5f5f7" stroke="#d2d2d7"/>'
        )
        at = y + 23
        parts.append(text("name", box.name, 2 * MARGIN, at))
        for line in box.about:
            at += LINE
            parts.append(text("about", line, 2 * MARGIN, at))
        at += 9
        kind = "usual"
        for line in lines:
            at += LINE
            kind = kind if line else "code"
            parts.append(text(kind, line, 2 * MARGIN, at))
        y += height + GAP
    height = y - GAP + MARGIN
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{escape(STYLE, quote=False)}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def text(kind: str, words: str, x: int, y: int) -> str:
    return (
        f'<text class="{kind}" x="{x}" y="{y}" xml:space="preserve">'
        f"{escape(words, quote=False)}</text>"
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.svg"):
        old.unlink()
    for name, picture in pictures().items():
        (FOLDER / name).write_text(picture, "utf-8")
