"""What `lfm shortcuts` makes, as data: which actions there are, what goes in, what comes out, and
the shell lines in between.

The lines are for any POSIX shell; what a user selects reaches them as arguments or on stdin, never
as part of them. All begin with `BEGINNING`, which says where `lfm` is and how a failure is told:
in a dialog, since nobody sees what a service writes on stderr.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "INPUT",
    "NAMES",
    "QUICK_ACTIONS",
    "SHORTCUTS",
    "Installation",
    "Output",
    "QuickAction",
    "Shell",
    "Shortcut",
    "Step",
    "Variable",
    "Written",
    "script",
]

Takes: TypeAlias = Literal["recordings", "text", "nothing"]
"""What the user selects: sound files and films in the Finder, text in any program, or nothing."""


@dataclass(frozen=True)
class Installation:
    """How the lines find `lfm`: its path, and the `LFM_HOME` that it should have, if any."""

    lfm: str
    home: str | None = None


BEGINNING = """\
export LANG="${LANG:-en_US.UTF-8}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
fail() {
    tail -n 5 "$work/said" >&2
    osascript -e 'on run argv' \\
        -e 'display alert (item 1 of argv) message (item 2 of argv) as warning' \\
        -e 'end run' "$title" "$(tail -n 5 "$work/said")" > /dev/null
    exit "$1"
}
if [ ! -x "$lfm" ]; then
    printf '%s\\n' "$lfm is gone: install lfm, then run \\`lfm shortcuts install\\`" > "$work/said"
    fail 127
fi
"""


def place(installation: Installation) -> str:
    """The lines that say where things are."""
    home = f"export LFM_HOME={shlex.quote(installation.home)}\n" if installation.home else ""
    return f"lfm={shlex.quote(installation.lfm)}\n{home}"


def script(title: str, lines: str, installation: Installation) -> str:
    """What the shell is given: where things are, the beginning, and the lines themselves."""
    own = lines.replace("@PLACE@\n", place(installation))
    return f"{place(installation)}title={shlex.quote(title)}\n{BEGINNING}\n{own}"


# Quick Actions


@dataclass(frozen=True)
class QuickAction:
    """An entry of the Services menu. `name` is for the command line, `title` for the menu; `gives`
    says what comes of it, `lines` is how: files come as arguments, text on stdin."""

    name: str
    title: str
    takes: Takes
    gives: str
    lines: str


BESIDE = """\
code=0
for file in "$@"; do
    case $file in
        */*) folder=${file%/*}/ ;;
        *) folder=./ ;;
    esac
    name=${file##*/}
    text=$folder${name%.*}.txt
    if [ -e "$text" ]; then
        printf '%s\\n' "$text: is there already; move it away first" >> "$work/said"
        code=1
    else
        "$lfm" -q transcribe --output-dir="$folder" -- "$file" 2>> "$work/said" || code=$?
    fi
done
[ "$code" -eq 0 ] || fail "$code"
"""

ALOUD = """\
"$lfm" -q say -f - 2> "$work/said" || fail $?
"""

IN_TERMINAL = """\
folder=$(mktemp -d) || exit 1
cat > "$folder/Dictate.command" << 'END'
#!/bin/sh
@PLACE@
rm -f "$0"
rmdir "${0%/*}"
trap : INT
if "$lfm" transcribe --mic --copy; then
    echo 'What you said is on the clipboard; this window can be closed.'
fi
END
chmod 700 "$folder/Dictate.command"
open -a Terminal "$folder/Dictate.command" 2> "$work/said" || fail $?
"""
"""The microphone is heard by Terminal: macOS gives silence to what a service starts, and asks
nobody for permission."""

ASKED = """\
question=$(osascript -e 'on run argv' \\
    -e 'display dialog (item 2 of argv) with title (item 1 of argv) default answer ""' \\
    -e 'text returned of result' \\
    -e 'end run' "$title" 'What do you want to know about it?') || exit 0
for file in "$@"; do
    answer=$("$lfm" -q ask -- "$file" "$question" 2> "$work/said") || fail $?
    button=$(osascript -e 'on run argv' \\
        -e 'set choice to {"Copy", "OK"}' \\
        -e 'display dialog (item 2 of argv) with title (item 1 of argv) buttons choice' \\
        -e 'button returned of result' \\
        -e 'end run' "${file##*/}" "$answer")
    if [ "$button" = Copy ]; then
        printf '%s' "$answer" | pbcopy
    fi
done
"""

ANSWERED = """\
question=$(cat)
"$lfm" -q chat --once="$question" 2> "$work/said" || fail $?
"""

QUICK_ACTIONS = (
    QuickAction(
        "transcribe", "Transcribe with LFM", "recordings", "a text file beside each", BESIDE
    ),
    QuickAction("speak", "Speak with LFM", "text", "speech, at once", ALOUD),
    QuickAction(
        "dictate", "Dictate with LFM", "nothing", "what you say, on the clipboard", IN_TERMINAL
    ),
    QuickAction("ask", "Ask LFM about This", "recordings", "an answer, in a dialog", ASKED),
    QuickAction("answer", "Answer Aloud with LFM", "text", "a spoken answer", ANSWERED),
)


# Shortcuts


@dataclass(frozen=True)
class Output:
    """What another step made, as it is; `INPUT` is what the whole shortcut was given."""

    step: str


@dataclass(frozen=True)
class Variable:
    """A variable's content: a list of all that was added to it."""

    name: str


@dataclass(frozen=True)
class Written:
    """What another step made, in a place where text is written."""

    step: str


@dataclass(frozen=True)
class Shell:
    """Lines for the shell, which get the usual beginning."""

    lines: str


INPUT = Output("")

Value: TypeAlias = str | bool | Output | Variable | Written | Shell


@dataclass(frozen=True)
class Step:
    """An action: `name` for other steps to mean it by, `action` without Apple's prefix."""

    name: str
    action: str
    parameters: Mapping[str, Value]


@dataclass(frozen=True)
class Shortcut:
    """A shortcut; `takes` and `gives` as for a Quick Action."""

    name: str
    title: str
    takes: Takes
    gives: str
    steps: tuple[Step, ...]


HEARD = """\
"$lfm" -q transcribe -- "$@" 2> "$work/said" || fail $?
"""

SOUND = """\
"$lfm" -q say -f - -o "$work/speech.wav" 2> "$work/said" || fail $?
base64 < "$work/speech.wav"
"""

ANSWERS = """\
question=$1
shift
# Shortcuts may hand over a text as a file that holds it.
[ ! -f "$question" ] || question=$(cat < "$question")
for file in "$@"; do
    "$lfm" -q ask -- "$file" "$question" 2> "$work/said" || fail $?
done
"""


def shell(name: str, lines: str, given: Output | Variable, mode: str) -> Step:
    """A step that runs lines; `mode` is Apple's: "as arguments" or "to stdin"."""
    parameters = {"Script": Shell(lines), "Shell": "/bin/sh", "Input": given, "InputMode": mode}
    return Step(name, "runshellscript", parameters)


def result(step: str) -> Step:
    """The end: what a step made goes to whoever ran the shortcut, or is shown."""
    parameters = {
        "WFOutput": Written(step),
        "WFNoOutputSurfaceBehavior": "Respond",
        "WFResponse": Written(step),
    }
    return Step("result", "output", parameters)


SHORTCUTS = (
    Shortcut(
        "transcribe",
        "Transcribe File",
        "recordings",
        "the text",
        (shell("text", HEARD, INPUT, "as arguments"), result("text")),
    ),
    Shortcut(
        "dictate",
        "Dictate",
        "nothing",
        "what you say, on the clipboard and as text",
        (
            # By Shortcuts itself: what its shell starts may not listen.
            Step(
                "recording",
                "recordaudio",
                {"WFRecordingStart": "Immediately", "WFRecordingEnd": "On Tap"},
            ),
            shell("text", HEARD, Output("recording"), "as arguments"),
            Step("copy", "setclipboard", {"WFInput": Output("text")}),
            result("text"),
        ),
    ),
    Shortcut(
        "speak",
        "Speak Text",
        "text",
        "speech, and its sound file",
        (
            # As base64, for a shell's output that is no text has no type.
            shell("letters", SOUND, INPUT, "to stdin"),
            Step(
                "bytes",
                "base64encode",
                {"WFEncodeMode": "Decode", "WFInput": Output("letters")},
            ),
            Step("sound", "setitemname", {"WFName": "Speech.wav", "WFInput": Output("bytes")}),
            Step("play", "playsound", {"WFInput": Output("sound")}),
            Step(
                "result",
                "output",
                {"WFOutput": Written("sound"), "WFNoOutputSurfaceBehavior": "Do Nothing"},
            ),
        ),
    ),
    Shortcut(
        "ask",
        "Ask",
        "recordings",
        "an answer",
        (
            Step(
                "question",
                "ask",
                {"WFAskActionPrompt": "What do you want to know about it?", "WFInputType": "Text"},
            ),
            Step(
                "first",
                "appendvariable",
                {"WFVariableName": "Asked", "WFInput": Output("question")},
            ),
            Step("then", "appendvariable", {"WFVariableName": "Asked", "WFInput": INPUT}),
            shell("answer", ANSWERS, Variable("Asked"), "as arguments"),
            result("answer"),
        ),
    ),
)

NAMES = tuple(dict.fromkeys(each.name for each in (*QUICK_ACTIONS, *SHORTCUTS)))
"""By these the command line knows them; one name may stand for a Quick Action and a Shortcut."""
