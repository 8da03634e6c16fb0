"""Speech at a chosen number of words a minute (`lfm say --rate`).

The model has a pace of its own. Each sentence is taken as it was spoken and stretched, at the same
pitch, to what its words should last (Signalsmith Stretch).
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (python_stretch has no types.)

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from lfm2audio_mlx.results import Sound

if TYPE_CHECKING:
    import numpy as np

__all__ = ["paced"]

log = logging.getLogger(__name__)

FACTORS = (0.4, 3.0)
"""How much slower and faster speech may become; beyond, it is not understood."""
SEAM_SECONDS = 0.005


def paced(sounds: Iterable[Sound], rate: float) -> Iterator[Sound]:
    """The sounds of a text, each sentence as one, at `rate` words a minute."""
    import numpy as np

    from lfm2audio_mlx.text.sentences import count_words

    for _, pieces in groupby(sounds, key=lambda sound: sound.sentence):
        whole = list(pieces)
        samples = np.concatenate([piece.samples for piece in whole])
        minutes = len(samples) / whole[0].sample_rate / 60
        natural = max(1, count_words(whole[0].text)) / minutes
        factor = min(max(rate / natural, FACTORS[0]), FACTORS[1])
        log.debug("%.0f words a minute become %.0f", natural, natural * factor)
        stretched = _stretched(samples, whole[0].sample_rate, factor)
        yield replace(whole[0], samples=stretched)


def _stretched(samples: np.ndarray, sample_rate: int, factor: float) -> np.ndarray:
    """Samples [n] -> [n / factor], the ends faded over 5 ms so that no seam can click."""
    import numpy as np
    from python_stretch.Signalsmith import Stretch

    stretch = Stretch()
    stretch.preset(1, sample_rate)
    stretch.setTimeFactor(factor)
    result = np.array(stretch.process(samples[None].astype(np.float32)))[0]
    seam = min(int(SEAM_SECONDS * sample_rate), len(result) // 2)
    ramp = np.linspace(0.0, 1.0, seam, dtype=np.float32)
    result[:seam] *= ramp
    result[len(result) - seam :] *= ramp[::-1]
    return result
