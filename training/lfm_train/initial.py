"""What an untrained network of the product's begins with, where inference has no need to say."""

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.models.layers import DepthwiseConv

__all__ = ["initialise"]


def initialise(model: nn.Module) -> None:
    """Filters over time, which are built as zeros, drawn as MLX draws those of its convolutions;
    other layers are MLX's own and drawn already."""
    for _, module in model.named_modules():
        if isinstance(module, DepthwiseConv):
            bound = module.weight.shape[0] ** -0.5
            module.weight = mx.random.uniform(-bound, bound, module.weight.shape)
    mx.eval(model.parameters())
