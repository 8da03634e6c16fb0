"""Text in pieces to be spoken one after the other: sentences, none too long or too short."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (sentencex has no types.)

import re
import unicodedata

from sentencex import segment  # pyright: ignore[reportAttributeAccessIssue]

__all__ = ["count_words", "sentences", "to_say"]

KANA = "\u3040-\u30ff\uff66-\uff9f"
HAN = "\u3400-\u4dbf\u4e00-\u9fff"

# A word as far as length is concerned; where no blanks are, two characters count as one.
WORD = re.compile(rf"[{KANA}{HAN}]{{1,2}}|[^\W{KANA}{HAN}][^\s{KANA}{HAN}]*")
FEW = 3  # speech models speak fewer words than these badly

# sentencex takes time that grows with the square of a paragraph's length.
LONGEST_PARAGRAPH = 5000

# Where a piece may end that is too long, the better places first.
PLACES = [
    re.compile(r"[.!?\u2026][\"')\]\u2019\u201d]*(?= )|[\u3002\uff01\uff1f][\u300d\u300f]?"),
    re.compile(r"[;:](?= )|[\uff1b\uff1a]|(?<= )[-\u2013](?= )|\u2014"),
    re.compile(r",(?= )|[\uff0c\u3001]"),
]


def to_say(text: str, raw: bool = False) -> list[str]:
    """The pieces in which a text is spoken; unless `raw`, as people say it (`spoken`)."""
    if not raw:
        # Its rules take a while to compile, and who only listens needs none of them.
        from lfm2audio_mlx.text.spoken import spoken

        text = spoken(text)
    return sentences(text)


def sentences(text: str, longest: int = 240) -> list[str]:
    """The sentences of `text`, in order, with single blanks; not one word is lost.

    A sentence of more than `longest` characters (at least 1) is cut, best at a semicolon or a
    comma. One of fewer than three words joins a neighbour in its paragraph where that fits.
    Paragraphs are parted by blank lines.
    """
    pieces: list[str] = []
    for paragraph in re.split(r"\n[^\S\n]*\n", text):
        words = " ".join(paragraph.split())
        language = _language(words)
        short = [
            piece
            for part in _cut(words, LONGEST_PARAGRAPH)
            for sentence in _segment(part, language)
            for piece in _cut(sentence, max(longest, 1))
        ]
        pieces += _joined(short, longest, gap=" " if language == "en" else "")
    return pieces


def _language(text: str) -> str:
    """Japanese or Chinese, if most letters are; English and everything else are cut alike."""
    kana, han = (len(re.findall(f"[{letters}]", text)) for letters in (KANA, HAN))
    if 2 * (kana + han) <= len(re.findall(r"[^\W\d_]", text)):
        return "en"
    return "ja" if kana else "zh"


def _segment(text: str, language: str) -> list[str]:
    """Sentences by the library, which refuses half characters: it sees another in their place."""
    whole = re.sub("[\ud800-\udfff]", "\ufffd", text)
    pieces: list[str] = []
    start = 0
    for sentence in map(str, segment(language, whole)):
        pieces.append(text[start : start + len(sentence)].strip())
        start += len(sentence)
    return [piece for piece in pieces if piece]


def _cut(text: str, longest: int) -> list[str]:
    """Text in halves, and these again, until none is too long."""
    if len(text) <= longest:
        return [text] if text else []
    place = _place(text)
    return _cut(text[:place].strip(), longest) + _cut(text[place:].strip(), longest)


def _place(text: str) -> int:
    """Where to cut: at the best mark in the middle half, else at any blank, else in the middle."""
    middle = len(text) // 2
    for pattern in PLACES:
        ends = [match.end() for match in pattern.finditer(text, middle // 2, middle + middle // 2)]
        if ends:
            return min(ends, key=lambda end: abs(end - middle))
    before, after = text.rfind(" ", 0, middle), text.find(" ", middle)
    blanks = [blank for blank in (before, after) if blank > 0]
    if blanks:
        return min(blanks, key=lambda blank: abs(blank - middle))
    return next((end for end in range(middle, 0, -1) if not _belongs(text[end])), middle)


def _belongs(character: str) -> bool:
    """An accent or a joiner, which is no character without the one before it."""
    return unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf")


def _joined(pieces: list[str], longest: int, gap: str) -> list[str]:
    joined: list[str] = []
    for piece in pieces:
        lone = joined and (_is_short(joined[-1]) or _is_short(piece))
        if lone and len(joined[-1]) + len(gap) + len(piece) <= longest:
            joined[-1] += gap + piece
        else:
            joined.append(piece)
    return joined


def _is_short(piece: str) -> bool:
    return count_words(piece) < FEW


def count_words(text: str) -> int:
    """Words as far as length is concerned, also where no blanks are between them."""
    return len(WORD.findall(text))
