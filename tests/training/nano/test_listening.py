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
from lfm_train.nano.grammar import CLASSES, vocabulary
from lfm_train.nano.hearing import Listener, Recorded
from lfm_train.nano.listening import Clip, Examiner, train_listening
from lfm_train.training import Plan

SIZE, GROUP = 6, 2
MEL = np.zeros((17, 128), np.float32)


@pytest.fixture(scope="module")
def examiner(config: ModelConfig, tokenizer: Tokenizer, listener: Listener) -> Examiner:
    """`listener` is asked for so that this is passed over where nobody speaks."""
    return Examiner(config, tokenizer)


@pytest.fixture(scope="module")
def drawn(examiner: Examiner) -> list[list[Clip]]:
    return examiner.clips(4, SIZE, GROUP)


def words(example: Example) -> list[int]:
    return [i for part in example if isinstance(part.segment, TextIds) for i in part.segment.ids]


def test_each_step_is_two_halves_each_of_one_length(drawn: list[list[Clip]]):
    assert [len(halves) for halves in drawn] == [2] * GROUP
    for clip in (clip for halves in drawn for clip in halves):
        (mels,) = clip.batch.clips
        assert len(mels) == len(clip.batch.order) == SIZE // 2
        assert clip.words.shape == (SIZE // 2, -(-mels.shape[1] // 8))
        assert not clip.batch.frames.size and clip.batch.text_at.size


def test_words_to_learn_are_those_in_the_sound(drawn: list[list[Clip]], tokenizer: Tokenizer):
    """The classes of positions are of words that are also written down, or of none."""
    for clip in (clip for halves in drawn for clip in halves):
        text = tokenizer.decode(np.array(clip.batch.text_labels).tolist()).split()
        assert set(vocabulary()) >= set(text)
        found = set(np.array(clip.words).ravel().tolist())
        assert found <= {-1, 0, *CLASSES.values()}


@pytest.mark.parametrize(
    ("text", "answer", "least", "most"),
    [("stop the timer", "stopping the timer", 25, 55), ("stopping the timer", "", 0, 0)],
)
def test_a_question_may_be_answered(
    examiner: Examiner, text: str, answer: str, least: int, most: int
):
    """Two in five; all else is written down."""
    draw, item = random.Random(0), Recorded(MEL, text, np.full(3, -1, np.int32))
    found = [words(examiner.said(item, draw)) for _ in range(100)]
    answered = words(examiner.conversations.dialogue(MEL, answer, ()))
    assert least <= found.count(answered) <= most
    written = words(examiner.conversations.transcription(MEL, text))
    assert found.count(written) == 100 - found.count(answered)


def test_what_has_no_words_is_no_question(examiner: Examiner):
    draw, item = random.Random(0), Recorded(MEL, "", np.full(3, -1, np.int32))
    found = [words(examiner.said(item, draw)) for _ in range(100)]
    unanswered = words(examiner.conversations.unanswered(MEL))
    assert 20 <= found.count(unanswered) <= 50
    nothing = words(examiner.conversations.transcription(MEL, ""))
    assert found.count(nothing) == 100 - found.count(unanswered)


def test_encoder_and_adapter_learn_and_nothing_else(
    examiner: Examiner, config: ModelConfig, tmp_path: Path
):
    """What the encoder's norms have seen stays, too: their scales and shifts learn."""
    mx.random.seed(0)
    model = Lfm2Audio(config)
    initialise(model)
    before = flat(model)
    train_listening(model, examiner, 2, Plan(1, 1e-3, warmup=1), tmp_path)
    changed = {n for n, weight in flat(model).items() if not np.array_equal(weight, before[n])}
    hearing = {n for n in before if n.startswith(("conformer.", "audio_adapter."))}
    assert changed == {n for n in hearing if ".running_" not in n}


def flat(model: Lfm2Audio) -> dict[str, np.ndarray]:
    return {name: np.array(weight) for name, weight in tree_flatten(model.parameters())}
