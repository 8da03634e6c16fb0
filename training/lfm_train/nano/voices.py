"""Who speaks in the data: accents and voices to train on, others that are kept for the tests.

A voice is an accent of espeak-ng's and one of its variants. Beyond its five accents, shifted ones
are made up: sounds that differ among the world's Englishes are exchanged, one way for a whole
sentence.
"""

import random
import re
from dataclasses import replace

from lfm_train.nano.espeak import Espeak, Manner

__all__ = ["SPEAKERS", "draw_manner", "in_brackets", "in_language", "shifted"]

ACCENTS = ("en-us", "en-us-nyc", "en", "en-gb-x-rp", "en-gb-x-gbcwmd")
NEW_ACCENTS = ("en-029", "en-gb-x-gbclan", "en-gb-scotland")

VARIANTS = (
    "", "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique",
    "Hugo", "Lee", "Marco", "Michael", "Mike", "Mr serious", "Nguyen", "Storm", "adam", "anika",
    "announcer", "antonio", "belinda", "benjamin", "boris", "david", "ed", "edward", "f1", "f2",
    "f3", "grandma", "gustave", "iven", "iven2", "john", "kaukovalta", "klatt", "klatt2", "klatt3",
    "klatt6", "linda", "m1", "m2", "m3", "m4", "m6", "m7", "m8", "marcelo", "max", "michel",
    "miguel", "norbert", "pedro", "rob", "robert", "sandro", "shelby", "steph", "steph2", "zac",
)  # fmt: skip
NEW_VARIANTS = (
    "Jacky", "Mario", "aunty", "caleb", "edward2", "f4", "f5", "grandpa", "iven3", "klatt4", "m5",
    "pablo", "paul", "quincy", "steph3", "travis", "victor",
)  # fmt: skip

SPEAKERS = {
    # Those that an independent recogniser understands best, with a pause after each word, so that
    # every word begins with a frame.
    "us-male": Manner("en-us+edward", speed=160, pitch=45, range=45, gap=5),
    "uk-female": Manner("en+f2", speed=165, pitch=50, range=45, gap=5),
}
"""The voices that the checkpoint speaks with."""

SHIFTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"T", ("t[", "f", "T", "T")),
    (r"D", ("d", "v", "D", "D")),
    (r"IN(?= |$)", ("In", "IN")),
    (r"(?<=[tdnzs])i(?= |$)", ("I2", "i:", "i")),
    (r"A@", ("A@r", "A:", "A@")),
    (r"[oO]@", ("o@r", "O@r", "O:", "O@")),
    (r"3:", ("3:r", "VR", "3:", "3:")),
    (r"3(?= |$)", ("a#", "@r", "3", "3")),
    (r"u:", ("U", "u:", "u:")),
    (r"V", ("U", "0", "V", "V")),
    (r"eI", ("e:", "E", "aI", "eI", "eI")),
    (r"aI", ("aI2", "OI", "aI", "aI")),
    (r"oU", ("o:", "O:", "aU", "oU", "oU")),
    (r"0", ("A:", "O:", "0", "0")),
    (r"aa?(?![IU@#:])", ("E", "aa", "A:", "a")),
    (r"E", ("I", "a", "E", "E")),
    (r"r", ("R", "r", "r")),
)
"""Sounds in espeak-ng's letters, and what they may become; what is there twice is more likely."""


def shifted(phonemes: str, draw: random.Random) -> str:
    """Phonemes in an accent of nobody's."""
    into = {f"s{i}": draw.choice(choices) for i, (_, choices) in enumerate(SHIFTS)}
    pattern = "|".join(f"(?P<s{i}>{sound})" for i, (sound, _) in enumerate(SHIFTS))
    return re.sub(pattern, lambda found: into[str(found.lastgroup)], phonemes)


def draw_manner(draw: random.Random, new: str = "") -> Manner:
    """Somebody. `new`: "" somebody to train on, "voice" or "accent" somebody never heard."""
    accent = draw.choice(NEW_ACCENTS if new == "accent" else ACCENTS)
    variant = draw.choice(NEW_VARIANTS if new == "voice" else VARIANTS)
    return Manner(
        f"{accent}+{variant}" if variant else accent,
        speed=draw.randint(120, 195),
        pitch=draw.randint(25, 75),
        range=draw.randint(25, 75),
        gap=draw.choice((0, 0, 0, 1, 3, 6)),
    )


def in_language(language: str, manner: Manner) -> Manner:
    """As `manner`, in another language."""
    variant = manner.voice.partition("+")[2]
    return replace(manner, voice=f"{language}+{variant}" if variant else language)


def in_brackets(espeak: Espeak, text: str, voice: str, draw: random.Random) -> str:
    """A text as phonemes of a shifted accent, as `Espeak` reads them."""
    return f"[[{shifted(espeak.phonemes(text, voice), draw)}]]"
