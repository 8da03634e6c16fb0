"""Spans of speech: found, cut at pauses and at the limit, whatever the blocks."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.audio.vad import (
    CHUNK,
    SAMPLE_RATE,
    USUAL,
    Endpointing,
    Speech,
    SpeechCutter,
)

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    """A sentence of 2.2 s."""
    return read_audio(RECORDINGS / "seen_00.wav", SAMPLE_RATE)


@pytest.fixture(scope="module")
def talk(spoken: np.ndarray) -> np.ndarray:
    """Three sentences with pauses of 1, 2 and 3 s around them: 12.5 s."""
    parts = [silence(1), spoken, silence(1), spoken, silence(2), spoken, silence(3)]
    return np.concatenate(parts)


def cut(samples: np.ndarray, endpointing: Endpointing = USUAL) -> list[Speech]:
    return in_blocks([samples], endpointing)


def in_blocks(blocks: Iterable[np.ndarray], endpointing: Endpointing = USUAL) -> list[Speech]:
    cutter = SpeechCutter(endpointing)
    return [span for block in blocks for span in cutter.push(block)] + cutter.finish()


def test_each_sentence_is_a_span_with_a_little_silence_around(talk: np.ndarray, spoken: np.ndarray):
    length = len(spoken) / SAMPLE_RATE
    spans = cut(talk)
    assert len(spans) == 3
    for span, start in zip(spans, [1, 2 + length, 4 + 2 * length], strict=True):
        assert start - USUAL.lead <= span.start <= start + 0.1
        assert start + length - 0.5 <= span.end <= start + length + 0.3
        at = round(span.start * SAMPLE_RATE)
        assert np.array_equal(span.samples, talk[at : at + len(span.samples)])


def test_a_short_pause_belongs_to_the_sentence(spoken: np.ndarray):
    """Recordings have some silence of their own at both ends, so the pause is that much longer."""
    assert len(cut(np.concatenate([spoken, spoken]), Endpointing(pause=1.0))) == 1
    assert len(cut(np.concatenate([spoken, silence(1), spoken]))) == 2


@pytest.mark.parametrize("level", [0.0, 0.001, 0.1, 0.5])
def test_silence_and_noise_have_no_speech(level: float):
    noise = np.random.default_rng(0).normal(0, 1, 20 * SAMPLE_RATE)
    assert cut((level * noise).astype(np.float32)) == []


def test_music_like_tones_have_no_speech():
    t = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330)) * (0.6 + 0.4 * np.sin(6 * t))
    assert cut((0.2 * chord).astype(np.float32)) == []


def test_speech_without_a_pause_is_cut_at_the_limit_and_nothing_is_lost(spoken: np.ndarray):
    voice = spoken[int(0.3 * SAMPLE_RATE) : int(1.7 * SAMPLE_RATE)]
    endless = np.tile(voice, 40)
    spans = cut(endless, Endpointing(longest=10.0))
    assert len(spans) >= 6
    assert all(len(span.samples) <= 10 * SAMPLE_RATE for span in spans)
    assert all(len(span.samples) >= 3 * SAMPLE_RATE for span in spans[:-1])
    joined = np.concatenate([span.samples for span in spans])
    first = round(spans[0].start * SAMPLE_RATE)
    assert np.array_equal(joined, endless[first : first + len(joined)])
    assert len(joined) > 0.95 * len(endless)


def test_a_span_that_is_too_long_is_cut_in_its_quietest_place(spoken: np.ndarray):
    voice = spoken[int(0.3 * SAMPLE_RATE) : int(1.7 * SAMPLE_RATE)]
    breath = silence(0.4)  # too short for a pause
    long = np.concatenate([np.tile(voice, 5), breath, np.tile(voice, 5)])
    spans = cut(long, Endpointing(longest=10.0))
    middle = 5 * len(voice) / SAMPLE_RATE
    assert middle - 0.1 <= spans[0].end <= middle + 0.5


def test_a_click_is_no_speech(talk: np.ndarray):
    assert cut(talk, Endpointing(shortest=5.0)) == []


@settings(max_examples=10)
@given(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=8))
def test_blocks_of_any_size_give_the_same_spans(sizes: list[int]):
    spoken = read_audio(RECORDINGS / "seen_00.wav", SAMPLE_RATE)
    talk = np.concatenate([silence(1), spoken, silence(1), spoken])

    def blocks():
        at, number = 0, 0
        while at < len(talk):
            size = sizes[number % len(sizes)] + 500
            yield talk[at : at + size]
            at, number = at + size, number + 1

    whole, pieces = cut(talk), in_blocks(blocks())
    assert [span.start for span in pieces] == [span.start for span in whole]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(pieces, whole, strict=True))


def test_no_more_is_held_than_the_open_span(spoken: np.ndarray):
    """An hour of silence costs no memory."""
    cutter = SpeechCutter()
    for _ in range(600):
        assert cutter.push(silence(0.1)) == []
        assert len(cutter._chunks) * CHUNK <= (USUAL.lead + 0.1) * SAMPLE_RATE
    assert not cutter.speaking
    cutter.push(spoken)
    assert cutter.speaking
    (span,) = cutter.finish()
    assert not cutter.speaking
    assert 59.7 < span.start < 60.2


def test_an_end_in_the_middle_of_a_word_loses_nothing(spoken: np.ndarray):
    half = spoken[: int(1.2345 * SAMPLE_RATE)]
    (span,) = cut(half)
    assert span.end == pytest.approx(len(half) / SAMPLE_RATE)


def test_a_beginning_is_told_before_its_end(talk: np.ndarray):
    """In the midst of each span its start is known, and between them there is none."""
    cutter, begun, ended = SpeechCutter(), list[float](), list[Speech]()
    for at in range(0, len(talk), CHUNK):
        ended += cutter.push(talk[at : at + CHUNK])
        if cutter.begun is None:
            assert len(begun) == len(ended)
        elif len(begun) == len(ended):
            begun.append(cutter.begun)
            assert cutter.begun < at / SAMPLE_RATE < cutter.begun + 1.0
        assert cutter.begun in (None, begun[-1] if begun else None)
    assert begun == [span.start for span in ended] and len(begun) == 3


def test_a_click_is_no_beginning(talk: np.ndarray):
    cutter = SpeechCutter(Endpointing(shortest=5.0))
    spoke = False
    for at in range(0, len(talk), CHUNK):
        assert cutter.push(talk[at : at + CHUNK]) == [] and cutter.begun is None
        spoke = spoke or cutter.speaking
    assert spoke


def test_what_was_said_is_not_said_again_before_the_next_span(spoken: np.ndarray):
    """However much silence is to be kept before speech, and however little ends it."""
    talk = np.concatenate([spoken, silence(0.5), spoken, silence(1)])
    first, second = cut(talk, Endpointing(pause=0.2, lead=2.0, padding=2.0))
    assert second.start > first.end - 0.3


# Before the end is certain


def same(one: Speech, other: Speech) -> bool:
    return one.start == other.start and np.array_equal(one.samples, other.samples)


def pausing(samples: np.ndarray, endpointing: Endpointing) -> dict[int, Speech]:
    """The span that each chunk, by its number, leaves open in a pause; a span that ends is the one
    that was open before, if one was, unless the last chunk has a voice and makes it too long:
    somebody went on, and was cut off at once."""
    longest = round(endpointing.longest * SAMPLE_RATE / CHUNK)
    cutter, found = SpeechCutter(endpointing), dict[int, Speech]()
    for number, at in enumerate(range(0, len(samples) - CHUNK + 1, CHUNK)):
        for span in cutter.push(samples[at : at + CHUNK]):
            if number - 1 in found and not same(span, found[number - 1]):
                assert len(span.samples) // CHUNK + len(cutter._chunks) == longest
                assert cutter._voice[-1] >= endpointing.release
        if open_one := cutter.pausing:
            found[number] = open_one
    return found


@settings(max_examples=15)
@given(
    pauses=st.lists(st.floats(0.0, 0.7), min_size=1, max_size=3),
    pause=st.floats(0.1, 0.8),
    padding=st.floats(0.0, 0.5),
    longest=st.sampled_from([2.5, 4.0, 30.0]),
)
@example(pauses=[0.0, 0.5234375, 0.6875], pause=0.71875, padding=0.0, longest=2.5)
def test_a_span_is_known_before_its_pause_is_over(
    pauses: list[float], pause: float, padding: float, longest: float
):
    word = read_audio(RECORDINGS / "seen_00.wav", SAMPLE_RATE)[4800:27_200]
    parts = [silence(0.3), *(part for each in pauses for part in (word, silence(each))), word]
    talk = np.concatenate([*parts, silence(0.9)])
    known = pausing(talk, Endpointing(pause=pause, padding=padding, longest=longest))
    assert known or longest < 30.0 or pause < padding + 0.04


def test_it_is_known_as_soon_as_the_silence_that_is_kept_is_over(spoken: np.ndarray):
    """Not while somebody speaks, and for as long as the pause is waited for."""
    talk = np.concatenate([silence(1), spoken, silence(1)])
    known = pausing(talk, USUAL)
    waited = round(USUAL.pause * SAMPLE_RATE / CHUNK) - round(USUAL.padding * SAMPLE_RATE / CHUNK)
    assert len(known) == waited == max(known) - min(known) + 1
    (span,) = cut(talk)
    assert all(same(each, span) for each in known.values())


def test_who_goes_on_has_not_ended(spoken: np.ndarray):
    voice = spoken[int(0.3 * SAMPLE_RATE) : int(1.7 * SAMPLE_RATE)]
    talk = np.concatenate([silence(1), voice, silence(0.4), voice, silence(1)])
    first, *_, last = pausing(talk, USUAL).values()
    (span,) = cut(talk)
    assert same(last, span)
    assert first.start == span.start and len(first.samples) < len(span.samples) - len(voice)


def test_a_span_that_is_cut_before_its_pause_is_over_is_not_foreseen(spoken: np.ndarray):
    voice = spoken[int(0.3 * SAMPLE_RATE) : int(1.7 * SAMPLE_RATE)]
    talk = np.concatenate([silence(1), voice, silence(1)])
    assert pausing(talk, Endpointing(pause=0.8, padding=0.1, longest=2.0)) == {}
    assert pausing(talk, Endpointing(pause=0.8, padding=0.1, longest=3.0))


def test_a_click_is_no_pause(talk: np.ndarray):
    assert pausing(talk, Endpointing(shortest=5.0)) == {}
