"""Subtitle cues from a transcript: what to show when, in lines short enough to read.

A span is up to half a minute long and its words have no times of their own. Its text is cut into
cues by one optimal line breaking, and its time is shared out among them by their characters.
Nothing is on screen before or after the span it was said in, so a short span gives short cues.
"""

import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import Span

__all__ = ["BROADCAST", "Cue", "Layout", "cues", "display_width", "milliseconds", "plain"]

LINE_WIDTHS = (8, 1000)
LINE_COUNTS = (1, 10)

# What a layout costs; a line that is empty but for a blank or two costs about 1.
CUE = 0.25  # each, so that two short sentences share one
AFTER_SENTENCE, AFTER_CLAUSE, ANYWHERE = 0.0, 0.8, 2.0  # where a cue ends
STRAY = 4.0  # a line of one word, or of less than a quarter: a flash on the screen

SENTENCE_ENDS = ".!?…。！？｡"  # noqa: RUF001
CLAUSE_ENDS = ",;:—、，；：､"  # noqa: RUF001
CLOSERS = "\"')]}»”’」』）］〉》】｣"  # noqa: RUF001
TITLES = frozenset(("Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "St."))

# Scripts written without blanks; not Hangul, which has them.
UNSPACED = (
    ("\u2e80", "\u312f"),
    ("\u3190", "\u9fff"),
    ("\uf900", "\ufaff"),
    ("\uff00", "\uff9f"),
    ("\U00020000", "\U0003ffff"),
)
# Japanese line breaking (kinsoku), by Unicode category: closing marks, points, dashes, long
# vowels and repetition marks begin no line; opening marks end none.
BEGINS_NO_LINE = frozenset(("Pe", "Pf", "Po", "Pd", "Lm"))
ENDS_NO_LINE = frozenset(("Ps", "Pi"))
SMALL_KANA = frozenset("ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ")

ZERO_WIDTH = frozenset(("Mn", "Me", "Cf"))
# Embeddings, overrides and isolates: one left open turns the rest of a terminal's line around.
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Layout:
    """How much is shown at once: columns a line, lines a cue. Broadcasters use 42 and 2.

    Raises:
        RequestError: a number is out of range.
    """

    line_width: int = 42
    line_count: int = 2

    def __post_init__(self) -> None:
        for name, (low, high) in (("line_width", LINE_WIDTHS), ("line_count", LINE_COUNTS)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise RequestError(f"{name} must be from {low} to {high}, not {value}")


BROADCAST = Layout()


@dataclass(frozen=True)
class Cue:
    """What is on screen from `start` to `end`, in seconds, both whole milliseconds."""

    start: float
    end: float
    lines: tuple[str, ...]


def cues(spans: Iterable[Span], layout: Layout = BROADCAST) -> Iterator[Cue]:
    """The spans' text in order, each cue at least 1 ms long and none before the last has ended.

    A span that begins before the last one's end begins at that end. One that has fewer
    milliseconds than cues shows 1 ms each, and all that is left in its last cue, the only one
    that may have more lines than the layout allows; one with no time left gives no cue.
    """
    shown = 0
    for span in spans:
        text = plain(span.text)
        start, end = max(shown, milliseconds(span.start)), milliseconds(span.end)
        if text and start < end:
            yield from _timed(_blocks(text, layout), start, end)
            shown = end


def milliseconds(seconds: float) -> int:
    """A time to the nearest millisecond, never before the beginning."""
    return max(0, round(seconds * 1000))


def plain(text: str) -> str:
    """The text in one line: any white space is one blank, and what is no text is left out.

    That is control characters and bidi controls, which could steer a terminal, and halves of
    characters, which no file can hold.
    """
    return " ".join("".join(char for char in text if char.isspace() or _is_text(char)).split())


def display_width(text: str) -> int:
    """The columns that plain text takes: East Asian wide characters two, combining marks none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _is_text(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cs") and char not in BIDI_CONTROLS


def _columns(char: str) -> int:
    if unicodedata.category(char) in ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _timed(blocks: list[tuple[str, ...]], start: int, end: int) -> Iterator[Cue]:
    """Cues from `start` to `end` [ms]: 1 ms for each and the rest by their characters."""
    room = end - start
    if len(blocks) > room:
        rest = tuple(line for lines in blocks[room - 1 :] for line in lines)
        blocks = [*blocks[: room - 1], rest]
    said = list(accumulate((sum(map(len, lines)) for lines in blocks), initial=0))
    spare = room - len(blocks)
    edges = [start + k + spare * before // said[-1] for k, before in enumerate(said)]
    for lines, (on, off) in zip(blocks, pairwise(edges), strict=True):
        yield Cue(on / 1000, off / 1000, lines)


class Piece(NamedTuple):
    """What no line breaks apart: a slice of the text, and its columns were it all one line."""

    start: int
    end: int
    left: int
    right: int


def _blocks(text: str, layout: Layout) -> list[tuple[str, ...]]:
    """The lines of each cue."""
    pieces = _pieces(text, layout.line_width)
    after = [_cost_after(text[piece.start : piece.end]) for piece in pieces]
    return [
        tuple(text[pieces[first].start : pieces[past - 1].end] for first, past in lines)
        for lines in _arrange(pieces, after, layout)
    ]


def _arrange(
    pieces: list[Piece], after: list[float], layout: Layout
) -> list[list[tuple[int, int]]]:
    """The cheapest cues: in each its lines, as the first piece and the one past the last.

    `cost[k][past]` is that of the pieces before `past` when the last line is the k-th of its cue
    (from 1), and `cost[0][past]` when the cue has ended there; `after` is what that costs at each
    piece. Work grows with the text, times the pieces that fit a line, times the lines of a cue.
    """
    counts, size = range(1, layout.line_count + 1), len(pieces) + 1
    cost = [[math.inf] * size for _ in range(layout.line_count + 1)]
    begun = [[0] * size for _ in range(layout.line_count + 1)]  # the first piece of that line
    height = [0] * size  # the lines of the cue that ends here
    cost[0][0] = 0.0
    for past in range(1, size):
        for first in range(past - 1, -1, -1):
            width = pieces[past - 1].right - pieces[first].left
            if width > layout.line_width:
                break
            line = (1 - width / layout.line_width) ** 2
            if past - first == 1 or 4 * width < layout.line_width:
                line += STRAY
            for k in counts:
                total = cost[k - 1][first] + line
                if total <= cost[k][past]:  # of equals the one whose lower line is the longer
                    cost[k][past], begun[k][past] = total, first
        height[past] = min(counts, key=lambda k: cost[k][past])
        cost[0][past] = cost[height[past]][past] + CUE + after[past - 1]
    return _retrace(begun, height)


def _retrace(begun: list[list[int]], height: list[int]) -> list[list[tuple[int, int]]]:
    """The lines that led to the end, from what `_arrange` noted."""
    made: list[list[tuple[int, int]]] = []
    past = len(height) - 1
    while past:
        lines: list[tuple[int, int]] = []
        for k in range(height[past], 0, -1):
            lines.append((begun[k][past], past))
            past = begun[k][past]
        made.append(lines[::-1])
    return made[::-1]


def _cost_after(piece: str) -> float:
    """What it costs to end a cue here; the same for all layouts at the end of the text."""
    bare = piece.rstrip(CLOSERS)
    if bare.endswith(tuple(SENTENCE_ENDS)) and piece not in TITLES:
        return AFTER_SENTENCE
    return AFTER_CLAUSE if bare.endswith(tuple(CLAUSE_ENDS)) else ANYWHERE


def _pieces(text: str, limit: int) -> list[Piece]:
    """All that a line break can stand between, none wider than `limit`."""
    made: list[Piece] = []
    at = column = 0
    for word in text.split(" "):
        for part in (part for unit in _units(word) for part in _cut(unit, limit)):
            width = display_width(part)
            made.append(Piece(at, at + len(part), column, column + width))
            at, column = at + len(part), column + width
        at, column = at + 1, column + 1
    return made


def _units(word: str) -> Iterator[str]:
    """A word whole, or by characters where its script has no blanks."""
    start = 0
    for k, (before, after) in enumerate(pairwise(word), 1):
        if _may_part(before, after):
            yield word[start:k]
            start = k
    yield word[start:]


def _may_part(before: str, after: str) -> bool:
    return (
        (_is_unspaced(before) or _is_unspaced(after))
        and unicodedata.category(before) not in ENDS_NO_LINE
        and unicodedata.category(after) not in BEGINS_NO_LINE | ZERO_WIDTH
        and after not in SMALL_KANA
    )


def _is_unspaced(char: str) -> bool:
    return char >= UNSPACED[0][0] and any(low <= char <= high for low, high in UNSPACED)


def _cut(unit: str, limit: int) -> Iterator[str]:
    """As much at a time as fits a line: nearly always all of it. Marks stay with their letter."""
    start = filled = 0
    for k, char in enumerate(unit):
        width = _columns(char)
        if filled + width > limit:
            yield unit[start:k]
            start, filled = k, 0
        filled += width
    yield unit[start:]
