"""An independent pair of ears: pocketsphinx, with the domain's words and a bigram model of them.

Its acoustic model (US English, in its package) has never seen our recordings, nor we it.
"""

import math
import random
import tempfile
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pocketsphinx
import soxr

from lfm_train.nano.grammar import sentence, vocabulary

__all__ = ["Sphinx"]

RATE = 16_000
DISCOUNT = 0.5
"""Taken off each bigram's count and given to those that were not met (Ney et al. 1994)."""
SENTENCES = 20_000
BEGIN, END = "<s>", "</s>"


class Sphinx:
    """Hears samples as sentences of the domain."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            model, words = Path(folder) / "bigrams.arpa", Path(folder) / "words.dict"
            model.write_text(_bigrams(), "utf-8")
            words.write_text(_pronunciations(), "utf-8")
            self._decoder = pocketsphinx.Decoder(
                lm=str(model), dict=str(words), samprate=RATE, loglevel="FATAL"
            )

    def hear(self, samples: np.ndarray, rate: int) -> str:
        """The words in samples [N]."""
        sound = soxr.resample(np.pad(samples, (rate // 4, rate // 4)), rate, RATE)
        sound = sound / max(float(np.abs(sound).max()), 1e-6) * 0.7
        self._decoder.start_utt()
        self._decoder.process_raw((sound * 32767).astype(np.int16).tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found else ""


def _pronunciations() -> str:
    """The domain's part of the dictionary that comes with pocketsphinx."""
    whole = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text("utf-8")
    wanted = set(vocabulary())
    lines = [
        line for line in whole.splitlines() if line.split(maxsplit=1)[0].split("(")[0] in wanted
    ]
    return "\n".join(lines) + "\n"


@cache
def _bigrams() -> str:
    """The grammar's bigrams in the ARPA format, with absolute discounting."""
    draw = random.Random("bigrams")
    pairs: Counter[tuple[str, str]] = Counter()
    for _ in range(SENTENCES):
        words = [BEGIN, *sentence(draw).text.split(), END]
        pairs.update(pairwise(words))
    after: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for (first, _), count in pairs.items():
        after[first] += count
        kinds[first] += 1
    words = vocabulary()
    each = math.log10(1 / (len(words) + 1))
    lines = ["\\data\\", f"ngram 1={len(words) + 2}", f"ngram 2={len(pairs)}", "", "\\1-grams:"]
    for word in (BEGIN, *words, END):
        left = DISCOUNT * kinds[word] / after[word] if after[word] else 1.0
        lines.append(f"{-99 if word == BEGIN else each:.4f} {word} {math.log10(left):.4f}")
    lines += ["", "\\2-grams:"]
    for (first, second), count in sorted(pairs.items()):
        chance = (count - DISCOUNT) / after[first]
        chance += DISCOUNT * kinds[first] / after[first] / (len(words) + 1)
        lines.append(f"{math.log10(chance):.4f} {first} {second}")
    return "\n".join([*lines, "", "\\end\\", ""])
