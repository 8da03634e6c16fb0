"""What a check of `lfm doctor` found."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """What a check found. A note hinders nothing that was asked for; `mend` is empty where there
    is nothing to do."""

    state: Literal["ok", "note", "skipped", "fault"]
    detail: str
    mend: str = ""
