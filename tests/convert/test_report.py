"""What a report says: every part below plain rounding, calibration that helps, words that hold."""

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm2audio_mlx.config import read_config
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import AudioError, RequestError
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.weights import build
from lfm_convert.calibrate import full_precision, measure_importance, recordings_in
from lfm_convert.convert import LayerReport, convert
from lfm_convert.recipes import RECIPES
from lfm_convert.report import compare_models, parts_of, word_errors

words = st.lists(st.sampled_from("abc"), max_size=6).map(" ".join)


@pytest.fixture(scope="module")
def recordings(transcripts: dict[Path, str]) -> list[Path]:
    return sorted(transcripts)[::6]


@pytest.fixture(scope="module")
def importance(unrounded: Path, recordings: list[Path]) -> dict[str, mx.array]:
    return measure_importance(unrounded, None, recordings)


@pytest.mark.parametrize("recipe", ["4bit", "8bit"])
def test_every_quantised_part_is_below_plain_rounding(unrounded: Path, tmp_path: Path, recipe: str):
    layers: list[LayerReport] = []
    convert(unrounded, tmp_path / "a", recipe, report=layers.append)
    parts = parts_of(layers, recipe)
    assert {part.name for part in parts} == {part.name for part in RECIPES[recipe].parts}
    for part in parts:
        assert part.error < part.plain_error, part


def test_every_linear_layer_is_measured(importance: dict[str, mx.array]):
    layers = {
        f"{part}.{path}"
        for part in ("model", "mimi")
        for path, layer in build(read_config(EMBEDDED), part).named_modules()
        if isinstance(layer, nn.Linear | nn.Embedding)
    }
    # The last codebook's table and the audio embedding are only looked up; a text head is not.
    assert layers - importance.keys() == {"model.audio_embedding"}
    assert all((values >= 0).all().item() for values in importance.values())


def test_watching_leaves_no_trace(importance: dict[str, mx.array], nano: Engine):
    assert importance
    before = nano.model.text_logits(mx.ones((1, 192)))
    assert np.isfinite(before).all()
    assert nano.model.lfm.layers[0].feed_forward.w2.__class__.__call__.__module__.startswith("mlx")


def test_calibration_and_quality(
    unrounded: Path, tmp_path: Path, importance: dict[str, mx.array], recordings: list[Path]
):
    """The gate of the default recipe: at most 1 % word errors against full precision."""
    target = convert(unrounded, tmp_path / "a", "4bit", importance=importance)
    report = compare_models(unrounded, target, None, recordings)
    assert report.recordings == len(recordings)
    assert report.word_error <= 0.01
    # Measured 0.0005 nats on all 30.
    assert 0 < report.divergence < 0.01


@pytest.mark.parametrize("recipe", ["4bit", "8bit"])
def test_shipped_recipes_keep_the_words(
    unrounded: Path, tmp_path: Path, transcripts: dict[Path, str], recipe: str
):
    """All 30 recordings, against float32 and not against what was said."""
    exact = Engine.load(unrounded)
    engine = Engine.load(convert(unrounded, tmp_path / "a", recipe))
    errors = total = 0
    for path in transcripts:
        expected = exact.transcribe(path).text
        errors += word_errors(expected, engine.transcribe(path).text)
        total += len(expected.split())
    assert errors / total <= 0.01


def test_a_model_beside_itself_is_no_different(
    unrounded: Path, recordings: list[Path], tmp_path: Path
):
    target = convert(unrounded, tmp_path / "a", "f32")
    report = compare_models(unrounded, target, None, recordings[:2])
    assert (report.changed, report.word_error) == (0, 0.0)
    assert report.divergence == pytest.approx(0.0, abs=1e-5)


def test_full_precision_runs_without_being_converted(originals: dict[str, Path]):
    engine = full_precision(originals["v25"], None)
    assert engine.dtype == mx.float32


def test_a_calibration_folder_must_hold_sound(tmp_path: Path):
    with pytest.raises(RequestError, match="not a folder"):
        recordings_in(tmp_path / "no")
    with pytest.raises(RequestError, match="no sound files"):
        recordings_in(tmp_path)
    (tmp_path / "bad.wav").write_text("not a sound", "utf-8")
    with pytest.raises(AudioError, match=r"bad\.wav"):
        recordings_in(tmp_path)


@given(words, words, words)
def test_word_errors_are_a_distance(a: str, b: str, c: str):
    assert word_errors(a, a) == 0
    assert word_errors(a, b) == word_errors(b, a)
    assert word_errors(a, c) <= word_errors(a, b) + word_errors(b, c)
    assert word_errors(a, b) <= max(len(a.split()), len(b.split()))
    assert word_errors("", b) == len(b.split())
