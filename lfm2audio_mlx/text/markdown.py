"""Markdown to prose: the words a reader sees, without what nobody says (code blocks, tags, emoji).

Plain text is markdown too, and most of it was never meant so. What eats plain words is therefore
off or headed off: indented code (a poem), HTML blocks, `2*3*4`, and `[Alice]: hello`.
"""

import re
from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["plain", "tidy"]

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(["code", "html_block"])

# Markdown may hide markdown (an escaped star, `&amp;amp;`); nothing sane nests deeper than this.
ROUNDS = 10

# Without one of these, text is no markdown and needs no parser.
MARKS = re.compile(r"[\\`*_\[\]<>&~|#]|^[ \t]*(?:[-+=\u2022\u2023\u25e6]|[0-9]+[.)])", re.M)

INVISIBLE = (
    0xAD,  # soft hyphen
    0x200B,  # zero-width space; the joiners 200C and 200D spell words in Persian and Hindi
    *(0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # directions
    *(0x2060, 0xFEFF),  # word joiner, byte order mark
    *(0x20E3, 0xFE0E, 0xFE0F),  # keycap, and whether a sign is shown in colour
)
CHARACTERS: dict[int, str | None] = {
    **dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)], " "),
    **dict.fromkeys(map(ord, "\xa0\u2007\u2009\u202f"), " "),  # blanks of unusual width
    **dict.fromkeys(map(ord, "\n\v\f\x85\u2028"), "\n"),
    **dict.fromkeys(INVISIBLE, None),
    0x2029: "\n\n",
    0x09: "\t",
}

SIGNS = r"\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
EMOJI = rf"[{SIGNS}\u231a\u231b\u23e9-\u23fa][{SIGNS}\U000e0020-\U000e007f\u200d]*+"

# Done before the parser sees the text.
PREPARED = [
    (re.compile(r"^([ \t]*)[\u2022\u2023\u25e6](?=[ \t])", re.M), r"\1-"),  # bullets
    (re.compile(r"(?<=[0-9])\*(?=[0-9])"), " \N{MULTIPLICATION SIGN} "),  # 2*3*4 is no emphasis
    (re.compile(r"\[\^[^\]\s]{1,40}\]:?"), ""),  # marks of footnotes
    # `[Alice]: hello` would define a link called Alice, and vanish.
    (re.compile(r"^( {0,3})\[(?=[^\]\n]+\]:(?! *(?:<|https?:|mailto:|[/#.])))", re.M), r"\1\\["),
]
UNSEEN = [("<!--", "-->"), ("<script", "</script>"), ("<style", "</style>")]

# Tags that stand inside a word or beside it; any other one parts words.
INLINE_TAGS = "a abbr b big code del em font i ins kbd mark q s small span strong sub sup tt u wbr"
TAG = re.compile(r"</?([A-Za-z][\w-]*)[^<>]*>")
TASK_BOX = re.compile(r"\[[ xX]\] ")

# Of an address people say the host.
HOST = r"(?!-)((?:[A-Za-z0-9-]{1,63}\.){0,8}[A-Za-z0-9-]{1,63})?"
PATH = r"(?:[/?#](?:[!#-;=?-~]*[A-Za-z0-9/=&%~-])?)?"
TOP_LEVELS = r"(?:com|org|net|edu|gov|io|ai|dev|app|co\.uk)"
ADDRESSES = [
    rf"(?<!\w)(?:(?:https?|ftp)://)+(?:www\.)*{HOST}(?::[0-9]{{1,5}})?{PATH}",
    rf"(?<![\w@.-])(?:www\.)+{HOST}{PATH}",
    rf"(?<![\w@.-])((?:[A-Za-z0-9-]{{1,63}}\.){{1,4}}{TOP_LEVELS})(?![\w-]|\.\w){PATH}",
]
EMAIL = r"(?<![\w.+-])([\w.+-]{1,64})@((?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24})(?!\w)"

CLOSED = re.compile(
    r"[.!?:;,\u2026\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f][\"')\]\u2019\u201d\u300d\u300f]*$"
)
IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff]$")
CELLS = ("th_open", "td_open")


def plain(text: str) -> str:
    """The words of markdown or plain text, one blank line between paragraphs.

    A heading, an item of a list and a row of a table end in a full stop if nothing else ends
    them. What this gives comes back from it unchanged; it takes any string and raises nothing.
    """
    text = _clean(text)
    for _ in range(ROUNDS):
        read = tidy(_addresses(_clean(_read(text)) if MARKS.search(text) else text))
        if read == text:
            break
        text = read
    return text


def tidy(text: str) -> str:
    """Single blanks, no blanks at the ends of lines, at most one empty line in a row."""
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n ")


def _clean(text: str) -> str:
    """Without emoji and invisible characters; control characters and half ones become blanks."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(CHARACTERS)
    text = re.sub(rf"(?<=\w){EMOJI}(?=\w)", " ", text)
    return re.sub(rf" ?{EMOJI}(?!\w)|{EMOJI}", "", text)


def _addresses(text: str) -> str:
    text = re.sub(EMAIL, _email, text)
    for pattern in ADDRESSES:
        text = re.sub(pattern, lambda address: (address[1] or "").replace(".", " dot "), text)
    return text


def _email(match: re.Match[str]) -> str:
    name = match[1].replace("_", " underscore ").replace("+", " plus ")
    return f"{name} at {match[2]}".replace(".", " dot ")


def _read(text: str) -> str:
    """One reading of markdown, by the parser's flat list of blocks."""
    blocks: list[str] = []
    lines: list[str] = []  # of the block being read; a list or a table is one block
    cells: list[str] = []
    counts: list[tuple[str, int]] = []  # for each open list, the last number as typed and as meant
    number, inside = "", ""
    for token in PARSER.parse(_prepare(text)):
        if token.type in ("bullet_list_open", "ordered_list_open", "table_open"):
            counts.append(("", 0))
        elif token.type in ("bullet_list_close", "ordered_list_close", "table_close"):
            counts.pop()
        elif token.type == "list_item_open" and token.info:
            counts[-1] = _count(token.info, *counts[-1])
            number = str(counts[-1][1])
        elif token.type == "list_item_close" and number:  # only a number: "42." is no list
            lines.append(f"{number}.")
            number = ""
        elif token.type == "tr_close":
            lines.append(_sentence(", ".join(filter(None, cells))))
            cells = []
        elif token.type == "inline":
            words = _words(token.children or ())
            if inside in CELLS:
                cells.append(words)
            elif counts:
                lines.append(_sentence(_numbered(number, TASK_BOX.sub("", words, 1))))
                number = ""
            else:
                lines.append(_sentence(words) if inside == "heading_open" else words)
        inside = token.type
        if lines and not counts:
            blocks.append("\n".join(filter(None, lines)))
            lines = []
    return "\n\n".join(blocks)


def _prepare(text: str) -> str:
    for opener, closer in UNSEEN:
        text = _without(text, opener, closer)
    for pattern, replacement in PREPARED:
        text = pattern.sub(replacement, text)
    return text


def _without(text: str, opener: str, closer: str) -> str:
    """Text less every stretch from opener to closer; the search, unlike a pattern, is linear."""
    kept: list[str] = []
    start = 0
    while (left := text.find(opener, start)) >= 0 and (right := text.find(closer, left)) >= 0:
        kept.append(text[start:left])
        start = right + len(closer)
    return "".join([*kept, text[start:]])


def _count(typed: str, before: str, count: int) -> tuple[str, int]:
    """The number of an item as typed, and as meant: a lazy list says 1. at each."""
    return typed, count + 1 if typed == before else int(typed)


def _numbered(number: str, words: str) -> str:
    """An item with its number; one past 99 is rather a sentence that ended at a line's start."""
    if not number:
        return words
    return f"{number}: {words}" if len(number) < 3 else f"{number}. {words}"


def _sentence(words: str) -> str:
    words = words.strip()
    if not words or CLOSED.search(words):
        return words
    return words + ("\N{IDEOGRAPHIC FULL STOP}" if IDEOGRAPH.search(words) else ".")


def _words(tokens: Iterable[Token]) -> str:
    """What a line of text shows: a link's text, an image's description, the words of code."""
    parts: list[str] = []
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        elif token.type == "image":
            parts.append(_words(token.children or ()))
        elif token.type == "html_inline":
            tag = TAG.match(token.content)
            parts.append("" if tag and tag[1].lower() in INLINE_TAGS.split() else " ")
        elif token.type == "code_inline":
            parts.append(TAG.sub(r"\1", token.content))  # `<div>`, else taken for a tag
        else:
            parts.append(token.content)
    return "".join(parts)
