"""Whole steps of the model with every kernel forced, beside the same steps without any.

In float32 and of equal weights, so that what is chosen is equal and not close.
"""

from collections import Counter

import mlx.core as mx
import numpy as np
import pytest

from harness import Machine
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.prompt import TextIds
from lfm2audio_mlx.generation.steps import Steps
from lfm2audio_mlx.kernels.metal import launching
from lfm2audio_mlx.models.lfm2 import Lfm2State
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.sampling import GREEDY, Sampling
from lfm2audio_mlx.tokens import Modality
from small import packed_model, small_config
from small_kernels import needs_compiler

pytestmark = needs_compiler
TOLERANCE = 2e-5
"""Relative, in float32: sums in another order, through some layers."""


@pytest.fixture(scope="module")
def model(nano: Engine) -> Lfm2Audio:
    return packed_model(small_config(nano.config), mx.float32)


def differs(ours: mx.array, wanted: mx.array) -> float:
    one, other = np.array(ours), np.array(wanted)
    return float(np.abs(one - other).max() / np.abs(other).max())


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(1.0, 4), Sampling(0.8, 64)])
def test_a_depth_frame(model: Lfm2Audio, sampling: Sampling):
    steps, key = Steps(model), mx.random.key(5)
    hidden = mx.random.normal((1, 256), key=mx.random.key(1))
    machine = Machine(0)
    with launching(machine):
        ours = steps.frame(hidden, sampling, key)
        mx.eval(ours)
    assert np.array_equal(ours, steps.frame(hidden, sampling, key))
    layers, codebooks = 2, 8
    assert Counter(machine.launches) == {
        "norm_project": codebooks * (layers + 1),
        "depth_attention": codebooks * layers,
        "project_add": 2 * codebooks * layers,
        "norm_swiglu": codebooks * layers,
        "sample_and_embed": codebooks - 1,
        "sample_top_k": 1,
    }
    assert machine.copies == 0


@pytest.mark.parametrize("said", ["word", "frame"])
def test_a_backbone_step(model: Lfm2Audio, said: str):
    modality = Modality.TEXT if said == "word" else Modality.AUDIO_OUT
    drawn = mx.array([7]) if said == "word" else mx.arange(8)[None] * 200
    machine = Machine(0)

    def steps(after: int) -> list[mx.array]:
        """Hidden states of a prompt of 9 positions and of some steps after it."""
        cursor = Cursor(1000, pending=[TextIds((1, 2, 3, 4, 5, 6, 7, 8, 9))])
        found = [cursor.advance(model)]
        found += [cursor.step_ahead(Steps(model), modality, drawn) for _ in range(after)]
        mx.eval(found)
        return found

    with launching(machine):
        ours = steps(after=3)
    for one, other in zip(ours, steps(after=3), strict=True):
        assert differs(one, other) < TOLERANCE
    launched = Counter(machine.launches)
    layers, attention = 4, 2
    assert launched["norm_project"] == launched["norm_swiglu"] == 3 * layers
    assert launched["project_add"] == 3 * 2 * layers
    assert launched["qk_norm_rope"] == 4 * attention
    assert launched["embed_rows"] == 4
    assert launched["short_conv"] == layers - attention  # of the prompt
    assert machine.copies == 0


def test_rows_of_a_batch(model: Lfm2Audio):
    """Three texts at once, each where it is."""
    steps = Steps(model)
    prompt = Lfm2State((None,) * 4, 0)
    x = model.embed_text(mx.array([[1, 2, 3]] * 3))
    _, state = model.lfm(x, prompt)
    words, offsets = mx.array([4, 5, 6]), mx.array([3, 2, 1])
    machine = Machine(1)
    with launching(machine):
        ours, _ = steps.rows(words, state.layers, offsets)
        mx.eval(ours)
    assert differs(ours, steps.rows(words, state.layers, offsets)[0]) < TOLERANCE
    assert machine.copies == 0


@pytest.mark.parametrize("frames", [16, 150])
def test_a_clip_is_heard(model: Lfm2Audio, frames: int):
    """Of 2 positions and of 19: layers with biases are for neither kernel of projections."""
    features = mx.random.normal((1, frames, 128), key=mx.random.key(3))
    machine = Machine(0)
    with launching(machine):
        ours = model.embed_audio(features)
        mx.eval(ours)
    assert differs(ours, model.embed_audio(features)) < TOLERANCE
    assert Counter(machine.launches) == {"rel_pos_attention": 2, "glu_conv": 2}
    assert machine.copies == 0
