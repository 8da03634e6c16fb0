"""CTC's likelihood is a sum over alignments, as one sees by adding all of them up."""

import itertools
import math

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm_train.ctc import BLANK, ctc_loss, ctc_read

CLASSES = 4
TOLERANCE = 1e-4  # absolute: float32 logarithms of sums, T of them, against float64


def collapsed(path: tuple[int, ...]) -> list[int]:
    """What an alignment says: runs once, blanks not at all."""
    return [label for label, _ in itertools.groupby(path) if label != BLANK]


def enumerated(logits: np.ndarray, labels: list[int]) -> float:
    """The negative log-likelihood of labels under logits [T, classes], all alignments added up."""
    T, classes = logits.shape
    scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    total = 0.0
    for path in itertools.product(range(classes), repeat=T):
        if collapsed(path) == labels:
            total += math.exp(sum(scores[t, label] for t, label in enumerate(path)))
    return -math.log(total) if total else math.inf


def drawn(T: int, seed: int = 0, batch: int = 1) -> np.ndarray:
    return 2 * np.random.default_rng(seed).standard_normal((batch, T, CLASSES))


def loss(logits: np.ndarray, rows: list[list[int]]) -> np.ndarray:
    """Of rows of labels, filled up with a label that must not count."""
    width = max(map(len, rows))
    filled = [row + [CLASSES - 1] * (width - len(row)) for row in rows]
    labels = mx.array(np.array(filled, np.int32).reshape(len(rows), width))
    lengths = mx.array([len(row) for row in rows])
    return np.array(ctc_loss(mx.array(logits.astype(np.float32)), labels, lengths))


@given(st.integers(1, 5), st.lists(st.integers(1, CLASSES - 1), max_size=4), st.integers(0, 99))
@settings(max_examples=60)
def test_the_loss_is_that_of_all_alignments(T: int, labels: list[int], seed: int):
    logits = drawn(T, seed)
    expected, found = enumerated(logits[0], labels), loss(logits, [labels])[0]
    if math.isinf(expected):
        assert found > 1e6
    else:
        assert found == pytest.approx(expected, abs=TOLERANCE)


def test_repeated_labels_need_a_blank_between():
    logits = drawn(2)
    assert loss(logits, [[1, 1]])[0] > 1e6
    assert loss(drawn(3), [[1, 1]])[0] == pytest.approx(
        enumerated(drawn(3)[0], [1, 1]), abs=TOLERANCE
    )


def test_no_labels_are_all_blanks():
    logits = drawn(4)
    scores = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = -scores[0, :, BLANK].sum()
    assert loss(logits, [[]])[0] == pytest.approx(expected, abs=TOLERANCE)


def test_rows_of_a_batch_count_by_themselves():
    """Whatever fills up the shorter."""
    rows, logits = [[1, 2, 2], [], [3], [2, 1]], drawn(5, batch=4)
    expected = [enumerated(one, row) for one, row in zip(logits, rows, strict=True)]
    assert loss(logits, rows) == pytest.approx(expected, abs=TOLERANCE)


def test_the_gradient_is_what_a_small_step_finds():
    logits, labels = drawn(4, seed=3), mx.array([[1, 1, 2]])
    lengths = mx.array([3])

    def total(x: mx.array) -> mx.array:
        return ctc_loss(x, labels, lengths).sum()

    gradient = np.array(mx.grad(total)(mx.array(logits.astype(np.float32))))
    step = 1e-4  # of a float64 enumeration: its error is of the order of the step squared
    for at in np.ndindex(logits.shape):
        nudge = np.zeros_like(logits)
        nudge[at] = step
        more, less = (enumerated((logits + sign * nudge)[0], [1, 1, 2]) for sign in (1, -1))
        assert gradient[at] == pytest.approx((more - less) / (2 * step), abs=TOLERANCE)


def test_gradients_stay_finite_where_labels_cannot_fit():
    found = mx.grad(lambda x: ctc_loss(x, mx.array([[1, 1]]), mx.array([2])).sum())(
        mx.array(drawn(2).astype(np.float32))
    )
    assert np.isfinite(np.array(found)).all()


def test_the_likeliest_path_is_read():
    paths = [(1, 1, 0, 1, 2, 2), (0, 0, 0, 0, 0, 0), (3, 0, 3, 3, 0, 2)]
    logits = np.eye(CLASSES)[np.array(paths)]
    expected = [collapsed(path) for path in paths]
    assert ctc_read(mx.array(logits)) == expected == [[1, 1, 2], [], [3, 3, 2]]
