"""What is spoken stands on the codec's grid."""

import random
from itertools import groupby, pairwise

import numpy as np
import pytest

from lfm_train.nano.espeak import Espeak
from lfm_train.nano.grammar import CLASSES, is_held_out, sentence
from lfm_train.nano.speaking import FRAME, PAUSE, RATE, TAIL, speech, text_to_speak
from lfm_train.nano.voices import SPEAKERS

TEXTS = ("turn on the kitchen light", "seven", "it is ten thirty", "nine nine one")


def frames(samples: np.ndarray) -> np.ndarray:
    """[frames, FRAME]."""
    return samples.reshape(-1, FRAME)


@pytest.mark.parametrize("voice", SPEAKERS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_sentence_is_a_whole_number_of_frames(espeak: Espeak, text: str, voice: str):
    samples = speech(espeak, text, SPEAKERS[voice]).samples
    assert samples.dtype == np.float32
    assert len(samples) % FRAME == 0 and len(samples) > 3 * FRAME
    assert 0.05 < np.abs(samples).max() <= 1.05  # resampling may overshoot


@pytest.mark.parametrize("voice", SPEAKERS)
def test_it_ends_in_silence(espeak: Espeak, voice: str):
    samples = speech(espeak, TEXTS[0], SPEAKERS[voice]).samples
    assert not samples[-TAIL * FRAME - PAUSE :].any()
    assert samples[-(TAIL + 3) * FRAME :].any()


@pytest.mark.parametrize("voice", SPEAKERS)
def test_each_word_begins_with_a_frame(espeak: Espeak, voice: str):
    """Before a word's frame there is silence, and at least 20 ms of it."""
    text = "seven four two"
    samples = frames(speech(espeak, text, SPEAKERS[voice]).samples)
    quiet = [not frame[-PAUSE:].any() for frame in samples]
    begins = [n for n in range(len(samples)) if (n == 0 or quiet[n - 1]) and samples[n].any()]
    assert len(begins) == len(text.split())


@pytest.mark.parametrize("voice", SPEAKERS)
def test_the_word_of_each_frame_is_told(espeak: Espeak, voice: str):
    """As many frames as there are, the words in order, silence at the end."""
    text = "seven four two"
    said = speech(espeak, text, SPEAKERS[voice])
    assert len(said.words) * FRAME == len(said.samples)
    told = [int(word) for word, _ in groupby(said.words)]
    assert told == [*(CLASSES[word] for word in text.split()), 0]
    assert (said.words[-TAIL:] == 0).all()


def test_where_words_run_together_none_is_told(espeak: Espeak):
    """The library tells of "on the" once."""
    words = speech(espeak, "turning on the garage radio", SPEAKERS["us-male"]).words
    assert (words[:-TAIL] == -1).all() and (words[-TAIL:] == 0).all()


def test_a_word_takes_as_many_frames_as_it_needs(espeak: Espeak):
    manner = SPEAKERS["us-male"]
    alone, longer = (len(speech(espeak, text, manner).words) for text in ("six", "seventeen"))
    assert TAIL < alone < longer


def test_a_pause_between_words_is_not_kept(espeak: Espeak):
    """Whatever the manner's gap is: the grid takes its place."""
    samples, _ = espeak("seven four two", SPEAKERS["us-male"])
    seconds = len(speech(espeak, "seven four two", SPEAKERS["us-male"]).samples) / RATE
    assert seconds < len(samples) / espeak.rate + TAIL * 0.08 + 3 * 0.1


def test_texts_are_words_without_sense_too():
    """No held-out sentence, but words in orders that no sentence has them in."""
    draw = random.Random(0)
    found = [text_to_speak(draw) for _ in range(1000)]
    assert {word for text in found for word in text.split()} <= CLASSES.keys()
    assert not any(map(is_held_out, found))
    pairs = {pair for text in found for pair in pairwise(text.split())}
    sensible = {pair for _ in range(5000) for pair in pairwise(sentence(draw).text.split())}
    assert len(pairs - sensible) > 500
