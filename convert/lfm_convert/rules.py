"""What happens to each tensor of an original checkpoint, as data.

Attribute names of our modules equal the checkpoint's names wherever that is sensible; these
tables hold the rest, as patterns for original names. `drop`: known and not needed for inference.
`layout`: how the axes are rearranged for MLX. `rename`: substitutions, applied in order.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# (MLX's stubs are partial.)

import re
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx

__all__ = ["LAYOUTS", "RULES", "Rules"]


@dataclass(frozen=True)
class Rules:
    """How one part's tensors become ours."""

    drop: tuple[str, ...]
    rename: tuple[tuple[str, str], ...]
    layout: tuple[tuple[str, str], ...]

    def our_name(self, original: str) -> str | None:
        """What a tensor is called here; None if it is not needed."""
        if any(re.fullmatch(pattern, original) for pattern in self.drop):
            return None
        for pattern, replacement in self.rename:
            original = re.sub(pattern, replacement, original)
        return original

    def layout_of(self, original: str) -> str | None:
        """Which of `LAYOUTS` a tensor gets, if any."""
        return next(
            (name for pattern, name in self.layout if re.fullmatch(pattern, original)), None
        )


RULES = {
    "model": Rules(
        drop=(
            # Buffers that inference rebuilds or never reads.
            r"codebook_offsets",
            r"audio_loss_weights",
            r".*\.num_batches_tracked",
            r"conformer\.pos_enc\.pe",
            r".*\.(inv_freq|freqs_cis)",
            r".*featurizer\.(window|fb)",
            # The audio embedding's own head: codes are chosen by the depthformer's.
            r"audio_embedding\.(embedding_norm|to_logits)\.weight",
        ),
        rename=(
            (r"^depth_(linear|embeddings)\.", r"depthformer.depth_\1."),
            (r"\.operator\.bounded_attention\.", r".operator."),
            (r"^audio_embedding\.embedding\.", r"audio_embedding."),
        ),
        layout=(
            (r"lfm\.layers\.\d+\.conv\.conv\.weight", "depthwise"),
            (r"conformer\.layers\.\d+\.conv\.depthwise_conv\.weight", "depthwise"),
            (r"conformer\.layers\.\d+\.conv\.pointwise_conv[12]\.weight", "pointwise"),
            (r"conformer\.pre_encode\.conv\.\d+\.weight", "conv2d"),
        ),
    ),
    "mimi": Rules(
        drop=(
            # The half that encodes sound.
            r"(encoder|encoder_transformer|downsample)\..*",
            r"quantizer\.rvq_(first|rest)\.input_proj\.weight",
            r"quantizer\..*\._codebook\.(_initialized|inited)",
        ),
        rename=(
            (r"(\.conv\.conv|(\.convtr){2,3})\.(weight|bias)$", r".\3"),
            (r"^decoder_transformer\.transformer\.", r"decoder_transformer."),
            (r"^decoder_transformer\.output_projs\.0\.", r"decoder_transformer.output_proj."),
            # Kyutai's published file, then the reference's own modules.
            (r"\.self_attn\.in_proj_weight$", r".self_attn.in_proj.weight"),
            (r"\.self_attn\.(in|out)_projs\.0\.", r".self_attn.\1_proj."),
            (r"\._codebook\.(embed_sum|embed_avg)$", r"._codebook.embedding_sum"),
            (r"\._codebook\.cluster_size$", r"._codebook.cluster_usage"),
        ),
        layout=(
            (r"upsample\..*\.weight", "depthwise_halves"),
            (r"decoder\..*\.convtr\.weight", "transposed"),
            (r"decoder\..*\.conv\.weight", "conv1d"),
        ),
    ),
    # The language model as mlx-audio names it, once its layers are numbers again.
    "mlx_audio": Rules(
        drop=(r"audio_embedding\.(embedding_norm|to_logits)\.weight",),
        rename=(
            (
                r"^audio_encoder\.(layers\.\d+)\.attn\.([qkv])_proj\.",
                r"conformer.\1.attn.linear_\2.",
            ),
            (r"^audio_encoder\.(layers\.\d+)\.attn\.out_proj\.", r"conformer.\1.attn.linear_out."),
            (r"^audio_encoder\.(layers\.\d+)\.attn\.pos_proj\.", r"conformer.\1.attn.linear_pos."),
            (r"^audio_encoder\.", r"conformer."),
            (r"^(conformer\.layers\.\d+)\.attn\.", r"\1.self_attn."),
            (r"^(conformer\.layers\.\d+)\.ff([12])_norm\.", r"\1.norm_feed_forward\2."),
            (r"^(conformer\.layers\.\d+)\.ff([12])\.", r"\1.feed_forward\2."),
            (r"^(conformer\.layers\.\d+)\.attn_norm\.", r"\1.norm_self_att."),
            (r"^(conformer\.layers\.\d+)\.conv_norm\.", r"\1.norm_conv."),
            (r"^(conformer\.layers\.\d+)\.final_norm\.", r"\1.norm_out."),
            (r"^(conformer\.layers\.\d+\.conv)\.norm\.", r"\1.batch_norm."),
            (r"^audio_adapter\.layers\.", r"audio_adapter.model."),
            (r"^audio_head\.depthformer\.blocks\.", r"depthformer.layers."),
            (r"^(depthformer\.layers\.\d+)\.attn_norm\.", r"\1.operator_norm."),
            (r"^(depthformer\.layers\.\d+)\.attn\.o_proj\.", r"\1.operator.out_proj."),
            (r"^(depthformer\.layers\.\d+)\.attn\.([qk])_norm\.", r"\1.operator.\2_layernorm."),
            (r"^(depthformer\.layers\.\d+)\.attn\.", r"\1.operator."),
            (r"^(depthformer\.layers\.\d+)\.ffn\.", r"\1.feed_forward."),
            (r"^depth_(linear|embeddings)\.", r"depthformer.depth_\1."),
            (r"^audio_embedding\.embedding\.", r"audio_embedding."),
        ),
        layout=(
            (r"lfm\.layers\.\d+\.conv\.conv\.weight", "depthwise_last"),
            (r"audio_encoder\.layers\.\d+\.conv\.depthwise_conv\.weight", "depthwise_last"),
        ),
    ),
    "detokenizer": Rules(
        drop=(r"lfm\.embed_tokens\.weight", r"istft\.window", r".*\.inv_freq"),
        rename=((r"^emb\.emb\.", r"emb."),),
        layout=((r"lfm\.layers\.\d+\.conv\.conv\.weight", "depthwise"),),
    ),
}


def _depthwise_halves(weight: mx.array) -> mx.array:
    """[D, 1, 2 * stride] -> [2, stride, D]: what an input adds now, and to the step after."""
    return weight.squeeze(1).T.reshape(2, -1, weight.shape[0])


# An axis that must be of length 1 is squeezed, which fails where it is not.
LAYOUTS: dict[str, Callable[[mx.array], mx.array]] = {
    "depthwise": lambda weight: weight.squeeze(1).T,  # [D, 1, K] -> [K, D]
    "depthwise_last": lambda weight: weight.squeeze(2).T,  # [D, K, 1] -> [K, D]
    "depthwise_halves": _depthwise_halves,
    "pointwise": lambda weight: weight.squeeze(2),  # [out, in, 1] -> [out, in]
    "conv1d": lambda weight: weight.transpose(0, 2, 1),  # [out, in, K] -> [out, K, in]
    "conv2d": lambda weight: weight.transpose(0, 2, 3, 1),  # [out, in, h, w] -> [out, h, w, in]
    "transposed": lambda weight: weight.transpose(2, 1, 0),  # [in, out, K] -> [K, out, in]
}
