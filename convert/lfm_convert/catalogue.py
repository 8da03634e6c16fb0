"""The models that `lfm pull` knows by a short name, as data.

`revision` should be the commit that was tested. The published repositories could not be reached
when this was written, so it is "main" for all of them: a pull resolves that to the commit of the
moment, fetches exactly this commit and records it in the manifest.
"""

from dataclasses import dataclass

__all__ = ["CATALOGUE", "Entry", "entry_of"]


@dataclass(frozen=True)
class Entry:
    """`prompts`: a key of `lfm_convert.prompts.PROMPTS`."""

    repository: str
    revision: str
    prompts: str
    licence: str


_TERMS = "LFM Open License v1.0"

CATALOGUE = {
    "lfm2-audio-1.5b": Entry("LiquidAI/LFM2-Audio-1.5B", "main", "v1", _TERMS),
    "lfm2.5-audio-1.5b": Entry("LiquidAI/LFM2.5-Audio-1.5B", "main", "v2.5", _TERMS),
    "lfm2.5-audio-1.5b-jp": Entry("LiquidAI/LFM2.5-Audio-1.5B-JP", "main", "v2.5-jp", _TERMS),
}


def entry_of(repository: str) -> Entry | None:
    """The catalogue's entry for a repository; hubs do not tell upper from lower case."""
    wanted = repository.lower()
    return next((e for e in CATALOGUE.values() if e.repository.lower() == wanted), None)
