"""Split residual vector quantisation, learning: codebooks are moving averages of what they stand
for (van den Oord et al. 2017, https://arxiv.org/abs/1711.00937, appendix A.1), gradients pass
straight through.

The first codebook quantises the latent by itself, the others its remainders, one after the other;
what they give is added up (`moshi/quantization/vq.py`).
"""

import mlx.core as mx
import mlx.nn as nn

__all__ = ["SplitQuantizer"]

DECAY = 0.99
USAGE_FLOOR = 1e-5
RARE = 0.1
"""An entry that is used less than so much of its share is put somewhere else."""


class Codebook(nn.Module):
    """`embedding_sum` [size, dim] over `cluster_usage` [size] are its entries; no gradients."""

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.embedding_sum = mx.zeros((size, dim))
        self.cluster_usage = mx.ones((size,))
        self.freeze()

    @property
    def entries(self) -> mx.array:
        return self.embedding_sum / mx.maximum(self.cluster_usage, USAGE_FLOOR)[:, None]

    def nearest(self, x: mx.array) -> mx.array:
        """[N, dim] -> codes [N]."""
        entries = self.entries
        return mx.argmin((entries**2).sum(-1) - 2 * x @ entries.T, axis=-1)

    def begin(self, x: mx.array, rounds: int = 20) -> None:
        """Take up the means of what there is: k-means over [N, dim]."""
        size = len(self.cluster_usage)
        self._set(x[mx.random.permutation(len(x))[:size]], mx.ones((size,)))
        for _ in range(rounds):
            total, usage = self._sums(x)
            other = x[mx.random.randint(0, len(x), (size,))]
            lost = (usage < 1)[:, None]
            self._set(mx.where(lost, other, total), mx.maximum(usage, 1))
            mx.eval(self.parameters())

    def learn(self, x: mx.array) -> None:
        """Move towards what the entries stand for in [N, dim]; rare ones go to where others are."""
        total, usage = self._sums(x)
        total = DECAY * self.embedding_sum + (1 - DECAY) * total
        usage = DECAY * self.cluster_usage + (1 - DECAY) * usage
        share = usage.sum() / len(usage)
        rare = (usage < RARE * share)[:, None]
        other = x[mx.random.randint(0, len(x), (len(usage),))] * share
        self._set(mx.where(rare, other, total), mx.where(rare[:, 0], share, usage))

    def _sums(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """For each entry the sum of what it stands for, and how many that are."""
        chosen = mx.arange(len(self.cluster_usage))[:, None] == self.nearest(x)
        chosen = chosen.astype(mx.float32)
        return chosen @ x, chosen.sum(-1)

    def _set(self, embedding_sum: mx.array, usage: mx.array) -> None:
        self.embedding_sum = mx.stop_gradient(embedding_sum)
        self.cluster_usage = mx.stop_gradient(usage)


class ResidualQuantizer(nn.Module):
    """Codebooks in a row, between projections."""

    def __init__(self, dim: int, inner: int, codebooks: int, size: int):
        super().__init__()
        self.input_proj = nn.Linear(dim, inner, bias=False)
        self.output_proj = nn.Linear(inner, dim, bias=False)
        self.layers = [Codebook(size, inner) for _ in range(codebooks)]

    def __call__(self, x: mx.array, learn: bool) -> tuple[mx.array, mx.array, mx.array]:
        """[N, dim] -> quantised [N, dim], codes [N, codebooks], the commitment loss."""
        inside = self.input_proj(x)
        rest, codes, commitment = inside, [], mx.array(0.0)
        for layer in self.layers:
            codes.append(layer.nearest(mx.stop_gradient(rest)))
            found = mx.stop_gradient(layer.entries[codes[-1]])
            commitment = commitment + mx.square(rest - found).mean()
            if learn:
                layer.learn(mx.stop_gradient(rest))
            rest = rest - found
        quantised = inside - mx.stop_gradient(rest)
        return self.output_proj(quantised), mx.stack(codes, axis=-1), commitment

    def unquantised(self, x: mx.array) -> mx.array:
        """Through both projections only."""
        return self.output_proj(self.input_proj(x))

    def begin(self, x: mx.array) -> None:
        """Set the codebooks, one after the other, to what latents [N, dim] leave them."""
        rest = self.input_proj(x)
        for layer in self.layers:
            layer.begin(rest)
            rest = rest - layer.entries[layer.nearest(rest)]


class SplitQuantizer(nn.Module):
    """The first codebook, and the rest."""

    def __init__(self, dim: int, inner: int, codebooks: int, size: int):
        super().__init__()
        self.rvq_first = ResidualQuantizer(dim, inner, 1, size)
        self.rvq_rest = ResidualQuantizer(dim, inner, codebooks - 1, size)

    def __call__(
        self, latents: mx.array, learn: bool = False
    ) -> tuple[mx.array, mx.array, mx.array]:
        """[B, T, dim] -> quantised [B, T, dim], codes [B, codebooks, T], the commitment loss."""
        B, T, D = latents.shape
        x = latents.reshape(-1, D)
        first, coarse, loss_first = self.rvq_first(x, learn)
        rest, fine, loss_rest = self.rvq_rest(x, learn)
        codes = mx.concatenate([coarse, fine], axis=-1).reshape(B, T, -1).transpose(0, 2, 1)
        return (first + rest).reshape(B, T, D), codes, loss_first + loss_rest

    def unquantised(self, latents: mx.array) -> mx.array:
        return self.rvq_first.unquantised(latents) + self.rvq_rest.unquantised(latents)

    def begin(self, latents: mx.array) -> None:
        x = latents.reshape(-1, latents.shape[-1])
        self.rvq_first.begin(x)
        self.rvq_rest.begin(x)
