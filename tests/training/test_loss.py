"""The loss and its gradients are the reference's; the rows of `make train-parity` are asserted."""

import json
import math
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

import train_parity
from checkpoints import write_checkpoint
from lfm2audio_mlx.errors import CheckpointError, ConfigError
from lfm2audio_mlx.generation.prompt import AudioCodes, TextIds
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm_train.examples import Part, packed
from lfm_train.loss import Weighting, code_losses, losses, read_weighting
from lfm_train.original import Original, open_original
from train_parity import Row

SUMS = 1e-5
"""Relative: float32 sums over tensors of other shapes."""
BUFFER = 1e-6
"""Relative: weights are stored in float32."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return train_parity.rows(tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module")
def original(originals: dict[str, Path]) -> Original:
    return open_original(originals["v1"])


@pytest.fixture
def config_of(originals: dict[str, Path], tmp_path: Path):
    """Writes a folder with nothing but the configuration of "v1", changed."""

    def write(**changes: object) -> Path:
        data = json.loads((originals["v1"] / "config.json").read_text("utf-8")) | changes
        kept = {key: value for key, value in data.items() if value is not None}
        (tmp_path / "config.json").write_text(json.dumps(kept), "utf-8")
        return tmp_path

    return write


# The reference


@pytest.mark.parametrize("name", ["loss", "text loss", "audio loss"])
def test_losses_equal_the_reference(rows: list[Row], name: str):
    (row,) = (row for row in rows if row.name == name)
    assert row.good, row


def test_every_gradient_equals_the_reference(rows: list[Row]):
    assert len(rows) == 3 + 169
    assert {row.name: row.error for row in rows if not row.good} == {}


def test_a_changed_random_stream_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train_parity, "digest", lambda folder: "other")
    with pytest.raises(CheckpointError, match="other random weights"):
        train_parity.rows(tmp_path)


# What counts how much


def test_the_weights_in_the_file_are_taken(tmp_path: Path):
    """As the reference's buffer is, whatever the configuration says."""
    write_checkpoint("v1", tmp_path, train_parity.DATA / "tokenizer")
    expected = np.linspace(1, 0.01, 8, dtype=np.float32)
    assert read_weighting(tmp_path).codebooks == pytest.approx(expected, rel=BUFFER)


def test_multipliers_are_read_beside_them(tmp_path: Path):
    train_parity.write_original(tmp_path)
    weighting = read_weighting(tmp_path)
    assert (weighting.text, weighting.audio) == (1.5, 0.5)


def test_without_them_they_fall_by_a_ratio(config_of):
    folder = config_of(codebook_weight="log", semantic_codebook_factor=100)
    found = read_weighting(folder).codebooks
    assert len(found) == 8
    assert (found[0], found[-1]) == pytest.approx((100, 1))
    ratios = [later / sooner for sooner, later in pairwise(found)]
    assert ratios == pytest.approx([100 ** (-1 / 7)] * 7)


def test_or_only_the_first_counts_more(config_of):
    folder = config_of(codebook_weight="linear", semantic_codebook_factor=100)
    assert read_weighting(folder) == Weighting((100.0, *[1.0] * 7))


@pytest.mark.parametrize("key", ["codebooks", "semantic_codebook_factor", "codebook_weight"])
def test_a_key_that_is_missing_is_named(config_of, key: str):
    with pytest.raises(ConfigError, match=f"config.json: key '{key}' is missing"):
        read_weighting(config_of(**{key: None}))


def test_an_unknown_kind_is_named(config_of):
    with pytest.raises(ConfigError, match="codebook_weight is 'square'"):
        read_weighting(config_of(codebook_weight="square"))


# What it is made of

WORDS = (200, 201, 202, 203)
FRAMES = tuple((10 * i, *range(i, i + 7)) for i in range(5))
EVEN = Weighting((1.0,) * 8)


def found(model: Lfm2Audio, *examples: list[Part], weighting: Weighting = EVEN):
    return losses(model, packed(examples, 8), weighting)


def said(*segments: TextIds | AudioCodes) -> list[Part]:
    return [Part(TextIds((1, 6))), *(Part(segment, learnt=True) for segment in segments)]


def test_a_word_counts_as_much_as_a_frame(original: Original):
    one = found(original.model, said(TextIds(WORDS), AudioCodes(FRAMES)))
    expected = (4 * one.text + 5 * one.audio) / 9
    assert one.total.item() == pytest.approx(expected.item(), rel=SUMS)


def test_multipliers_change_that(original: Original):
    example = said(TextIds(WORDS), AudioCodes(FRAMES))
    one = found(original.model, example, weighting=Weighting(EVEN.codebooks, 3.0, 0.5))
    expected = (3 * 4 * one.text + 0.5 * 5 * one.audio) / (3 * 4 + 0.5 * 5)
    assert one.total.item() == pytest.approx(expected.item(), rel=SUMS)


def test_a_frame_loses_the_weighted_mean_of_its_codes(original: Original):
    weights = tuple(float(n) for n in range(8, 0, -1))
    one = found(original.model, said(AudioCodes(FRAMES)), weighting=Weighting(weights))
    expected = np.average(np.array(one.codes), weights=weights)
    assert one.audio.item() == pytest.approx(expected, rel=SUMS)


def test_conversations_of_a_batch_do_not_meet(original: Original):
    """The shorter is filled up, which nobody learns."""
    short, long = said(TextIds(WORDS[:2])), said(TextIds(WORDS), AudioCodes(FRAMES))
    both = found(original.model, short, long)
    alone = [found(original.model, example) for example in (short, long)]
    expected = (2 * alone[0].text + 4 * alone[1].text) / 6
    assert both.text.item() == pytest.approx(expected.item(), rel=SUMS)
    assert both.audio.item() == pytest.approx(alone[1].audio.item(), rel=SUMS)


@pytest.mark.parametrize("segment", [TextIds(WORDS), AudioCodes(FRAMES)])
def test_words_or_frames_alone_lose_a_number(original: Original, segment):
    one = found(original.model, said(segment))
    kinds = (one.text, one.audio) if isinstance(segment, TextIds) else (one.audio, one.text)
    assert one.total.item() == pytest.approx(kinds[0].item(), rel=SUMS)
    assert np.array(kinds[0]) > 0 and np.array(kinds[1]) == 0


def test_a_code_is_told_of_those_before_it_only(original: Original):
    """Teacher forcing: another code changes its own cross-entropy and those after it."""
    states = mx.random.normal((1, original.config.lfm.hidden_size), key=mx.random.key(0))
    codes = mx.array([FRAMES[0]])
    other = mx.array([[*FRAMES[0][:4], 99, *FRAMES[0][5:]]])
    before, after = (code_losses(original.model.depthformer, states, c)[0] for c in (codes, other))
    same = [bool(value) for value in np.equal(np.array(before), np.array(after))]
    assert same == [True] * 4 + [False] * 4


def test_codes_are_likely_where_the_model_chooses_them(original: Original):
    """The frame that generation gives is likelier than what random codes lose on average."""
    states = mx.random.normal((6, original.config.lfm.hidden_size), key=mx.random.key(0))
    chosen = original.model.depthformer(states)
    other = mx.random.randint(0, 2048, chosen.shape, key=mx.random.key(1))
    lost, more = (
        np.array(code_losses(original.model.depthformer, states, codes)).mean()
        for codes in (chosen, other)
    )
    assert lost < math.log(2049) and lost < more
