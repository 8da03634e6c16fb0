"""A step of the language model's training: three pieces, drawn from its number."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.generation.prompt import TextIds
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.tokens import END_OF_AUDIO
from lfm_train.examples import Example
from lfm_train.initial import initialise
from lfm_train.loss import Weighting
from lfm_train.nano.grammar import ANSWERS, Sentence, is_held_out, questions, vocabulary
from lfm_train.nano.hearing import Listener, Recorded
from lfm_train.nano.language import (
    ANSWERING_VOICE,
    QUESTIONS,
    UNSPOKEN,
    Lesson,
    Mixture,
    Teacher,
    train_language,
)
from lfm_train.nano.spoken import Spoken
from lfm_train.nano.voices import SPEAKERS
from lfm_train.training import Plan

MIXTURE = Mixture(transcriptions=3, readings=2, questions=4)
GROUP = 2


def spoken() -> list[Spoken]:
    """Every answer in every voice, in six frames of its own, the word in each a number of its."""
    texts = dict.fromkeys(question.answer for question in questions())
    draw = np.random.default_rng(0)
    return [
        Spoken(
            text,
            voice,
            draw.integers(0, 512, (6, 8)).astype(np.uint16),
            draw.integers(-1, 123, 6).astype(np.int16),
        )
        for text in texts
        for voice in SPEAKERS
    ]


@pytest.fixture(scope="module")
def teacher(config: ModelConfig, tokenizer: Tokenizer, listener: Listener) -> Teacher:
    """`listener` is asked for so that this is passed over where nobody speaks."""
    return Teacher(config, tokenizer, spoken())


@pytest.fixture(scope="module")
def drawn(teacher: Teacher) -> list[list[Lesson]]:
    return teacher.lessons(4, MIXTURE, GROUP)


@pytest.fixture(scope="module")
def dialogues(teacher: Teacher, tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """Of each of many, in how many answers the words end, and in how many the speech."""
    many = Mixture(transcriptions=1, readings=1, questions=400)
    (_, answers, _), *_ = teacher.lessons(0, many, 1)
    batch = answers.batch
    count, width = batch.order.shape
    word_ends = np.array(batch.text_labels) == tokenizer.special.text_end
    speech_ends = np.array(batch.frame_labels)[:, 0] == END_OF_AUDIO
    texts = Counter((np.array(batch.text_at)[word_ends] // width).tolist())
    speeches = Counter((np.array(batch.frame_at)[speech_ends] // width).tolist())
    return [(texts[number], speeches[number]) for number in range(count)]


def test_dialogues_have_one_question_or_several(dialogues: list[tuple[int, int]]):
    """Each number about as often as another; the last dialogue takes what is left."""
    sizes = Counter(words for words, _ in dialogues[:-1])
    assert sum(words for words, _ in dialogues) == 400
    assert set(sizes) == set(QUESTIONS)
    for size in QUESTIONS:
        share = QUESTIONS.count(size) / len(QUESTIONS)
        # Five standard deviations.
        expected = pytest.approx(share, abs=5 * (share / len(dialogues)) ** 0.5)
        assert sizes[size] / len(dialogues) == expected


def test_some_dialogues_are_in_words_alone(dialogues: list[tuple[int, int]]):
    """In the others every answer is spoken."""
    assert all(speeches in (0, words) for words, speeches in dialogues)
    silent = sum(not speeches for _, speeches in dialogues) / len(dialogues)
    expected = pytest.approx(UNSPOKEN, abs=5 * (UNSPOKEN / len(dialogues)) ** 0.5)
    assert silent == expected


def test_each_step_is_three_pieces(drawn: list[list[Lesson]]):
    assert [len(pieces) for pieces in drawn] == [3] * GROUP
    for pieces in drawn:
        read, answered, heard = (piece.batch for piece in pieces)
        assert len(read.order) == MIXTURE.readings and not read.clips
        assert 1 <= len(answered.order) <= MIXTURE.questions and len(answered.clips) <= 1
        assert len(heard.order) == MIXTURE.transcriptions and not heard.frames.size
        assert [group.shape[0] for group in heard.clips] == [MIXTURE.transcriptions]


def test_frames_are_corrupted_and_what_is_learnt_is_not(drawn: list[list[Lesson]]):
    """What the model is to say is the codec's; what it has said is not quite."""
    known = {tuple(frame) for s in spoken() for frame in s.codes.tolist()}
    known.add((END_OF_AUDIO,) * 8)
    for read, answered, _ in drawn:
        for batch in (read.batch, answered.batch):
            assert {tuple(frame) for frame in rows(batch.frame_labels)} <= known
            assert len(batch.frame_labels) == len(batch.frames)
    wrong = [
        frame
        for read, *_ in drawn
        for frame in rows(read.batch.frames)
        if tuple(frame) not in known
    ]
    assert wrong and max(max(frame) for frame in wrong) <= END_OF_AUDIO


def rows(frames: mx.array) -> Sequence[Sequence[int]]:
    return np.array(frames).tolist()


@pytest.fixture(scope="module")
def asked(teacher: Teacher) -> list[tuple[Sentence, Spoken]]:
    draw = random.Random(0)
    return [teacher.question(draw) for _ in range(4000)]


def test_answers_are_in_the_answering_voice(asked: list[tuple[Sentence, Spoken]]):
    assert {answer.voice for _, answer in asked} == {ANSWERING_VOICE}
    assert all(question.answer == answer.text for question, answer in asked)


def test_nothing_held_out_is_asked_or_answered(asked: list[tuple[Sentence, Spoken]]):
    texts = [text for question, _ in asked for text in (question.text, question.answer)]
    assert not any(map(is_held_out, texts))
    assert {question for question, _ in asked} <= set(questions())


def test_questions_without_a_number_are_not_rare(asked: list[tuple[Sentence, Spoken]]):
    """Each of them about once in fifty, however many fillings others have."""
    counts = Counter(question.text for question, _ in asked)
    fixed = [question for question in ANSWERS if "{" not in question]
    assert len(fixed) > 20 and min(counts[question] for question in fixed) > len(asked) / 100


@pytest.mark.parametrize(("text", "least", "most"), [("", 20, 50), ("hello", 0, 0)])
def test_a_recording_without_words_may_be_a_question(
    teacher: Teacher, text: str, least: int, most: int
):
    """About one in three; one with words is only to be written down."""
    draw, mel = random.Random(0), np.zeros((17, 128), np.float32)
    item = Recorded(mel, text, np.full(3, -1, np.int32))
    unanswered = words(teacher.conversations.unanswered(mel))
    found = [words(teacher.hearing(draw, item)) for _ in range(100)]
    assert least <= found.count(unanswered) <= most
    transcribed = words(teacher.conversations.transcription(mel, text))
    assert found.count(transcribed) == 100 - found.count(unanswered)


def words(example: Example) -> list[int]:
    return [i for part in example if isinstance(part.segment, TextIds) for i in part.segment.ids]


def test_words_to_learn_are_of_the_vocabulary(drawn: list[list[Lesson]], tokenizer: Tokenizer):
    for lesson in (lesson for pieces in drawn for lesson in pieces):
        text = tokenizer.decode(np.array(lesson.batch.text_labels).tolist())
        assert set(vocabulary()) >= set(text.split())


def test_a_step_is_the_same_when_drawn_again(teacher: Teacher, drawn: list[list[Lesson]]):
    """Words, codes and what is corrupted; clips but for espeak-ng's memory."""
    again = teacher.lessons(4, MIXTURE, GROUP)
    other = teacher.lessons(6, MIXTURE, GROUP)
    for one, same, different in zip(drawn, again, other, strict=True):
        for name in ("ids", "frames", "frame_labels"):
            assert mx.array_equal(getattr(one[0].batch, name), getattr(same[0].batch, name))
        assert not mx.array_equal(one[0].batch.frame_labels, different[0].batch.frame_labels)
        assert mx.array_equal(one[0].words, same[0].words)
        assert mx.array_equal(one[1].batch.text_labels, same[1].batch.text_labels)


def test_each_frame_to_learn_has_its_word(drawn: list[list[Lesson]]):
    """Side by side: codes and word are of one sentence; the frame that ends it holds none."""
    words = {
        tuple(frame): word
        for s in spoken()
        for frame, word in zip(s.codes.tolist(), s.words.tolist(), strict=True)
    }
    words[(END_OF_AUDIO,) * 8] = 0
    for read, answered, heard in drawn:
        for lesson in (read, answered):
            frames = rows(lesson.batch.frame_labels)
            assert np.array(lesson.words).tolist() == [words[tuple(frame)] for frame in frames]
        assert not heard.words.size


def test_the_encoder_stays_as_it_is(teacher: Teacher, config: ModelConfig, tmp_path: Path):
    """All else learns, in place."""
    mx.random.seed(0)
    model = Lfm2Audio(config)
    initialise(model)
    before = flat(model)
    plan = Plan(1, 1e-3, warmup=1)
    train_language(model, teacher, Weighting((1.0,) * 8), Mixture(1, 1, 1), plan, tmp_path)
    same = {name for name, weight in flat(model).items() if np.array_equal(weight, before[name])}
    assert {name for name in before if name.startswith("conformer.")} <= same
    assert not {name for name in same if not name.startswith("conformer.")}


def flat(model: Lfm2Audio) -> dict[str, np.ndarray]:
    return {name: np.array(weight) for name, weight in tree_flatten(model.parameters())}
