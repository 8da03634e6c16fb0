"""A text as the sentences that are spoken one after the other."""

import sentencex

__all__ = ["sentences"]


def sentences(text: str, longest: int = 240) -> list[str]:
    """Placeholder until the real one is in place."""
    return [piece.strip() for piece in sentencex.segment("en", text) if piece.strip()]
