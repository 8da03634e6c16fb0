"""The encoder that is trained is the product's, and hears what it was told."""

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_flatten

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.models.conformer import Conformer
from lfm_train.initial import initialise
from lfm_train.nano import encoder
from lfm_train.nano.encoder import Recogniser, masked, read
from lfm_train.nano.grammar import vocabulary
from lfm_train.nano.hearing import Listener


@pytest.fixture(scope="module")
def recogniser(nano: Engine) -> Recogniser:
    mx.random.seed(0)
    model = Recogniser(nano.config)
    initialise(model)
    return model


def test_its_parameters_are_the_encoder_s(nano: Engine, recogniser: Recogniser):
    ours = dict(tree_flatten(recogniser.conformer.parameters()))
    theirs = dict(tree_flatten(Conformer(nano.config.conformer).parameters()))
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert all(np.array(v).any() for k, v in ours.items() if k.endswith("conv.weight"))


def test_it_hears_as_the_product_does(nano: Engine, recogniser: Recogniser):
    """Once it learns no more; the norm, which the product folds into a filter, does something."""
    for number, layer in enumerate(recogniser.conformer.layers):
        norm, key = layer.conv["batch_norm"], mx.random.key(number)
        norm.running_mean = mx.random.normal(norm.running_mean.shape, key=key)
        norm.running_var = mx.random.uniform(0.5, 2.0, norm.running_var.shape, key=key)
    product = Conformer(nano.config.conformer)
    product.update(recogniser.conformer.parameters())
    product.eval()
    recogniser.eval()
    mel = mx.array(np.random.default_rng(0).standard_normal((1, 41, 128)).astype(np.float32))
    ours, theirs = np.array(recogniser.conformer(mel)), np.array(product(mel))
    # Relative: float32 sums in another order.
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


def test_batches_tell_words_and_where_they_are(listener: Listener):
    for pieces in encoder.batches(listener, 4, 3, 2):
        ((mels, labels, lengths, places),) = pieces
        assert len(mels) == len(labels) == len(lengths) == len(places) == 3
        assert places.shape[1] == -(-mels.shape[1] // 8)
        for row, length, at in zip(*map(np.array, (labels, lengths, places)), strict=True):
            assert row[:length].all() and not row[length:].any()
            assert set(at.tolist()) <= {-1, 0, *row[:length].tolist()}


def test_words_are_read_by_their_numbers(nano: Engine):
    """The head's classes are the vocabulary's, after the blank."""
    model = Recogniser(nano.config)
    mel = np.zeros((1, 40, 128), np.float32)
    for number, expected in ((0, ""), (5, vocabulary()[4]), (122, vocabulary()[121])):
        model.head.weight = mx.zeros_like(model.head.weight)
        model.head.bias = (mx.arange(123) == number).astype(mx.float32)
        assert read(model, mel) == [expected]


def test_masks_hide_bands_and_spans():
    mels = np.ones((4, 160, 128), np.float32)
    made = masked(mels, np.random.default_rng(0))
    hidden = made == 0
    assert mels.all() and 0 < hidden.mean() < 0.6
    bands, spans = hidden.all(axis=1), hidden.all(axis=2)
    assert np.array_equal(hidden, bands[:, None] | spans[:, :, None])


def test_it_learns_a_batch_by_heart(nano: Engine, listener: Listener):
    """Both losses fall; the running statistics follow what is heard."""
    mx.random.seed(0)
    model = Recogniser(nano.config)
    initialise(model)
    model.train()
    ((batch,),) = encoder.batches(listener, 8, 2, 1)
    optimiser, gradient = optim.Adam(1e-3), nn.value_and_grad(model, encoder.loss)
    seen: list[float] = []
    for _ in range(6):
        (total, _), gradients = gradient(model, batch)
        optimiser.update(model, gradients)
        mx.eval(model.parameters(), optimiser.state)
        seen.append(total.item())
    assert seen[-1] < 0.7 * seen[0]
    norm = model.conformer.layers[0].conv["batch_norm"]
    assert np.array(norm.running_mean).any()
