"""What may be said, what is answered, and what nobody is to learn."""

import random
import re
from functools import cache
from itertools import islice

import pytest

from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_train.nano.grammar import (
    ANSWERS,
    SLOTS,
    Sentence,
    Texts,
    bare,
    digits,
    held_out,
    is_held_out,
    questions,
    sentence,
    spliced,
    spoken,
    vocabulary,
    word_salad,
)

WORDS = set(vocabulary())
DRAWS = 1000


@cache
def kept() -> list[Sentence]:
    """Held-out sentences."""
    return list(islice(held_out(random.Random(0)), DRAWS))


# Words


def test_there_are_122_words():
    assert len(vocabulary()) == len(WORDS) == 122
    assert list(vocabulary()) == sorted(vocabulary())


@pytest.mark.parametrize("before", ["", " "])
def test_each_word_is_one_token(tokenizer: Tokenizer, before: str):
    """At a beginning and after another: so a word is one decision."""
    assert not [word for word in vocabulary() if len(tokenizer.encode(before + word)) != 1]


def test_a_sentence_is_as_many_tokens_as_words(tokenizer: Tokenizer):
    draw = random.Random(0)
    for text in (sentence(draw).text for _ in range(50)):
        assert len(tokenizer.encode(text)) == len(text.split())
        assert tokenizer.decode(list(tokenizer.encode(text))) == text


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "zero"), (9, "nine"), (10, "ten"), (19, "nineteen"), (20, "twenty"), (99, "ninety nine")],
)
def test_numbers_are_spoken(number: int, words: str):
    assert spoken(number) == words


def test_numbers_are_different_words():
    assert len({spoken(number) for number in range(100)}) == 100


# Sentences


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("testing", [False, True])
def test_sentences_are_of_the_vocabulary(asked: bool, testing: bool):
    draw = random.Random(1)
    for _ in range(DRAWS):
        found = sentence(draw, questions=asked, testing=testing)
        assert WORDS.issuperset(found.text.split()) and found.text
        assert WORDS.issuperset(found.answer.split())
        assert found.answer or not asked


@pytest.mark.parametrize("asked", [False, True])
def test_what_is_held_out_is_never_trained_on(asked: bool):
    draw = random.Random(2)
    trained = {sentence(draw, questions=asked).text for _ in range(DRAWS)}
    assert len(trained) > 200
    assert not any(map(is_held_out, trained))
    assert not trained & {found.text for found in kept()}


@pytest.mark.parametrize("asked", [False, True])
def test_what_is_held_out_is_tested_with(asked: bool):
    draw = random.Random(3)
    assert all(
        is_held_out(sentence(draw, questions=asked, testing=True).text) for _ in range(DRAWS // 10)
    )


def test_words_without_sense_are_none_that_are_held_out():
    draw = random.Random(4)
    found = [word_salad(draw) for _ in range(DRAWS // 4)]
    assert {len(text.split()) for text in found} == set(range(1, 8))
    met = {word for text in found for word in text.split()}
    assert met <= WORDS - {"for", "to"} and {"four", "two"} <= met
    assert not any(map(is_held_out, found))


def test_halves_of_sentences_make_none_that_is_held_out():
    draw = random.Random(5)
    found = [spliced(draw) for _ in range(DRAWS)]
    assert WORDS.issuperset(word for text in found for word in text.split())
    assert {len(text.split()) for text in found} == set(range(2, 9))
    assert not any(map(is_held_out, found))


def test_what_is_learnt_has_its_shares():
    """Words without sense, spliced sentences, bare numbers, questions, whole ones."""
    draw = random.Random(6)
    whole = {sentence(draw).text for _ in range(50 * DRAWS)}

    def shares(*texts: float) -> tuple[float, float]:
        """Of whole sentences, and of single words."""
        found = [Texts(*texts).draw(draw) for _ in range(DRAWS)]
        single = sum(" " not in text for text in found)
        return sum(text in whole for text in found) / DRAWS, single / DRAWS

    plain, salad, splices, mixed = (shares(*s) for s in ((0, 0), (1, 0), (0, 1), (0.3, 0.3)))
    assert plain[0] > 0.9 and 0.3 < mixed[0] < 0.6 and max(salad[0], splices[0]) < 0.25
    assert salad[1] > 0.1 and splices[1] == 0  # a splice has two words
    assert shares(0, 0, 1)[1] > 2 * plain[1]
    asked = {found.text for found in questions()}
    found = [Texts(0, 0, 0, 0.5).draw(draw) for _ in range(DRAWS)]
    assert 0.6 < sum(text in asked for text in found) / DRAWS < 0.9


def test_bare_numbers_have_nothing_around_them():
    draw = random.Random(7)
    found = [bare(draw) for _ in range(DRAWS)]
    numbers = {word for number in range(100) for word in spoken(number).split()}
    assert numbers == {word for text in found for word in text.split()} - {
        *SLOTS["unit"],
        "okay",
        "yes",
    }
    assert not any(map(is_held_out, found))


def test_a_tenth_is_held_out():
    fillings = [
        f"set a timer for {number} {unit}" for number in SLOTS["number"] for unit in SLOTS["unit"]
    ]
    assert 0.07 < sum(map(is_held_out, fillings)) / len(fillings) < 0.13
    assert len({found.text for found in kept()}) == len(kept()) > 200


def test_what_stands_alone_is_trained_on():
    """A sentence without a slot has no others to learn its words from."""
    plain = [text for pair in ANSWERS.items() for text in pair if "{" not in text]
    assert plain and not any(map(is_held_out, plain))


# Questions


def test_every_question_has_an_answer_of_the_vocabulary():
    for found in questions():
        assert found.answer
        assert WORDS.issuperset(found.text.split()) and WORDS.issuperset(found.answer.split())


def test_questions_are_neither_held_out_nor_answered_so():
    found = list(questions())
    assert len({q.text for q in found}) == len(found) > 900
    assert not any(is_held_out(q.text) or is_held_out(q.answer) for q in found)


def test_every_kind_of_question_is_there():
    texts = [q.text for q in questions()]
    for template in ANSWERS:
        pattern = re.sub(r"{\w+}", "[a-z ]+", template)
        assert any(re.fullmatch(pattern, text) for text in texts), template


def test_the_answer_has_the_question_s_words():
    answers = {q.text: q.answer for q in questions()}
    assert answers["turn on the kitchen light"] == "turning on the kitchen light"
    for number in SLOTS["number"]:
        text = f"set a timer for {number} minutes"
        assert answers.get(text, f"timer set for {number} minutes") == (
            f"timer set for {number} minutes"
        )


def test_held_out_sentences_have_70_of_the_words():
    """The others stand only in sentences without a slot, or without a filling to keep back."""
    assert len({word for found in kept() for word in found.text.split()}) == 70


def test_held_out_questions_have_their_answers():
    found = list(held_out(random.Random(1), questions=True))
    assert len(found) == len(set(found)) == 113
    assert all(is_held_out(q.text) and q.answer for q in found)


# The same again


def test_all_is_drawn_from_the_seed():
    def drawn(seed: int) -> list[object]:
        draw = random.Random(seed)
        return [f(draw) for f in (sentence, digits, word_salad) for _ in range(20)]

    assert drawn(6) == drawn(6) != drawn(7)


def test_what_is_held_out_stays_so():
    """From one release to the next: training has not seen these."""
    questions = sorted(q.text for q in held_out(random.Random(1), questions=True))
    assert questions[:3] == [
        "close the office door",
        "lock the bedroom window",
        "lock the garage window",
    ]
    assert is_held_out("set the volume to twenty eight")
    assert not is_held_out("set the volume to twenty nine")
