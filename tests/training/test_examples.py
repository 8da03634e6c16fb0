"""What a batch embeds is what the product embeds for each conversation; labels are in their
places; answers are interleaved as the product would ask for them."""

from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import train_parity
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.generation.prompt import AudioClip, AudioCodes, Segment, TextIds, embed, length
from lfm2audio_mlx.generation.schedules import Interleaved
from lfm2audio_mlx.tokens import END_OF_AUDIO, Modality, SpecialTokens
from lfm_convert.golden import read_arrays
from lfm_train.examples import Batch, Example, Part, interleaved, packed
from lfm_train.loss import _embedded
from lfm_train.original import open_original

TOLERANCE = 1e-5
"""Relative to the largest: clips of a length are encoded together, sums over other shapes."""

CODEBOOKS = 8
SPECIAL = SpecialTokens(1, 6, 7, 128, 130)


def clip(frames: int, seed: int = 0) -> AudioClip:
    mel = np.random.default_rng(frames + 1000 * seed).standard_normal((frames, 128))
    return AudioClip(mx.array(mel.astype(np.float32)), -(-frames // 8))


texts = st.lists(st.integers(0, 1023), min_size=1, max_size=9).map(tuple).map(TextIds)
frames = st.tuples(*[st.integers(0, END_OF_AUDIO)] * CODEBOOKS)
codes = st.lists(frames, min_size=1, max_size=5).map(tuple).map(AudioCodes)
clips = st.builds(clip, st.sampled_from([9, 16, 17, 33]), st.integers(0, 3))
parts = st.builds(Part, texts | codes, st.booleans()) | st.builds(Part, clips)
conversations = st.lists(parts, max_size=5).map(lambda more: [Part(TextIds((1,))), *more])


def segments(example: Example) -> list[Segment]:
    return [part.segment for part in example]


# Embedding


@given(st.lists(conversations, min_size=1, max_size=4))
@settings(max_examples=25)
def check_embedding(model, examples: list[Example]):
    batch = packed(examples, CODEBOOKS)
    together = np.array(_embedded(model, batch))
    assert together.shape[:2] == (len(examples), max(length(segments(e)) for e in examples))
    for row, example in zip(together, examples, strict=True):
        alone = np.array(embed(model, segments(example)))[0]
        difference = np.abs(row[: len(alone)] - alone).max()
        assert difference <= TOLERANCE * np.abs(alone).max()


def test_a_batch_embeds_what_the_product_does(engines: dict[str, Engine]):
    check_embedding(engines["v1"].model)


def test_clips_of_a_length_are_encoded_together():
    batch = packed([[Part(clip(9)), Part(clip(17))], [Part(clip(9, 1)), Part(TextIds((1,)))]], 8)
    assert [group.shape for group in batch.clips] == [(2, 9, 128), (1, 17, 128)]


def test_positions_are_the_reference_s(tmp_path: Path):
    """Words, sound and frames stand where its own data preparation puts them."""
    train_parity.write_original(tmp_path / "v1")
    examples = train_parity.examples(open_original(tmp_path / "v1"))
    order = read_arrays(train_parity.DATA / "goldens" / "training.safetensors")["order"]
    batch = packed(examples, CODEBOOKS)
    assert batch.order.shape == order.shape
    for row, kinds, example in zip(np.array(batch.order), order, examples, strict=True):
        size = length(segments(example))
        found = [kind_of(batch, at) for at in row[:size]]
        assert np.array_equal(found, kinds[:size])


def kind_of(batch: Batch, row: int) -> Modality:
    """What a row of what is embedded holds."""
    if row < batch.ids.size:
        return Modality.TEXT
    return Modality.AUDIO_OUT if row < batch.ids.size + len(batch.frames) else Modality.AUDIO_IN


# Labels


def learnt(examples: Sequence[Example], kind: type) -> list[tuple[int, int, object]]:
    """Conversation, place, and the word or frame of everything there that is to be learnt."""
    found: list[tuple[int, int, object]] = []
    for number, example in enumerate(examples):
        place = 0
        for part in example:
            match part.segment:
                case TextIds(items) | AudioCodes(items):
                    if part.learnt and isinstance(part.segment, kind):
                        found += [(number, place + i, item) for i, item in enumerate(items)]
            place += length([part.segment])
    return found


@given(st.lists(conversations, min_size=1, max_size=4))
def test_labels_stand_after_their_places(examples: list[Example]):
    batch = packed(examples, CODEBOOKS)
    width = batch.order.shape[1]
    for kind, at, labels in (
        (TextIds, batch.text_at, batch.text_labels),
        (AudioCodes, batch.frame_at, batch.frame_labels),
    ):
        expected = learnt(examples, kind)
        assert at.tolist() == [number * width + place - 1 for number, place, _ in expected]
        items = [item if isinstance(item, int) else list(item) for _, _, item in expected]  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
        assert labels.tolist() == items


def test_a_conversation_s_first_word_cannot_be_learnt():
    """Nothing comes before it; in a batch that would be another's end."""
    batch = packed([[Part(TextIds((5, 6, 7)), learnt=True)] for _ in range(2)], CODEBOOKS)
    assert batch.text_at.tolist() == [0, 1, 3, 4]
    assert batch.text_labels.tolist() == [6, 7, 6, 7]


# Interleaving


def flat(parts: list[Part]) -> list[int | tuple[int, ...]]:
    assert all(part.learnt for part in parts)
    found: list[int | tuple[int, ...]] = []
    for part in parts:
        match part.segment:
            case TextIds(items) | AudioCodes(items):
                found += items
    return found


def played(words: list[int], sounds: list[tuple[int, ...]], n_text: int, n_audio: int):
    """What the product's schedule asks for, given these words and frames, until one it asks for is
    used up."""
    schedule, left = Interleaved(n_text, n_audio), (list(words), list(sounds))
    now, order = Modality.TEXT, list[int | tuple[int, ...]]()
    while left[0] if now is Modality.TEXT else left[1]:
        if now is Modality.TEXT:
            order.append(word := left[0].pop(0))
            now = schedule.after_text(word, SPECIAL)
        else:
            order.append(frame := left[1].pop(0))
            now = schedule.after_audio(frame[0] == END_OF_AUDIO)
    return order


@st.composite
def answers(draw: st.DrawFn):
    """Words with their end and frames with theirs, how many of each in turn, and a voice that goes
    on when the last word is there, as voices do."""
    n_text, n_audio = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    words = [*range(200, 200 + draw(st.integers(0, 20))), SPECIAL.text_end]
    before = (len(words) - 1) // n_text * n_audio
    count = before + draw(st.integers(0, 20))
    sounds = [(i,) * CODEBOOKS for i in range(count)]
    return words, [*sounds, (END_OF_AUDIO,) * CODEBOOKS], n_text, n_audio


@given(answers())
def test_answers_stand_as_the_product_asks_for_them(answer):
    assert flat(interleaved(*answer)) == played(*answer)


def test_the_counts_of_the_checkpoint_are_kept():
    words, sounds = list(range(200, 208)), [(i,) * CODEBOOKS for i in range(30)]
    sizes = [length([part.segment]) for part in interleaved(words, sounds, 6, 12)]
    assert sizes == [6, 12, 2, 18]


def test_a_voice_that_ends_first_leaves_the_words():
    """All of them, without gaps."""
    words, sounds = list(range(200, 215)), [(1,) * CODEBOOKS, (END_OF_AUDIO,) * CODEBOOKS]
    found = flat(interleaved(words, sounds, 6, 12))
    assert found == [*words[:6], *sounds, *words[6:]]


@pytest.mark.parametrize("count", [0, 1, 13])
def test_nothing_is_lost(count: int):
    words, sounds = list(range(200, 200 + count)), [(i,) * CODEBOOKS for i in range(40)]
    found = flat(interleaved(words, sounds, 6, 12))
    assert [item for item in found if isinstance(item, int)] == words
    assert [item for item in found if not isinstance(item, int)] == sounds
