"""The depthformer: one backbone state to the eight codes of an audio frame, coarse to fine.

An RQ-transformer (Lee et al. 2022, https://arxiv.org/abs/2203.01941): for each codebook in turn
it sees its slice of the projected backbone state plus the embedding of the code just chosen.
Reference: `_sample_audio_frame` and `model/transformer.py` of liquid-audio.
"""

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import DepthformerConfig
from lfm2audio_mlx.kernels.depth_attention import DepthSettings, Past, depth_attention
from lfm2audio_mlx.kernels.projections import norm_project, project_add
from lfm2audio_mlx.kernels.sample_top_k import Draws, Offer, sample_and_embed, sample_top_k
from lfm2audio_mlx.models.layers import SwiGLU, head_weights
from lfm2audio_mlx.sampling import GREEDY, Sampling
from lfm2audio_mlx.tokens import AUDIO_VOCABULARY, CODEBOOK_SIZE, END_OF_AUDIO

__all__ = ["Depthformer"]


class DepthAttention(nn.Module):
    """Causal grouped-query attention, interleaved-pair RoPE counted from the frame's start, of a
    normed x and added to x itself."""

    def __init__(self, config: DepthformerConfig, codebooks: int):
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_dim = config.dim // config.heads
        self.settings = DepthSettings(
            config.kv_heads, codebooks, config.norm_eps, config.rope_theta
        )
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

    def __call__(
        self, x: mx.array, norm: nn.RMSNorm, past: Past | None, position: int
    ) -> tuple[mx.array, Past]:
        """x [B, D] at a position of the frame."""
        qkv = norm_project(norm, self.qkv_proj, x).reshape(len(x), -1, self.head_dim)
        weights = self.head_weights if "head_weights" in self else self._head_weights()
        y, past = depth_attention(qkv, weights, past, position, self.settings)
        return project_add(self.out_proj, y.reshape(x.shape), x), past


class DepthLayer(nn.Module):
    def __init__(self, config: DepthformerConfig, codebooks: int):
        super().__init__()
        self.operator = DepthAttention(config, codebooks)
        self.feed_forward = SwiGLU(config.dim, config.ff_dim)
        self.operator_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.ffn_norm = nn.RMSNorm(config.dim, eps=config.norm_eps)

    def __call__(self, x: mx.array, past: Past | None, position: int) -> tuple[mx.array, Past]:
        x, past = self.operator(x, self.operator_norm, past, position)
        return self.feed_forward(x, self.ffn_norm), past


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
        head = self.to_logits if "to_logits" in self else self.embedding
        return norm_project(self.embedding_norm, head, x)


class Depthformer(nn.Module):
    """Projection, layers, and an embedding and head for each codebook."""

    def __init__(self, config: DepthformerConfig, hidden: int, codebooks: int, codebook_size: int):
        super().__init__()
        self.codebooks, self.codebook_size = codebooks, codebook_size
        self.depth_linear = nn.Linear(hidden, codebooks * config.dim)
        self.layers = [DepthLayer(config, codebooks) for _ in range(config.layers)]
        self.depth_embeddings = [CodeEmbedding(config) for _ in range(codebooks)]

    def __call__(
        self, hidden: mx.array, sampling: Sampling = GREEDY, key: mx.array | None = None
    ) -> mx.array:
        """The codes of one frame: hidden [B, hidden] -> [B, codebooks]. `key` is not needed when
        greedy.

        Only what the decoder can voice is offered, and in codebook 0 the end of the audio.
        """
        B, last = hidden.shape[0], self.codebooks - 1
        inputs = mx.split(self.depth_linear(hidden), self.codebooks, axis=-1)
        draws = Draws(sampling, key, (self.codebooks, B, AUDIO_VOCABULARY))
        past: list[Past | None] = [None] * len(self.layers)
        codes: list[mx.array] = []
        x = inputs[0]
        for i, codebook in enumerate(self.depth_embeddings):
            for n, layer in enumerate(self.layers):
                x, past[n] = layer(x, past[n], i)
            logits, offer = codebook.logits(x), self._offer(i)
            if i < last:
                x = inputs[i + 1]
                code, x = sample_and_embed(logits, draws, i, offer, codebook.embedding, x)
            else:
                code = sample_top_k(logits, draws, i, offer)
            codes.append(code)
        return _side_by_side(codes)

    def _offer(self, codebook: int) -> Offer:
        if codebook:
            return Offer(self.codebook_size)
        if self.codebook_size == CODEBOOK_SIZE:
            return Offer(END_OF_AUDIO + 1)
        return Offer(self.codebook_size, END_OF_AUDIO)


def _side_by_side(codes: list[mx.array]) -> mx.array:
    """[B] each -> [B, codebooks]; stacking would copy each by a kernel of its own."""
    place = mx.array(list(range(len(codes))))
    frame = codes[0][:, None]
    for i, code in enumerate(codes[1:], start=1):
        frame = mx.where(place == i, code[:, None], frame)
    return frame
