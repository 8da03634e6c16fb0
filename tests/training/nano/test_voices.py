"""Who is trained on and who is not, and that each is somebody else."""

import ctypes
import random
from collections.abc import Iterator
from itertools import count, takewhile
from typing import Any

import pytest

from lfm2audio_mlx.config import ModelConfig
from lfm_train.nano.espeak import Espeak, Manner
from lfm_train.nano.voices import (
    ACCENTS,
    NEW_ACCENTS,
    NEW_VARIANTS,
    SHIFTS,
    SPEAKERS,
    VARIANTS,
    draw_manner,
    in_brackets,
    shifted,
)

DRAWS = 3000


def drawn(new: str = "") -> list[Manner]:
    draw = random.Random(0)
    return [draw_manner(draw, new) for _ in range(DRAWS)]


def parts(manner: Manner) -> tuple[str, str]:
    accent, _, variant = manner.voice.partition("+")
    return accent, variant


def test_voices_to_test_with_are_others():
    assert not set(ACCENTS) & set(NEW_ACCENTS)
    assert not set(VARIANTS) & set(NEW_VARIANTS)
    for names in (ACCENTS, NEW_ACCENTS, VARIANTS, NEW_VARIANTS):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("new", "accents", "variants"),
    [
        ("", ACCENTS, VARIANTS),
        ("voice", ACCENTS, NEW_VARIANTS),
        ("accent", NEW_ACCENTS, VARIANTS),
    ],
)
def test_everybody_is_drawn_and_nobody_else(
    new: str, accents: tuple[str, ...], variants: tuple[str, ...]
):
    found = [parts(manner) for manner in drawn(new)]
    assert {accent for accent, _ in found} == set(accents)
    assert {variant for _, variant in found} == set(variants)


def test_the_checkpoint_s_own_voices_are_trained_on():
    for manner in SPEAKERS.values():
        accent, variant = parts(manner)
        assert accent in ACCENTS and variant in VARIANTS


def test_the_checkpoint_s_own_voices_have_its_names(config: ModelConfig):
    assert list(SPEAKERS) == list(config.prompts.voices)


@pytest.mark.parametrize("name", SPEAKERS)
def test_they_speak(espeak: Espeak, name: str):
    samples, _ = espeak("hello", SPEAKERS[name])
    assert abs(samples).max() > 0.05


class Voice(ctypes.Structure):
    """The beginning of `espeak_VOICE`: what there is of it here, or is wanted."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("more", ctypes.c_char * 64),
    )


def test_every_variant_is_there(espeak: Espeak):
    """A name that the library does not know it would speak with the plain voice."""
    known = espeak._library.espeak_ListVoices
    known.restype = ctypes.POINTER(ctypes.POINTER(Voice))
    found = known(ctypes.byref(Voice(languages=b"variant")))
    names = [voice.contents.identifier.decode() for voice in iter_until_null(found)]
    assert {f"!v/{name}" for name in (*VARIANTS, *NEW_VARIANTS) if name} <= set(names)


def iter_until_null(found: Any) -> Iterator[Any]:
    return takewhile(bool, (found[index] for index in count()))


@pytest.mark.parametrize("accent", [*ACCENTS, *NEW_ACCENTS])
def test_every_accent_is_there(espeak: Espeak, accent: str):
    assert abs(espeak("how is the weather", Manner(accent))[0]).max() > 0.05


def test_a_shifted_accent_exchanges_a_sound_everywhere(espeak: Espeak):
    """One way for a whole sentence."""
    phonemes = "D@2 D@2 D@2"
    made = {shifted(phonemes, random.Random(seed)) for seed in range(40)}
    assert made == {f"{sound}@2 {sound}@2 {sound}@2" for sound in ("d", "v", "D")}


def test_what_no_shift_names_stays():
    assert shifted("k l m n", random.Random(0)) == "k l m n"
    assert all(choices for _, choices in SHIFTS)


def test_shifted_accents_are_many_and_speak(espeak: Espeak):
    draw = random.Random(1)
    made = [in_brackets(espeak, "turn on the heater", "en-us", draw) for _ in range(30)]
    assert len(set(made)) > 10
    for text in made[:5]:
        assert text.startswith("[[") and text.endswith("]]")
        assert len(espeak(text, Manner("en-us"))[0]) > espeak.rate // 2
