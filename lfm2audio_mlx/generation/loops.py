"""Does a model repeat itself without end?"""

from collections.abc import Sequence

__all__ = ["repeated"]

LONGEST = 48
"""Tokens in the longest phrase that is looked for."""
LEAST = 24
"""Tokens that a loop has at least, and..."""
TIMES = 4
"""...how often its phrase stands there: nobody says "no" 24 times, or six words four times over
in the same order, and a model that does will not stop."""


def repeated(tokens: Sequence[int]) -> int:
    """How many tokens at the end only repeat a phrase that stands before them; 0 if it is no loop.

    Without them, the phrase stands there once.
    """
    for size in range(1, min(LONGEST, len(tokens) // TIMES) + 1):
        times = 1
        phrase = tokens[-size:]
        while tokens[-size * (times + 1) : -size * times] == phrase:
            times += 1
        if times >= TIMES and times * size >= LEAST:
            return size * (times - 1)
    return 0
