"""LFM2-Audio assembled: three ways in (words, sound, past speech), two ways out (words, codes)."""

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.kernels.embed_rows import embed_rows
from lfm2audio_mlx.models.conformer import Adapter, Conformer
from lfm2audio_mlx.models.depthformer import Depthformer
from lfm2audio_mlx.models.lfm2 import Lfm2
from lfm2audio_mlx.tokens import AUDIO_VOCABULARY

__all__ = ["Lfm2Audio"]


class Lfm2Audio(nn.Module):
    """Encoder, adapter, backbone, audio embedding and depthformer."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        hidden = config.lfm.hidden_size
        self.conformer = Conformer(config.conformer)
        self.audio_adapter = Adapter(config.conformer.d_model, hidden)
        self.lfm = Lfm2(config.lfm)
        self.audio_embedding = nn.Embedding(config.codebooks * AUDIO_VOCABULARY, hidden)
        self.depthformer = Depthformer(
            config.depthformer, hidden, config.codebooks, config.codebook_size
        )

    def embed_text(self, ids: mx.array) -> mx.array:
        """Token ids [B, T] -> [B, T, hidden]."""
        return embed_rows(self.lfm.embed_tokens, ids[..., None])

    def embed_audio(self, features: mx.array) -> mx.array:
        """Log-mel of one clip [B, T, features] -> [B, ceil(T / 8), hidden]."""
        dtype = self.audio_adapter.model[0].weight.dtype
        return self.audio_adapter(self.conformer(features.astype(dtype)))

    def embed_codes(self, codes: mx.array) -> mx.array:
        """Frames of speech that was spoken, [B, T, codebooks] -> [B, T, hidden]."""
        return embed_rows(self.audio_embedding, codes, AUDIO_VOCABULARY)

    def text_logits(self, hidden: mx.array) -> mx.array:
        """Backbone states [..., hidden] -> [..., vocabulary]."""
        return self.lfm.embed_tokens.as_linear(hidden)
