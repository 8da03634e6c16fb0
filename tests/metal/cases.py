"""What every kernel is tried on: shapes from one row to the largest, ragged ones, all types.

A case builds its inputs from a seed and calls a kernel's dispatcher as the models do. The same
values, rounded to the case's type, go through the twin in float32: that is what the kernel, which
computes in float32 inside, should give but for the rounding of its result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.kernels.depth_attention import DepthSettings, Past, depth_attention
from lfm2audio_mlx.kernels.embed_rows import embed_rows
from lfm2audio_mlx.kernels.glu_conv import glu_conv
from lfm2audio_mlx.kernels.projections import norm_project, norm_swiglu, project_add
from lfm2audio_mlx.kernels.qk_norm_rope import qk_norm_rope
from lfm2audio_mlx.kernels.rel_pos_attention import rel_pos_attention
from lfm2audio_mlx.kernels.sample_top_k import Draws, Offer, sample_and_embed, sample_top_k
from lfm2audio_mlx.kernels.short_conv import short_conv
from lfm2audio_mlx.sampling import GREEDY, Sampling

__all__ = ["CASES", "Case", "Maker"]

EPS, THETA = 1e-5, 1e6
QUIET = 0.01
"""Scale of inputs to norms, beside which epsilon counts."""


@dataclass
class Maker:
    """Values of a case: rounded to `dtype`, and held in it or in float32."""

    dtype: mx.Dtype
    seed: int
    wide: bool = False
    _made: list[list[mx.array]] = field(default_factory=list)
    _used: int = 0

    @property
    def arrays(self) -> list[mx.array]:
        """All that were made."""
        return [array for made in self._made for array in made]

    def of(self, arrays: Sequence[mx.array]) -> "Maker":
        """One that hands out these in place of its own."""
        rest = iter(arrays)
        made = [[next(rest) for _ in made] for made in self._made]
        return Maker(self.dtype, self.seed, self.wide, made)

    def array(self, *shape: int, scale: float = 1.0, around: float = 0.0) -> mx.array:
        return self._held(lambda key: (mx.random.normal(shape, key=key) * scale + around,))[0]

    def norm(self, size: int) -> nn.RMSNorm:
        norm = nn.RMSNorm(size, EPS)
        norm.weight = self.array(size, scale=0.2, around=1)
        return norm

    def packed(self, rows: int, columns: int, bits: int, group: int = 64) -> nn.QuantizedEmbedding:
        """Weights as a table, which can be a head too."""
        table = nn.QuantizedEmbedding(1, group, group, bits)
        table.weight, table.scales, table.biases = self._weights(rows, columns, bits, group)
        return table

    def linear(self, rows: int, columns: int, bits: int, group: int = 64) -> nn.QuantizedLinear:
        layer = nn.QuantizedLinear(group, 1, bias=False, group_size=group, bits=bits)
        layer.weight, layer.scales, layer.biases = self._weights(rows, columns, bits, group)
        return layer

    def _weights(self, rows: int, columns: int, bits: int, group: int) -> Sequence[mx.array]:
        def pack(key: mx.array) -> Sequence[mx.array]:
            return mx.quantize(mx.random.normal((rows, columns), key=key) / 32, group, bits)

        return self._held(pack)

    def _held(self, build: Callable[[mx.array], Sequence[mx.array]]) -> Sequence[mx.array]:
        """What is built from the next key, floats rounded."""
        if self._used == len(self._made):
            key = mx.random.key(1000 * self.seed + self._used)
            self._made.append([self._rounded(array) for array in build(key)])
            mx.eval(self._made[-1])
        self._used += 1
        return self._made[self._used - 1]

    def _rounded(self, array: mx.array) -> mx.array:
        if not mx.issubdtype(array.dtype, mx.floating):
            return array
        rounded = array.astype(self.dtype)
        return rounded.astype(mx.float32) if self.wide else rounded


Call = Callable[[Maker], Sequence[mx.array]]


@dataclass(frozen=True)
class Case:
    """One shape of one kernel.

    `launches` of it. `roundings` to the type, one after the other. `position`: the largest that
    turns anything; an angle in float32 is off by half a unit in its last place, in the twin too.
    `published`: the shape is one of LFM2-Audio-1.5B's.
    """

    kernel: str
    shape: str
    call: Call
    launches: int = 1
    roundings: int = 1
    position: int = 0
    published: bool = False


def project(rows: int, columns: int, bits: int, positions: int = 1, group: int = 64) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        norm, layer = make.norm(columns), make.linear(rows, columns, bits, group)
        return (norm_project(norm, layer, make.array(positions, 1, columns, scale=QUIET)),)

    return call


def head(rows: int, columns: int, bits: int) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        norm, table = make.norm(columns), make.packed(rows, columns, bits)
        return (norm_project(norm, table, make.array(1, columns)),)

    return call


def swiglu(rows: int, columns: int, bits: int, positions: int = 1, group: int = 64) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        norm, layer = make.norm(columns), make.linear(2 * rows, columns, bits, group)
        return (norm_swiglu(norm, layer, make.array(positions, columns)),)

    return call


def add(rows: int, columns: int, bits: int, positions: int = 1, group: int = 64) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        layer = make.linear(rows, columns, bits, group)
        return (project_add(layer, make.array(positions, columns), make.array(positions, rows)),)

    return call


def rope(
    B: int, T: int, heads: int, kv_heads: int, D: int, offsets: int | list[int], pairs: bool = False
) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        qkv = make.array(B, T, heads + 2 * kv_heads, D, scale=QUIET)
        weights = make.array(heads + kv_heads, D, scale=0.2, around=1)
        offset = offsets if isinstance(offsets, int) else mx.array(offsets)
        return qk_norm_rope(qkv, weights, kv_heads, EPS, THETA, offset, pairs)

    return call


def depth(B: int, heads: int, kv_heads: int, D: int, room: int = 8) -> Call:
    """All positions of a frame, each on what the one before left."""

    def call(make: Maker) -> Sequence[mx.array]:
        settings, total = DepthSettings(kv_heads, room, EPS, THETA), heads + 2 * kv_heads
        kinds = [make.array(1, D, scale=0.2, around=1) for _ in range(2)]
        weights = mx.concatenate(
            [mx.broadcast_to(w, (n, D)) for w, n in zip(kinds, (heads, kv_heads), strict=True)]
        )
        past: Past | None = None
        seen: list[mx.array] = []
        for position in range(room):
            qkv = make.array(B, total, D)
            y, past = depth_attention(qkv, weights, past, position, settings)
            seen.append(y)
        return seen

    return call


def draw(B: int, N: int, sampling: Sampling, offer: Offer | None = None, count: int = 1) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        draws = Draws(sampling, mx.random.key(make.seed), (count, B, N))
        logits = make.array(B, N, scale=3.0)
        return [
            sample_top_k(logits, draws, place, offer or Offer(N))
            for place in sorted({0, count - 1})
        ]

    return call


def draw_and_embed(B: int, N: int, K: int, bits: int, sampling: Sampling) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        draws = Draws(sampling, mx.random.key(make.seed), (8, B, N))
        logits, table, x = make.array(B, N, scale=3.0), make.packed(N, K, bits), make.array(B, K)
        return sample_and_embed(logits, draws, 3, Offer(N - 1), table, x)

    return call


def embed(B: int, n: int, N: int, K: int, bits: int, stride: int, group: int = 64) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        ids = mx.random.randint(0, N - stride * (n - 1), (B, n), key=mx.random.key(make.seed))
        return (embed_rows(make.packed(N, K, bits, group), ids, stride),)

    return call


def attend(B: int, T: int, heads: int, D: int) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        qkv, distances = make.array(B, T, 3, heads, D), make.array(2 * T - 1, heads, D)
        return (rel_pos_attention(qkv, distances, make.array(heads, D), make.array(heads, D)),)

    return call


def conv(B: int, T: int, D: int, length: int | None = None, fresh: bool = False) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        gated, weight = make.array(B, T, 3 * D), make.array(3, D)
        taps = None if fresh else (make.array(B, 1, D), make.array(B, 1, D))
        y, taps = short_conv(gated, taps, weight, None, length)
        return (y, *taps)

    return call


def glu(B: int, T: int, D: int, taps: int) -> Call:
    def call(make: Maker) -> Sequence[mx.array]:
        return (glu_conv(make.array(B, T, 2 * D), make.array(taps, D), make.array(D)),)

    return call


CHAT, SAY, WARM = Sampling(1.0, 4), Sampling(0.8, 64), Sampling(1.3, 0)

CASES = (
    Case("norm_project", "1 x 1024 -> 2048, 6 bit", project(2048, 1024, 6), published=True),
    Case("norm_project", "1 x 2048 -> 6144, 4 bit", project(6144, 2048, 4), published=True),
    Case("norm_project", "1 x 1024 -> 2049, 8 bit", head(2049, 1024, 8), published=True),
    Case("norm_project", "4 x 192 -> 27, 4 bit", project(27, 192, 4, positions=4)),
    Case("norm_project", "2 x 96 -> 9, 6 bit by 32", project(9, 96, 6, positions=2, group=32)),
    Case("norm_project", "1 x 32 -> 8, 2 bit by 32", project(8, 32, 2, group=32)),
    Case("norm_project", "3 x 256 -> 33, 8 bit by 128", project(33, 256, 8, 3, group=128)),
    Case("norm_swiglu", "1 x 1024 -> 2816, 6 bit", swiglu(2816, 1024, 6), published=True),
    Case("norm_swiglu", "1 x 2048 -> 8192, 4 bit", swiglu(8192, 2048, 4), published=True),
    Case("norm_swiglu", "3 x 160 -> 21, 8 bit by 32", swiglu(21, 160, 8, 3, group=32)),
    Case("norm_swiglu", "1 x 64 -> 9, 2 bit", swiglu(9, 64, 2)),
    Case("project_add", "1 x 2816 -> 1024, 6 bit", add(1024, 2816, 6), published=True),
    Case("project_add", "1 x 8192 -> 2048, 4 bit", add(2048, 8192, 4), published=True),
    Case("project_add", "4 x 96 -> 11, 4 bit by 32", add(11, 96, 4, 4, group=32)),
    Case("project_add", "2 x 64 -> 9, 8 bit", add(9, 64, 8, 2)),
    Case(
        "qk_norm_rope",
        "1 x 1, 32 + 8 heads of 64",
        rope(1, 1, 32, 8, 64, 700),
        position=700,
        published=True,
    ),
    Case(
        "qk_norm_rope",
        "1 x 75, 32 + 8 heads of 64",
        rope(1, 75, 32, 8, 64, 0),
        position=75,
        published=True,
    ),
    Case("qk_norm_rope", "9 rows apart, 6 + 2 heads of 32", rope(9, 1, 6, 2, 32, [*range(9)])),
    Case(
        "qk_norm_rope",
        "2 x 5, 3 + 1 heads of 128",
        rope(2, 5, 3, 1, 128, [3, 32000]),
        position=32005,
    ),
    Case("qk_norm_rope", "2 x 3, 2 + 1 heads of 20, neighbours", rope(2, 3, 2, 1, 20, 7, True)),
    Case("qk_norm_rope", "1 x 4, 4 + 4 heads of 80, neighbours", rope(1, 4, 4, 4, 80, 1, True)),
    Case(
        "depth_attention",
        "1, 32 + 8 heads of 32",
        depth(1, 32, 8, 32),
        8,
        roundings=2,
        published=True,
    ),
    Case("depth_attention", "3, 4 + 1 heads of 64", depth(3, 4, 1, 64), 8, roundings=2),
    Case("depth_attention", "2, 2 + 2 heads of 96", depth(2, 2, 2, 96, room=5), 5, roundings=2),
    Case("depth_attention", "1, 32 + 8 heads of 4", depth(1, 32, 8, 4), 8, roundings=2),
    Case("sample_top_k", "1 x 2049, T 1, top 4", draw(1, 2049, CHAT, count=8), 2, published=True),
    Case("sample_top_k", "1 x 2049, T 0.8, top 64", draw(1, 2049, SAY, count=8), 2, published=True),
    Case("sample_top_k", "1 x 65,536, greedy", draw(1, 65536, GREEDY), published=True),
    Case("sample_top_k", "1 x 65,536, T 1, top 4", draw(1, 65536, CHAT), published=True),
    Case("sample_top_k", "3 x 1025, T 1.3", draw(3, 1025, WARM)),
    Case("sample_top_k", "2 x 9, top 64", draw(2, 9, SAY, count=3), 2),
    Case("sample_top_k", "2 x 40, 7 and the last", draw(2, 40, CHAT, Offer(7, 39), 2), 2),
    Case(
        "sample_and_embed",
        "1 x 2049, row of 1024, 8 bit",
        draw_and_embed(1, 2049, 1024, 8, CHAT),
        published=True,
    ),
    Case("sample_and_embed", "3 x 65, row of 192, 6 bit", draw_and_embed(3, 65, 192, 6, SAY)),
    Case("sample_and_embed", "2 x 40, row of 64, greedy", draw_and_embed(2, 40, 64, 4, GREEDY)),
    Case("embed_rows", "1 of 2048, 6 bit", embed(1, 1, 4096, 2048, 6, 0), published=True),
    Case("embed_rows", "8 of 2048, 6 bit", embed(1, 8, 8 * 2049, 2048, 6, 2049), published=True),
    Case("embed_rows", "3 x 2 of 192, 4 bit", embed(3, 2, 40, 192, 4, 20)),
    Case("embed_rows", "5 of 64, 8 bit", embed(5, 1, 33, 64, 8, 0)),
    Case("embed_rows", "2 x 2 of 96, 6 bit by 32", embed(2, 2, 9, 96, 6, 4, group=32)),
    Case("rel_pos_attention", "50, 8 heads of 64 (4 s)", attend(1, 50, 8, 64), published=True),
    Case("rel_pos_attention", "375, 1 head of 64 (30 s)", attend(1, 375, 1, 64)),
    Case("rel_pos_attention", "2 x 33, 2 heads of 32", attend(2, 33, 2, 32)),
    Case("rel_pos_attention", "1, 1 head of 32", attend(1, 1, 1, 32)),
    Case("rel_pos_attention", "64, 3 heads of 64", attend(1, 64, 3, 64)),
    Case("short_conv", "128 of 2048", conv(1, 128, 2048), roundings=2, published=True),
    Case(
        "short_conv",
        "16 of 2048, 12 of them real",
        conv(1, 16, 2048, 12),
        roundings=2,
        published=True,
    ),
    Case("short_conv", "3 x 2 of 20, 1 real", conv(3, 2, 20, 1), roundings=2),
    Case("short_conv", "2 x 5 of 33, nothing before", conv(2, 5, 33, fresh=True), roundings=2),
    Case("glu_conv", "50 of 512, 9 taps (4 s)", glu(1, 50, 512, 9), published=True),
    Case("glu_conv", "2 x 3 of 20, 9 taps", glu(2, 3, 20, 9)),
    Case("glu_conv", "1 of 8, 1 tap", glu(1, 1, 8, 1)),
)
