"""The middle of a Conformer's convolution module in one launch: GLU, depthwise convolution, SiLU.

Gulati et al. 2020 (https://arxiv.org/abs/2005.08100); the batch norm between the last two is
folded into the convolution's weights (`ConvolutionModule.join`).
"""

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.kernels.depthwise import centred
from lfm2audio_mlx.kernels.metal import Grid, Kernel, usable

__all__ = ["glu_conv"]

_kernel = Kernel("glu_conv", ("x", "weight", "bias"), ("y",))


def glu_conv(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
    """x [B, T, 2 D], weight [K, D] with K odd, bias [D] -> [B, T, D]; beyond the ends are zeros."""
    B, T, D = x.shape[0], x.shape[1], x.shape[2] // 2
    if usable(x, weight, bias):
        (y,) = _kernel(
            (x, weight, bias),
            {"T": x.dtype},
            Grid((D, T, B), (min(D, 256), 1, 1)),
            [((B, T, D), x.dtype)],
        )
        return y
    return nn.silu(centred(nn.glu(x), weight, bias))
