"""JSON as everybody reads it alike: UTF-8, finite numbers, each key once, whole characters."""

import json
import math
import re
from typing import Any

__all__ = ["loads"]

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a character; where the other half is missing, the text is no text."""


def loads(data: bytes | str) -> Any:
    """What a text means.

    Raises:
        ValueError: nothing; the message is for people.
    """
    text = data if isinstance(data, str) else data.decode()
    try:
        found = json.loads(
            text, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_once
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if SURROGATE.search(text):
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no number, or too large")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
