"""Connectionist temporal classification: the likelihood of a label sequence, over all alignments.

Graves et al. 2006 (https://www.cs.toronto.edu/~graves/icml_2006.pdf), its forward recursion in
logarithms; the gradient is that of the recursion.
"""

from typing import cast

import mlx.core as mx

__all__ = ["BLANK", "ctc_loss", "ctc_read"]

BLANK = 0
NEVER = -1e9
"""The logarithm of no chance at all, which can still be added to."""


def ctc_loss(logits: mx.array, labels: mx.array, lengths: mx.array) -> mx.array:
    """Negative log-likelihoods [B] of labels [B, L], of which the first `lengths` [B] count, under
    logits [B, T, classes] where class 0 is the blank."""
    B, T, _ = logits.shape
    scores = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    # Blanks around and between the labels: S = 2 L + 1 states.
    between = mx.full(labels.shape, BLANK, dtype=labels.dtype)
    states = mx.stack([between, labels], axis=-1).reshape(B, -1)
    states = mx.concatenate(
        [states, between[:, :1] if labels.size else mx.zeros((B, 1), mx.int32)], axis=1
    )
    emitted = mx.take_along_axis(
        scores, mx.broadcast_to(states[:, None], (B, T, states.shape[1])), axis=2
    )
    before = mx.pad(states, [(0, 0), (2, 0)], constant_values=-1)[:, :-2]
    may_skip = (states != BLANK) & (states != before)
    first = mx.arange(states.shape[1]) < 2
    reached = mx.where(first, emitted[:, 0], NEVER)
    for t in range(1, T):
        stepped = mx.pad(reached, [(0, 0), (1, 0)], constant_values=NEVER)[:, :-1]
        skipped = mx.pad(reached, [(0, 0), (2, 0)], constant_values=NEVER)[:, :-2]
        skipped = mx.where(may_skip, skipped, NEVER)
        reached = mx.logsumexp(mx.stack([reached, stepped, skipped]), axis=0) + emitted[:, t]
    last = 2 * lengths[:, None]
    ends = mx.take_along_axis(
        reached, mx.concatenate([last, mx.maximum(last - 1, 0)], axis=1), axis=1
    )
    label_end = mx.where(lengths > 0, ends[:, 1], NEVER)
    return -mx.logaddexp(ends[:, 0], label_end)


def ctc_read(logits: mx.array) -> list[list[int]]:
    """The labels of the likeliest path: classes that change, without blanks."""
    paths = cast(list[list[int]], mx.argmax(logits, axis=-1).tolist())
    return [
        [
            label
            for label, before in zip(path, [BLANK, *path], strict=False)
            if label not in (before, BLANK)
        ]
        for path in paths
    ]
