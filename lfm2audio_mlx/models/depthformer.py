"""The depthformer: one backbone state to the eight codes of an audio frame, coarse to fine.

An RQ-transformer (Lee et al. 2022, https://arxiv.org/abs/2203.01941): for each codebook in turn
it sees its slice of the projected backbone state plus the embedding of the code just chosen.
Reference: `_sample_audio_frame` and `model/transformer.py` of liquid-audio.
"""

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import DepthformerConfig
from lfm2audio_mlx.models.layers import SwiGLU, head_weights
from lfm2audio_mlx.tokens import AUDIO_VOCABULARY, CODEBOOK_SIZE, END_OF_AUDIO

__all__ = ["Choose", "Depthformer"]

Choose = Callable[[mx.array], mx.array]
"""Picks a code for each row of logits: [B, vocabulary] -> [B]."""

Past = tuple[mx.array, mx.array, int] | None
"""Keys and values [B, heads, codebooks, D] of a frame, of which so many positions are filled."""


class DepthAttention(nn.Module):
    """Causal grouped-query attention, interleaved-pair RoPE counted from the frame's start."""

    def __init__(self, config: DepthformerConfig, codebooks: int):
        super().__init__()
        self.codebooks = codebooks
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_dim = config.dim // config.heads
        self.rope_theta, self.eps = config.rope_theta, config.norm_eps
        width = config.dim + 2 * self.kv_heads * self.head_dim
        self.qkv_proj = nn.Linear(config.dim, width, bias=False)
        self.out_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.q_layernorm = nn.RMSNorm(self.head_dim, eps=config.norm_eps)
        self.k_layernorm = nn.RMSNorm(self.head_dim, eps=config.norm_eps)

    def join(self) -> None:
        """Make one norm of two."""
        self.head_weights = self._head_weights()

    def _head_weights(self) -> mx.array:
        return head_weights(self.q_layernorm, self.k_layernorm, self.heads, self.kv_heads)

    def __call__(self, x: mx.array, past: Past) -> tuple[mx.array, Past]:
        """x [B, 1, D]."""
        B, _, D = x.shape
        qkv = self.qkv_proj(x).reshape(B, -1, 1, self.head_dim)
        if past is None:
            y, past = self._first(qkv)
        else:
            y, past = self._next(qkv, *past)
        return self.out_proj(y.reshape(B, 1, D)), past

    def _first(self, qkv: mx.array) -> tuple[mx.array, Past]:
        """Whoever is alone attends to himself, and is not turned."""
        B = qkv.shape[0]
        _, keys, values = mx.split(qkv, [self.heads, self.heads + self.kv_heads], axis=1)
        share = self.heads // self.kv_heads
        y = mx.broadcast_to(values, (B, self.kv_heads, share, self.head_dim))
        # Room for the whole frame; what is no position yet is never looked at.
        room = (B, self.kv_heads, self.codebooks, self.head_dim)
        kept = (mx.broadcast_to(x, room) for x in (self.k_layernorm(keys), values))
        keys, values = map(mx.contiguous, kept)
        return y, (keys, values, 1)

    def _next(
        self, qkv: mx.array, keys: mx.array, values: mx.array, position: int
    ) -> tuple[mx.array, Past]:
        turned, value = mx.split(qkv, [self.heads + self.kv_heads], axis=1)
        weights = self.head_weights if "head_weights" in self else self._head_weights()
        turned = mx.fast.rope(
            mx.fast.rms_norm(turned, None, self.eps) * weights[:, None],
            self.head_dim,
            traditional=True,
            base=self.rope_theta,
            scale=1.0,
            offset=position,
        )
        queries, key = mx.split(turned, [self.heads], axis=1)
        start, seen = mx.array([position]), position + 1
        keys = mx.slice_update(keys, key, start, axes=(2,))
        values = mx.slice_update(values, value, start, axes=(2,))
        y = mx.fast.scaled_dot_product_attention(
            queries, keys[:, :, :seen], values[:, :, :seen], scale=self.head_dim**-0.5
        )
        return y, (keys, values, seen)


class DepthLayer(nn.Module):
    def __init__(self, config: DepthformerConfig, codebooks: int):
        super().__init__()
        self.operator = DepthAttention(config, codebooks)
        self.feed_forward = SwiGLU(config.dim, config.ff_dim)
        self.operator_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.ffn_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)

    def __call__(self, x: mx.array, past: Past) -> tuple[mx.array, Past]:
        h, past = self.operator(self.operator_norm(x), past)
        x = x + h
        return x + self.feed_forward(self.ffn_norm(x)), past


class CodeEmbedding(nn.Module):
    """Embeds one codebook's codes and gives its logits, with one table when tied."""

    def __init__(self, config: DepthformerConfig):
        super().__init__()
        self.embedding = nn.Embedding(AUDIO_VOCABULARY, config.dim)
        self.embedding_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        if not config.tie:
            self.to_logits = nn.Linear(config.dim, AUDIO_VOCABULARY, bias=False)

    def logits(self, x: mx.array) -> mx.array:
        """[B, D] -> [B, vocabulary]; the norm belongs to the head, not to the embedding."""
        x = self.embedding_norm(x)
        return self.to_logits(x) if "to_logits" in self else self.embedding.as_linear(x)


class Depthformer(nn.Module):
    """Projection, layers, and an embedding and head for each codebook."""

    def __init__(self, config: DepthformerConfig, hidden: int, codebooks: int, codebook_size: int):
        super().__init__()
        self.codebooks, self.codebook_size = codebooks, codebook_size
        self.depth_linear = nn.Linear(hidden, codebooks * config.dim)
        self.layers = [DepthLayer(config, codebooks) for _ in range(config.layers)]
        self.depth_embeddings = [CodeEmbedding(config) for _ in range(codebooks)]

    def __call__(self, hidden: mx.array, choose: Choose) -> mx.array:
        """The codes of one frame: hidden [B, hidden] -> [B, codebooks].

        Only what the decoder can voice is offered, and in codebook 0 the end of the audio.
        """
        B = hidden.shape[0]
        inputs = self.depth_linear(hidden).reshape(B, self.codebooks, 1, -1)
        past: list[Past] = [None] * len(self.layers)
        codes: list[mx.array] = []
        for i, codebook in enumerate(self.depth_embeddings):
            x = inputs[:, i]
            if i:
                x = x + self.depth_embeddings[i - 1].embedding(codes[-1])[:, None]
            for n, layer in enumerate(self.layers):
                x, past[n] = layer(x, past[n])
            logits = codebook.logits(x[:, 0])
            offer = self._choose_code if i else self._choose_first
            codes.append(offer(logits, choose))
        return _side_by_side(codes)

    def _choose_code(self, logits: mx.array, choose: Choose) -> mx.array:
        return choose(logits[:, : self.codebook_size])

    def _choose_first(self, logits: mx.array, choose: Choose) -> mx.array:
        if self.codebook_size == CODEBOOK_SIZE:
            return choose(logits)
        offered = [logits[:, : self.codebook_size], logits[:, END_OF_AUDIO:]]
        code = choose(mx.concatenate(offered, axis=1))
        return mx.where(code == self.codebook_size, END_OF_AUDIO, code)


def _side_by_side(codes: list[mx.array]) -> mx.array:
    """[B] each -> [B, codebooks]; stacking would copy each by a kernel of its own."""
    place = mx.array(list(range(len(codes))))
    frame = codes[0][:, None]
    for i, code in enumerate(codes[1:], start=1):
        frame = mx.where(place == i, code[:, None], frame)
    return frame
