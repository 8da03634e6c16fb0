"""A step of the language model's training: three pieces, drawn from its number."""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.tokens import END_OF_AUDIO
from lfm_train.examples import Batch
from lfm_train.nano.grammar import is_held_out, questions, vocabulary
from lfm_train.nano.hearing import Listener
from lfm_train.nano.language import ANSWERING_VOICE, Lesson, Mixture, Teacher
from lfm_train.nano.spoken import Spoken
from lfm_train.nano.voices import SPEAKERS

MIXTURE = Mixture(transcriptions=3, readings=2, dialogues=4)
GROUP = 2
WORDS = np.array([3, 3, 5, -1, 5, 0], np.int16)


def spoken() -> list[Spoken]:
    """Every answer in every voice, in six frames of its own."""
    texts = dict.fromkeys(question.answer for question in questions())
    draw = np.random.default_rng(0)
    return [
        Spoken(text, voice, draw.integers(0, 512, (6, 8)).astype(np.uint16), WORDS)
        for text in texts
        for voice in SPEAKERS
    ]


@pytest.fixture(scope="module")
def teacher(config: ModelConfig, tokenizer: Tokenizer, listener: Listener) -> Teacher:
    """`listener` is asked for so that this is passed over where nobody speaks."""
    return Teacher(config, tokenizer, spoken())


@pytest.fixture(scope="module")
def lessons(teacher: Teacher) -> list[list[Lesson]]:
    return teacher.lessons(4, MIXTURE, GROUP)


@pytest.fixture(scope="module")
def drawn(lessons: list[list[Lesson]]) -> list[list[Batch]]:
    return [[lesson.batch for lesson in pieces] for pieces in lessons]


def test_each_step_is_three_pieces(drawn: list[list[Batch]]):
    assert [len(pieces) for pieces in drawn] == [3] * GROUP
    for read, answered, heard in drawn:
        assert len(read.order) == MIXTURE.readings and not read.clips
        assert len(answered.order) == MIXTURE.dialogues and len(answered.clips) <= 1
        assert len(heard.order) == MIXTURE.transcriptions and not heard.frames.size
        assert [group.shape[0] for group in heard.clips] == [MIXTURE.transcriptions]


def test_frames_are_corrupted_and_what_is_learnt_is_not(drawn: list[list[Batch]]):
    """What the model is to say is the codec's; what it has said is not quite."""
    known = {tuple(frame) for s in spoken() for frame in s.codes.tolist()}
    known.add((END_OF_AUDIO,) * 8)
    for read, answered, _ in drawn:
        for batch in (read, answered):
            assert {tuple(frame) for frame in rows(batch.frame_labels)} <= known
            assert len(batch.frame_labels) == len(batch.frames)
    wrong = [
        frame for read, *_ in drawn for frame in rows(read.frames) if tuple(frame) not in known
    ]
    assert wrong and max(max(frame) for frame in wrong) <= END_OF_AUDIO


def rows(frames: mx.array) -> Sequence[Sequence[int]]:
    return np.array(frames).tolist()


def test_answers_are_in_the_answering_voice(teacher: Teacher):
    assert {answer.voice for _, answer in teacher.questions} == {ANSWERING_VOICE}
    assert all(question.answer == answer.text for question, answer in teacher.questions)
    assert len(teacher.questions) == len(list(questions()))


def test_nothing_held_out_is_asked_or_answered(teacher: Teacher):
    texts = [text for q, _ in teacher.questions for text in (q.text, q.answer)]
    assert not any(map(is_held_out, texts))


def test_words_to_learn_are_of_the_vocabulary(drawn: list[list[Batch]], tokenizer: Tokenizer):
    for batch in (batch for pieces in drawn for batch in pieces):
        text = tokenizer.decode(np.array(batch.text_labels).tolist())
        assert set(vocabulary()) >= set(text.split())


def test_a_step_is_the_same_when_drawn_again(teacher: Teacher, drawn: list[list[Batch]]):
    """Words, codes and what is corrupted; clips but for espeak-ng's memory."""
    again = teacher.lessons(4, MIXTURE, GROUP)
    other = teacher.lessons(6, MIXTURE, GROUP)
    for one, same, different in zip(drawn, again, other, strict=True):
        for name in ("ids", "frames", "frame_labels"):
            assert mx.array_equal(getattr(one[0], name), getattr(same[0].batch, name))
        assert not mx.array_equal(one[0].frames, different[0].batch.frames)
        assert mx.array_equal(one[1].text_labels, same[1].batch.text_labels)


def test_the_word_of_each_frame_that_is_learnt_is_told(lessons: list[list[Lesson]]):
    """None in the frame that ends a speech."""
    for read, answered, heard in lessons:
        for lesson in (read, answered):
            speeches = len(lesson.batch.order)
            assert np.array(lesson.words).tolist() == [*WORDS, 0] * speeches
            assert len(lesson.words) == len(lesson.batch.frame_labels)
        assert not heard.words.size
