"""Low-rank adapters on the backbone, by mlx-lm (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

from typing import cast

import mlx.nn as nn
from mlx.utils import tree_unflatten
from mlx_lm.tuner.lora import LoRALinear
from mlx_lm.tuner.utils import linear_to_lora_layers

from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio

__all__ = ["adapt", "merge"]

SCALE = 20.0
"""What an adapter's product is multiplied by: mlx-lm's usual value."""


def adapt(model: Lfm2Audio, rank: int) -> None:
    """Put an adapter on each linear layer of the backbone; nothing else learns any more."""
    model.freeze()
    linear_to_lora_layers(
        model.lfm, len(model.lfm.layers), {"rank": rank, "scale": SCALE, "dropout": 0.0}
    )


def merge(model: Lfm2Audio) -> None:
    """Add what the adapters have learnt to the layers, and take them off."""
    layers = cast(list[tuple[str, nn.Module]], model.named_modules())
    merged = [(name, layer.fuse()) for name, layer in layers if isinstance(layer, LoRALinear)]
    model.update_modules(tree_unflatten(merged))
