"""LFM2.5's detokenizer: codes to a spectrogram through a small LFM2, and to samples by ISTFT.

Reference: `detokenizer.py` of liquid-audio. Mean of the eight code embeddings, each frame
repeated to six steps, LFM2 with a sliding window, a linear layer to log-magnitude and phase,
inverse STFT with "same" padding (as in Vocos, Siuzdak 2023, https://arxiv.org/abs/2306.00814).
"""

from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import DetokenizerConfig
from lfm2audio_mlx.models.codec import check_codes
from lfm2audio_mlx.models.lfm2 import Lfm2, Lfm2State

__all__ = ["Detokenizer", "DetokenizerState"]


@dataclass(frozen=True)
class DetokenizerState:
    """What decoding remembers between calls.

    `waves` [B, overlap] and `envelope` [overlap] hold the sums of windowed frames, and of
    squared windows, in the samples that the next frames still add to.
    """

    lfm: Lfm2State
    waves: mx.array
    envelope: mx.array


class Detokenizer(nn.Module):
    """Streams what the one-shot decode gives; `flush` gives the end that waited for more."""

    def __init__(self, config: DetokenizerConfig, codebooks: int, codebook_size: int):
        super().__init__()
        dim = config.lfm.hidden_size
        self.sample_rate = config.sample_rate
        self.factor, self.hop = config.upsample_factor, config.hop_length
        self.frame_size = self.factor * self.hop
        self.n_fft = config.output_size - 2
        self.codebook_size = codebook_size
        self.emb = nn.Embedding(codebooks * codebook_size, dim)
        self.lfm = Lfm2(config.lfm)
        self.lin = nn.Linear(dim, config.output_size)

    @property
    def padding(self) -> int:
        """Samples that "same" padding drops at either end."""
        return (self.n_fft - self.hop) // 2

    def decode(
        self, codes: mx.array, state: DetokenizerState | None = None, checked: bool = False
    ) -> tuple[mx.array, DetokenizerState]:
        """codes [B, codebooks, T] -> the samples [B, n] that are final, and the next state.

        Raises:
            RequestError: a code is not in the tables.
        """
        if not checked:
            check_codes(codes, self.codebook_size)
        offsets = mx.arange(codes.shape[1])[:, None] * self.codebook_size
        x = self.emb(codes + offsets).mean(axis=1)
        x = mx.repeat(x, self.factor, axis=1)
        x, lfm = self.lfm(x, state.lfm if state else None)
        magnitude, phase = mx.split(self.lin(x).astype(mx.float32), 2, axis=-1)
        spectrum = mx.exp(magnitude) * (mx.cos(phase) + 1j * mx.sin(phase))
        window = _hann(self.n_fft)
        frames = mx.fft.irfft(spectrum, self.n_fft, axis=-1) * window
        return self._overlap_add(frames, window * window, lfm, state)

    def _overlap_add(
        self,
        frames: mx.array,
        window: mx.array,
        lfm: Lfm2State,
        state: DetokenizerState | None,
    ) -> tuple[mx.array, DetokenizerState]:
        """Sum frames [B, T, n_fft] at every hop; samples are final once no frame can reach them."""
        T = frames.shape[1]
        waves = _sum_at_hops(frames, self.hop)
        envelope = _sum_at_hops(mx.broadcast_to(window, (1, T, self.n_fft)), self.hop)[0]
        first = 0 if state else self.padding
        if state:
            overlap = state.waves.shape[1]
            waves = mx.concatenate([waves[:, :overlap] + state.waves, waves[:, overlap:]], axis=1)
            envelope = mx.concatenate(
                [envelope[:overlap] + state.envelope, envelope[overlap:]], axis=0
            )
        final = T * self.hop
        samples = waves[:, first:final] / envelope[first:final]
        return samples, DetokenizerState(lfm, waves[:, final:], envelope[final:])

    def flush(self, state: DetokenizerState) -> mx.array:
        """The last samples, up to where "same" padding cuts: [B, padding]."""
        end = state.waves.shape[1] - self.padding
        return state.waves[:, :end] / state.envelope[:end]


def _hann(length: int) -> mx.array:
    """The periodic Hann window, as `torch.hann_window`."""
    return 0.5 - 0.5 * mx.cos(mx.arange(length) * (2 * mx.pi / length))


def _sum_at_hops(frames: mx.array, hop: int) -> mx.array:
    """Overlap-add frames [B, T, N], N a multiple of hop -> [B, (T - 1) * hop + N]."""
    B, T, N = frames.shape
    parts = N // hop
    slices = frames.reshape(B, T, parts, hop)
    total = mx.zeros((B, T + parts - 1, hop), frames.dtype)
    for p in range(parts):
        total = total + mx.pad(slices[:, :, p], [(0, 0), (p, parts - 1 - p), (0, 0)])
    return total.reshape(B, -1)
