"""The independent ears: a model of the domain's word pairs, and that they hear at all."""

from collections import defaultdict

import pytest
import soxr

from lfm_train.nano import sphinx
from lfm_train.nano.espeak import Espeak
from lfm_train.nano.grammar import vocabulary
from lfm_train.nano.voices import SPEAKERS


def read() -> tuple[dict[str, tuple[float, float]], dict[str, dict[str, float]]]:
    """Chances and back-off weights of words, and chances of pairs."""
    words: dict[str, tuple[float, float]] = {}
    pairs: dict[str, dict[str, float]] = defaultdict(dict)
    for fields in (line.split() for line in sphinx._bigrams().splitlines()):
        if len(fields) != 3 or fields[0] == "ngram":
            continue
        if fields[2] in (*vocabulary(), sphinx.END):
            pairs[fields[1]][fields[2]] = 10 ** float(fields[0])
        else:
            words[fields[1]] = 10 ** float(fields[0]), 10 ** float(fields[2])
    return words, pairs


def test_chances_after_each_word_add_up():
    """To one: those that were met, and the others by what was taken off."""
    words, pairs = read()
    assert words.keys() == {*vocabulary(), sphinx.BEGIN, sphinx.END}
    for first, (_, left) in words.items():
        if first == sphinx.END:
            continue
        followers = [word for word in words if word != sphinx.BEGIN]
        total = sum(pairs[first].get(word, left * words[word][0]) for word in followers)
        # Logarithms are written with four digits.
        assert total == pytest.approx(1, abs=2e-3), first


def test_every_word_has_a_pronunciation():
    known = {line.split()[0].split("(")[0] for line in sphinx._pronunciations().splitlines()}
    assert known == set(vocabulary())


def test_it_hears(espeak: Espeak):
    ears = sphinx.Sphinx()
    samples, _ = espeak("turn on the kitchen light", SPEAKERS["us-male"])
    found = ears.hear(soxr.resample(samples, espeak.rate, 24_000), 24_000)
    assert set(found.split()) <= set(vocabulary())
    assert "kitchen" in found.split()
    assert ears.hear(samples[:0], espeak.rate) in ("", *vocabulary())
