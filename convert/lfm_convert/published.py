"""What original configs say, must say, or leave to the reference's code, as data."""

from typing import Any

__all__ = [
    "CODEC_RATE",
    "DEPTHFORMER",
    "DETOKENIZER_DEFAULTS",
    "FRAME_RATE",
    "MUST_BE",
    "PUBLISHED_MIMI",
    "SEANET_SIZES",
    "TRAINING_ONLY",
    "TWINS",
    "Section",
]

Section = dict[str, Any]

MUST_BE: dict[str, Section] = {
    # What the engine builds; another value is another architecture.
    "preprocessor": {
        "normalize": "per_feature",
        "window": "hann",
        "log": True,
        "frame_splicing": 1,
        "pad_to": 0,
        "pad_value": 0.0,
    },
    "encoder": {
        "feat_out": -1,
        "subsampling": "dw_striding",
        "causal_downsampling": False,
        "reduction": None,
        "self_attention_model": "rel_pos",
        "att_context_size": [-1, -1],
        "conv_norm_type": "batch_norm",
        "conv_context_size": None,
    },
    "seanet": {
        "channels": 1,
        "causal": True,
        "activation": "ELU",
        "norm": "none",
        "pad_mode": "constant",
        "true_skip": True,
    },
    "transformer": {
        "causal": True,
        "conv_layout": True,
        "gating": "none",
        "norm": "layer_norm",
        "positional_embedding": "rope",
    },
}

TRAINING_ONLY = {
    # Known, and of no meaning for inference.
    "architectures", "model_type", "transformers_version", "torch_dtype", "dtype",
    "tie_audio_embeddings", "semantic_codebook_factor", "codebook_weight",
    "text_loss_multiplier", "audio_loss_multiplier",
    "dither", "dropout", "dropout_pre_encoder", "dropout_emb", "dropout_att",
    "reduction_position", "reduction_factor", "untie_biases", "pos_emb_max_len",
    "_name_or_path", "block_mlp_init_scale", "block_out_init_scale", "block_use_swiglu",
    "block_use_xavier_init", "conv_use_xavier_init", "initializer_range", "use_cache",
    "use_pos_enc", "bos_token_id", "pad_token_id", "tie_word_embeddings", "tie_embedding",
    "disable_norm_outer_blocks", "layer_scale", "n_q", "input_dimension", "output_dimension",
    "output_dimensions", "quantization", "quantization_config", "quantization_mode",
}  # fmt: skip

TWINS = (
    # Keys that say the same thing; the first is the one that counts.
    ("hidden_size", "block_dim", "conv_dim", "conv_dim_out"),
    ("num_attention_heads", "num_heads"),
    ("norm_eps", "block_norm_eps"),
)

DETOKENIZER_DEFAULTS: Section = {
    # What the reference leaves to its classes when the detokenizer's config is silent.
    "norm_eps": 1e-5,
    "rope_theta": 1e6,
    "conv_bias": False,
    "conv_L_cache": 3,
    "block_auto_adjust_ff_dim": True,
    "block_ffn_dim_multiplier": 1.0,
    "block_multiple_of": 256,
    "sliding_window": 30,
    "output_size": 1282,
}

DEPTHFORMER = {"heads": 32, "kv_heads": 8, "norm_eps": 1e-5, "rope_theta": 1e6}
"""Sizes that the reference's `MHA` fixes in code."""

PUBLISHED_MIMI: dict[str, Section] = {
    # The codec of the published checkpoints; its file carries no sizes.
    "seanet": {
        **MUST_BE["seanet"],
        "dimension": 512,
        "n_filters": 64,
        "n_residual_layers": 1,
        "ratios": [8, 6, 5, 4],
        "kernel_size": 7,
        "residual_kernel_size": 3,
        "last_kernel_size": 3,
        "dilation_base": 2,
        "compress": 2,
    },
    "quantizer": {"bins": 2048, "dimension": 256},
    "transformer": {
        **MUST_BE["transformer"],
        "d_model": 512,
        "num_heads": 8,
        "num_layers": 8,
        "dim_feedforward": 2048,
        "context": 250,
        "max_period": 10_000,
    },
}

SEANET_SIZES = (
    "dimension",
    "n_filters",
    "n_residual_layers",
    "kernel_size",
    "residual_kernel_size",
    "last_kernel_size",
    "dilation_base",
    "compress",
)

CODEC_RATE = 24_000
FRAME_RATE = 12.5
