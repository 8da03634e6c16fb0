"""Small networks with the head sizes of LFM2-Audio-1.5B and packed weights, so that all kernels
take part in them."""

from dataclasses import replace
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.layout import join_layers
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.weights import build

__all__ = ["packed_model", "small_config"]


def small_config(config: ModelConfig) -> ModelConfig:
    """A configuration with other sizes: 3 layers of each kind, heads of 64 and of 32."""
    return replace(
        config,
        codebook_size=2048,
        lfm=replace(
            config.lfm,
            hidden_size=256,
            num_attention_heads=4,
            num_key_value_heads=2,
            layer_types=("conv", "full_attention", "conv", "full_attention"),
            ff_dim=320,
        ),
        depthformer=replace(config.depthformer, layers=2, dim=256, heads=8, kv_heads=2, ff_dim=320),
        conformer=replace(config.conformer, n_layers=2),
    )


def packed_model(config: ModelConfig, dtype: mx.Dtype) -> Lfm2Audio:
    """Random weights, packed in 4, 6 and 8 bits, in the layout of a loaded model."""
    mx.random.seed(0)
    model = cast(Lfm2Audio, build(config, "model"))

    def bits(path: str, layer: nn.Module) -> bool | dict[str, Any]:
        if not hasattr(layer, "to_quantized") or cast(Any, layer).weight.shape[-1] % 64:
            return False
        for part, count in (("depth_embeddings", 8), ("depthformer", 6), ("embed", 6)):
            if part in path:
                return {"bits": count, "group_size": 64}
        return {"bits": 8 if path.startswith("conformer") else 4, "group_size": 64}

    nn.quantize(model, class_predicate=bits)
    model.set_dtype(dtype)
    model.eval()
    join_layers(model)
    mx.eval(model.parameters())
    return model
