"""The steps of generation, each a graph that MLX compiles once; nothing here waits for a result.

What is chosen stays on the device as the next step's input, so that the host can ask for a step
before it knows the outcome of the last one.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import mlx.core as mx

from lfm2audio_mlx.kernels.sample_top_k import Draws, Offer, sample_top_k
from lfm2audio_mlx.models.cache import KVCache
from lfm2audio_mlx.models.compiled import compiled
from lfm2audio_mlx.models.lfm2 import LayerState, Lfm2State
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.sampling import Sampling
from lfm2audio_mlx.tokens import END_OF_AUDIO, Modality

__all__ = ["Steps"]

Draw = Callable[[mx.array, mx.array], mx.array]


class Steps:
    """Steps of one model, for any number of conversations."""

    def __init__(self, model: Lfm2Audio):
        self.model = model
        self._after_word = compiled(self._after(lambda ids: model.embed_text(ids[:, None])))
        self._after_frame = compiled(self._after(lambda codes: model.embed_codes(codes[:, None])))
        self._word = cache(lambda sampling: compiled(self._word_of(sampling)))
        self._frame = cache(lambda sampling: compiled(self._frame_of(sampling)))

    def backbone(
        self, modality: Modality, said: mx.array, state: Lfm2State
    ) -> tuple[mx.array, Lfm2State]:
        """One more position: a word [1] or a frame [1, codebooks] -> hidden state [1, hidden].

        Keys and values are written where they are, unless somebody still holds `state`.
        """
        layers = tuple(
            layer.grown(state.offset + 1) if isinstance(layer, KVCache) else layer
            for layer in state.layers
        )
        step = self._after_word if modality is Modality.TEXT else self._after_frame
        hidden, layers = step(said, layers, mx.array([state.offset]))
        return hidden, Lfm2State(layers, state.offset + 1)

    def rows(
        self, words: mx.array, layers: tuple[LayerState, ...], offsets: mx.array
    ) -> tuple[mx.array, tuple[LayerState, ...]]:
        """A word [B] more of each row, at `offsets` [B] -> hidden states [B, hidden]; see
        `Lfm2.step`."""
        return self._after_word(words, layers, offsets)

    def word(self, hidden: mx.array, sampling: Sampling, key: mx.array) -> mx.array:
        """The next token of text: [B, hidden] -> [B]."""
        return self._word(sampling)(hidden, key)

    def frame(self, hidden: mx.array, sampling: Sampling, key: mx.array) -> mx.array:
        """The next frame of speech: [B, hidden] -> [B, codebooks]; in the one that ends it, all
        are `END_OF_AUDIO`."""
        return self._frame(sampling)(hidden, key)

    def _after(self, embed: Callable[[mx.array], mx.array]) -> Callable[..., Any]:
        def step(said: mx.array, layers: tuple[LayerState, ...], offsets: mx.array) -> Any:
            return self.model.lfm.step(embed(said), layers, offsets)

        return step

    def _word_of(self, sampling: Sampling) -> Draw:
        def draw(hidden: mx.array, key: mx.array) -> mx.array:
            logits = self.model.text_logits(hidden)
            draws = Draws(sampling, key, (1, *logits.shape))
            return sample_top_k(logits, draws, 0, Offer(logits.shape[1]))

        return draw

    def _frame_of(self, sampling: Sampling) -> Draw:
        def draw(hidden: mx.array, key: mx.array) -> mx.array:
            codes = self.model.depthformer(hidden, sampling, key)
            return mx.where(codes[:, :1] == END_OF_AUDIO, END_OF_AUDIO, codes)

        return draw
