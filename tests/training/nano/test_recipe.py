"""The recipe of the embedded checkpoint, whole, in a few steps: what comes out is a checkpoint that
hears, speaks and answers, if only noise, and that a second run finds done."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.sampling import GREEDY
from lfm2audio_mlx.weights import load, open_tensors
from lfm_train.nano import progress, spoken
from lfm_train.nano.check import Examination
from lfm_train.nano.codec import Plans
from lfm_train.nano.espeak import Espeak
from lfm_train.nano.grammar import questions
from lfm_train.nano.hearing import Listener
from lfm_train.nano.language import Mixture
from lfm_train.nano.recipe import NANO, design, make_nano
from lfm_train.original import open_original
from lfm_train.training import Plan

SPEECH = Path(__file__).parents[2] / "data" / "speech"
FEW = Plan(2, 1e-3, group=2, save_every=1)
SMALL = replace(
    NANO,
    encoder=FEW,
    encoder_batch=2,
    codec=Plans(FEW, FEW, FEW),
    codec_batch=2,
    texts=1,
    language=FEW,
    mixture=Mixture(1, 1, 1),
    listening=(FEW, FEW),
    listening_batch=2,
)


@pytest.fixture(scope="module")
def made(espeak: Espeak, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`espeak` is asked for so that this is passed over where nobody speaks."""
    few = list(questions())[:2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spoken, "questions", lambda: iter(few))
        return make_nano(SMALL, tmp_path_factory.mktemp("nano")).parent


def test_it_hears_speaks_and_answers(made: Path):
    engine = Engine.load(made / "nano")
    engine.hear(SPEECH / "light.flac")
    for voice in engine.voices:
        list(engine.say("one", voice=voice, sampling=GREEDY, max_tokens=4))
    list(engine.chat().reply("hello", max_tokens=4))
    assert set(engine.voices) == {"us-male", "uk-female"}


def test_what_is_shipped_is_there_in_the_original_layout_too(made: Path):
    shipped = load(made / "nano", "float32", unpack=True).model
    unpacked = open_original(made / "rounded").model
    codes = mx.arange(8 * 3).reshape(3, 8)
    assert mx.array_equal(shipped.embed_codes(codes), unpacked.embed_codes(codes))
    whole = open_original(made / "original").model
    assert not mx.array_equal(whole.embed_codes(codes), unpacked.embed_codes(codes))


def test_codes_that_no_one_uses_share_a_row(made: Path):
    model = open_original(made / "original").model
    table = np.array(model.audio_embedding.weight).reshape(8, 2049, -1)
    assert np.array_equal(table[:, 512:2048], np.broadcast_to(table[:, 512:513], (8, 1536, 192)))
    assert not np.array_equal(table[0, 510], table[0, 511])
    assert not np.array_equal(table[0, 2047], table[0, 2048])


def test_the_encoder_is_the_one_that_was_trained(made: Path):
    """Its norms' statistics are the first training's, its weights the mean of the last rounds'."""
    first, one, two = (
        open_tensors(made / stage / "state-2.safetensors")
        for stage in ("encoder", "listening/round-1", "listening/round-2")
    )
    layer = open_original(made / "original").model.conformer.layers[0].conv
    name = "conformer.layers.0.conv"
    seen = layer.batch_norm.running_mean
    assert mx.array_equal(first[f"model.{name}.batch_norm.running_mean"], seen)
    kernel = layer.depthwise_conv.weight
    end, other = (state[f"model.model.{name}.depthwise_conv.weight"] for state in (one, two))
    assert not mx.array_equal(end, other)
    assert mx.array_equal((end + other) / 2, kernel)


def test_codes_stay_as_they_are_while_the_decoder_learns(made: Path):
    before, after = (
        open_tensors(made / "codec" / stage / "state-2.safetensors")
        for stage in ("quantised", "decoder")
    )
    changed = {
        name.split(".")[1]
        for name, tensor in before.items()
        if name.startswith("model.") and not mx.array_equal(tensor, after[name])
    }
    assert changed == {"decode"}


def test_the_design_is_what_is_shipped_but_for_its_codec_context():
    ours, theirs = design(), json.loads((EMBEDDED / "config.json").read_text("utf-8"))
    assert ours.lfm.hidden_size == theirs["lfm"]["hidden_size"]
    assert ours.codebook_size == theirs["codebook_size"]
    assert ours.prompts.voices == theirs["prompts"]["voices"]


def test_who_knows_nothing_has_no_good_figure(made: Path):
    """But for silence, in which there is nothing to know."""
    examination = Examination(made / "nano", 1, 1)
    parts = [part for part in examination.parts if part.args]  # not the written questions, the size
    assert parts[0].args[0] == "trained voices"
    (errors,) = parts[0]()
    assert errors.value >= 0.9 and not errors.good
    answers = [figure for part in parts if "questions" in part.args[0] for figure in part()]
    assert [answer.value for answer in answers] == [0] * 4


def test_a_second_run_finds_all_done(made: Path):
    def kept() -> dict[Path, int]:
        found = [*made.rglob("state-*"), made / "spoken.npz"]
        return {path: path.stat().st_mtime_ns for path in found}

    before, weights = kept(), (made / "nano" / "model.safetensors").read_bytes()
    assert len(before) > 5
    assert make_nano(SMALL, made) == made / "nano"
    assert kept() == before
    assert (made / "nano" / "model.safetensors").read_bytes() == weights


def test_what_was_begun_with_another_recipe_is_not_gone_on_with(made: Path):
    with pytest.raises(RequestError, match="another recipe"):
        make_nano(replace(SMALL, texts=2), made)


def test_a_folder_with_other_things_is_left_alone(espeak: Espeak, tmp_path: Path):
    other = tmp_path / "nano" / "model.safetensors"
    other.parent.mkdir()
    other.touch()
    for folder in (tmp_path, other):
        with pytest.raises(RequestError, match="is not empty"):
            make_nano(SMALL, folder)
    assert list(tmp_path.rglob("*")) == [other.parent, other]


def test_where_nothing_is_trained_there_is_no_progress(listener: Listener, tmp_path: Path):
    for measure in (progress.encoder_errors, progress.codec_errors):
        with pytest.raises(RequestError, match=f"{tmp_path} has no .* yet"):
            next(measure(tmp_path, listener))


def test_progress_measures_both_parts(
    made: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
):
    """After two steps nothing is understood, but for the voices as they were."""
    monkeypatch.setattr(progress, "SENTENCES", 1)
    encoder = dict(progress.encoder_errors(made, listener))
    assert len(encoder) == 3 and all(name.startswith("encoder at step 2") for name in encoder)
    codec = dict(progress.codec_errors(made, listener))
    assert sorted(codec) == [
        "uk-female, codec at step 2",
        "uk-female, original",
        "us-male, codec at step 2",
        "us-male, original",
    ]
    assert codec["us-male, original"] < codec["us-male, codec at step 2"]


def test_ctrl_c_stops_both_parts(
    espeak: Espeak, interrupted: Callable[..., tuple[int, list[str]]], tmp_path: Path
):
    folder = tmp_path / "nano"

    def ready(pid: int) -> bool:
        return all((folder / part / "losses.csv").exists() for part in ("encoder", "codec/plain"))

    last = f"nano: stopped; the same command goes on from {folder}"
    assert interrupted("lfm_train.nano", folder, ready=ready) == (130, ["", last])
