"""What is no word of ours: phrases of other languages, and words that none has."""

import random
import unicodedata

from lfm_train.nano.espeak import Espeak, Manner
from lfm_train.nano.foreign import FOREIGN, NEW_FOREIGN, READERS, foreign_text
from lfm_train.nano.grammar import vocabulary

PHRASES = {text: language for language, phrases in FOREIGN.items() for text in phrases}
MET = {word for text in PHRASES for word in text.split()}


def test_languages_to_test_with_are_others():
    """Their words, too: a relative of one that was trained on would be half known."""
    assert not {*FOREIGN, *READERS} & NEW_FOREIGN.keys()
    for phrases in NEW_FOREIGN.values():
        words = {word for text in phrases for word in text.split()}
        assert len(words & MET) < 0.2 * len(words)


def test_espeak_speaks_them(espeak: Espeak):
    """A voice that is missing would end a training in its middle."""
    for language, phrases in (FOREIGN | NEW_FOREIGN).items():
        samples, _ = espeak(phrases[0], Manner(f"{language}+f2"))
        assert len(samples) > espeak.rate / 2
    for language in READERS:
        samples, _ = espeak(FOREIGN["hr"][0], Manner(f"{language}+f2"))
        assert len(samples) > espeak.rate / 2


def test_they_are_no_sentences_of_ours():
    texts = [text for phrases in (FOREIGN | NEW_FOREIGN).values() for text in phrases]
    assert len(set(texts)) == len(texts)
    assert not [text for text in texts if set(text.split()) <= set(vocabulary())]


def test_they_can_be_read_as_another():
    """In a script that it does not know, espeak-ng names letters, in English."""
    letters = set("".join(PHRASES)) - set(" '")
    assert {unicodedata.name(letter).split()[0] for letter in letters} == {"LATIN"}


def test_half_is_of_words_that_no_language_has():
    draw = random.Random(0)
    found = [foreign_text(draw) for _ in range(1000)]
    coined = [text for text, _ in found if text not in PHRASES]
    assert 400 < len(coined) < 600
    words = [word for text in coined for word in text.split()]
    assert sum(word in MET for word in words) < 0.1 * len(words)
    assert sum(word in vocabulary() for word in words) < 0.03 * len(words)


def test_most_is_read_as_another_language():
    draw = random.Random(1)
    found = [foreign_text(draw) for _ in range(1000)]
    read = [PHRASES[text] == language for text, language in found if text in PHRASES]
    assert 0.25 < sum(read) / len(read) < 0.45
    assert {language for _, language in found} == {*FOREIGN, *READERS}
