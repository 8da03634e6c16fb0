"""How long a model stays in memory without use, as people write it."""

import math
import re

from lfm2audio_mlx.errors import RequestError

__all__ = ["USUAL", "seconds_of", "told"]

USUAL = "5m"

_TIME = re.compile(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?")


def seconds_of(value: str | float) -> float:
    """`5m`, `90s`, `1h30m` or seconds; 0 is not at all, anything negative for ever (infinity).

    Raises:
        RequestError: it is none of these.
    """
    text = str(value).strip().lower()
    try:
        if text.startswith("-") and float(text.rstrip("smh")) < 0:
            return math.inf
        parts = _TIME.fullmatch(text)
        if text and parts:
            hours, minutes, seconds = (float(part or 0) for part in parts.groups())
            return 3600 * hours + 60 * minutes + seconds
    except ValueError:
        pass
    raise RequestError(f"keep-alive '{value}' is no time: 5m, 90s, 1h30m; 0, or -1 for ever")


def told(seconds: float | None) -> str:
    """The same for people; None is for ever."""
    if seconds is None or math.isinf(seconds):
        return "for ever"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(parts) or "0 s"
