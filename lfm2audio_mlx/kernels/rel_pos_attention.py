"""Self-attention whose scores add a term for the distance of query and key.

Transformer-XL's (Dai et al. 2019, https://arxiv.org/abs/1901.02860, appendix B), as the
FastConformer has it.
"""

import mlx.core as mx

from lfm2audio_mlx.kernels.metal import SIMD, Grid, Kernel, usable

__all__ = ["rel_pos_attention"]

QUERY_BLOCK = 512
"""Queries that attend at once, in the twin: a long recording's scores grow with its length, not
with the square of it."""
LONGEST = 512
"""Positions (41 s) up to which the kernel is used: it saves launches and copies, but multiplies
without the matrix units of a GPU, and the work grows with the square."""
SIMDGROUPS = 8

_kernel = Kernel(
    "rel_pos_attention",
    ("qkv", "distances", "content_bias", "distance_bias"),
    ("y",),
)


def rel_pos_attention(
    qkv: mx.array, distances: mx.array, content_bias: mx.array, distance_bias: mx.array
) -> mx.array:
    """qkv [B, T, 3, heads, D], `distances` [2T - 1, heads, D] of T - 1 ... -(T - 1), projected,
    biases [heads, D] -> [B, T, heads, D]."""
    B, T, _, heads, D = qkv.shape
    fits = D in (32, 64) and T <= LONGEST
    if not (fits and usable(qkv, distances, content_bias, distance_bias)):
        return _ops(qkv, distances, content_bias, distance_bias)
    queries = 1 if qkv.dtype == mx.float32 else 2  # a simdgroup's, as 32 KB have room for
    spans = -(-T // (SIMDGROUPS * queries))
    (y,) = _kernel(
        (qkv, distances, content_bias, distance_bias),
        {"T": qkv.dtype, "D": D, "QUERIES": queries},
        Grid((SIMD * SIMDGROUPS * spans, heads, B), (SIMD * SIMDGROUPS, 1, 1)),
        [((B, T, heads, D), qkv.dtype)],
    )
    return y


def _ops(
    qkv: mx.array, distances: mx.array, content_bias: mx.array, distance_bias: mx.array
) -> mx.array:
    T, D = qkv.shape[1], qkv.shape[-1]
    queries, keys, values = (part.squeeze(2) for part in mx.split(qkv, 3, axis=2))
    keys, values = keys.transpose(0, 2, 1, 3), values.transpose(0, 2, 1, 3)
    by_content = (queries + content_bias).transpose(0, 2, 1, 3)
    by_distance = (queries + distance_bias).transpose(0, 2, 1, 3)
    distances = distances.transpose(1, 2, 0)
    scale = D**-0.5
    blocks: list[mx.array] = []
    for start in range(0, T, QUERY_BLOCK):
        end = min(start + QUERY_BLOCK, T)
        # Distances from the block's last query to key 0, down to its first to the last key.
        near = distances[..., T - end : 2 * T - 1 - start]
        bias = _relative_shift(by_distance[:, :, start:end] @ near) * scale
        blocks.append(
            mx.fast.scaled_dot_product_attention(
                by_content[:, :, start:end], keys, values, scale=scale, mask=bias
            )
        )
        if T > QUERY_BLOCK:
            mx.eval(blocks[-1])  # or the scores of all blocks stand in memory at once
    return mx.concatenate(blocks, axis=2).transpose(0, 2, 1, 3)


def _relative_shift(scores: mx.array) -> mx.array:
    """[B, H, R, K + R - 1] by falling distance -> [B, H, R, K] by key, for R queries in a row.

    Row i begins R - 1 - i columns in (Transformer-XL, appendix B, for a block of the rows).
    """
    B, H, R, P = scores.shape
    scores = mx.pad(scores, [(0, 0), (0, 0), (0, 0), (1, 0)])
    return scores.reshape(B, H, P + 1, R)[:, :, 1:].reshape(B, H, R, P)[..., : P - R + 1]
