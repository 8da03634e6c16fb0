"""Networks with packed random weights in which all kernels take part: small, as deep as
LFM2-Audio-1.5B, or of its very shapes."""

from dataclasses import replace
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.layout import join_layers
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.weights import build
from performance import PUBLISHED

__all__ = ["deep_config", "packed_model", "published_config", "small_config"]


def small_config(config: ModelConfig) -> ModelConfig:
    """Two or four layers of each part, heads of 64 and of 32."""
    layers = ("conv", "full_attention", "conv", "full_attention")
    backbone = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2}
    depth = {"layers": 2, "dim": 256, "heads": 8, "kv_heads": 2, "ff_dim": 320}
    return replace(
        config,
        codebook_size=2048,
        lfm=replace(config.lfm, **backbone, ff_dim=320, layer_types=layers),
        depthformer=replace(config.depthformer, **depth),
        conformer=replace(config.conformer, n_layers=2),
    )


def deep_config(config: ModelConfig) -> ModelConfig:
    """As small, with all layers of LFM2-Audio-1.5B: these, not their widths, are launched."""
    small = small_config(config)
    return replace(
        small,
        lfm=replace(small.lfm, layer_types=PUBLISHED["lfm"]["layer_types"]),
        depthformer=replace(small.depthformer, layers=6),
        conformer=replace(small.conformer, n_layers=17),
    )


def published_config(config: ModelConfig) -> ModelConfig:
    """Backbone and depthformer of LFM2-Audio-1.5B (model card); the encoder stays small."""
    small = small_config(config)
    return replace(
        small,
        lfm=replace(small.lfm, **PUBLISHED["lfm"]),
        depthformer=replace(config.depthformer, **PUBLISHED["depthformer"]),
        conformer=replace(small.conformer, n_layers=1),
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
