"""The encoder's last training: what is heard and what is said to it, and who learns of it."""

import random
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.generation.prompt import TextIds
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_train.examples import Example
from lfm_train.initial import initialise
from lfm_train.nano.conversations import Exchange
from lfm_train.nano.grammar import CLASSES, vocabulary
from lfm_train.nano.hearing import Listener, Recorded
from lfm_train.nano.language import Lesson
from lfm_train.nano.listening import Dictation, train_listening
from lfm_train.training import Plan

SIZE, GROUP = 6, 2
MEL = np.zeros((17, 128), np.float32)


@pytest.fixture(scope="module")
def dictation(config: ModelConfig, tokenizer: Tokenizer, listener: Listener) -> Dictation:
    """`listener` is asked for so that this is passed over where nobody speaks."""
    return Dictation(config, tokenizer)


@pytest.fixture(scope="module")
def drawn(dictation: Dictation) -> list[list[Lesson]]:
    return dictation.lessons(4, SIZE, GROUP)


def words(example: Example) -> list[int]:
    return [i for part in example if isinstance(part.segment, TextIds) for i in part.segment.ids]


def test_each_step_is_two_halves_each_of_one_length(drawn: list[list[Lesson]]):
    assert [len(halves) for halves in drawn] == [2] * GROUP
    for lesson in (lesson for halves in drawn for lesson in halves):
        (mels,) = lesson.batch.clips
        assert len(mels) == len(lesson.batch.order) == SIZE // 2
        assert lesson.words.shape == (SIZE // 2, -(-mels.shape[1] // 8))
        assert not lesson.batch.frames.size and lesson.batch.text_at.size


def test_words_to_learn_are_those_in_the_sound(drawn: list[list[Lesson]], tokenizer: Tokenizer):
    """The classes of positions are of words that are also written down, or of none."""
    for lesson in (lesson for halves in drawn for lesson in halves):
        text = tokenizer.decode(np.array(lesson.batch.text_labels).tolist()).split()
        assert set(vocabulary()) >= set(text)
        found = set(np.array(lesson.words).ravel().tolist())
        assert found <= {-1, 0, *CLASSES.values()}


@pytest.mark.parametrize(
    ("text", "answer", "least", "most"),
    [("stop the timer", "stopping the timer", 55, 85), ("stopping the timer", "", 0, 0)],
)
def test_a_question_may_be_answered(
    dictation: Dictation, text: str, answer: str, least: int, most: int
):
    """Seven in ten; all else is written down."""
    draw, item = random.Random(0), Recorded(MEL, text, np.full(3, -1, np.int32))
    found = [words(dictation.said(item, draw)) for _ in range(100)]
    answered = words(dictation.conversations.dialogue([Exchange(MEL, answer)]))
    assert least <= found.count(answered) <= most
    written = words(dictation.conversations.transcription(MEL, text))
    assert found.count(written) == 100 - found.count(answered)


def test_what_has_no_words_is_no_question(dictation: Dictation):
    draw, item = random.Random(0), Recorded(MEL, "", np.full(3, -1, np.int32))
    found = [words(dictation.said(item, draw)) for _ in range(100)]
    unanswered = words(dictation.conversations.unanswered(MEL))
    assert 20 <= found.count(unanswered) <= 50
    nothing = words(dictation.conversations.transcription(MEL, ""))
    assert found.count(nothing) == 100 - found.count(unanswered)


def test_encoder_and_adapter_learn_and_nothing_else(
    dictation: Dictation, config: ModelConfig, tmp_path: Path
):
    """What the encoder's norms have seen stays, too: their scales and shifts learn."""
    mx.random.seed(0)
    model = Lfm2Audio(config)
    initialise(model)
    before = flat(model)
    train_listening(model, dictation, 2, (Plan(1, 1e-3, warmup=1),), tmp_path)
    changed = {n for n, weight in flat(model).items() if not np.array_equal(weight, before[n])}
    hearing = {n for n in before if n.startswith(("conformer.", "audio_adapter."))}
    assert changed == {n for n in hearing if ".running_" not in n}


def flat(model: Lfm2Audio) -> dict[str, np.ndarray]:
    return {name: np.array(weight) for name, weight in tree_flatten(model.parameters())}
