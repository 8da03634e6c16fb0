"""Name, shape and kind of every parameter of the original layout, from its config."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = [
    "CODES",
    "TEXT",
    "Config",
    "Tensor",
    "Tensors",
    "detokenizer_tensors",
    "mimi_tensors",
    "model_tensors",
]

Config = dict[str, Any]

CODES = 2049  # 2,048 codes and end-of-audio
TEXT = "lfm.embed_tokens.weight"


class Tensor(NamedTuple):
    """A tensor to draw: `kind` says how, `gain` scales what is drawn."""

    name: str
    shape: tuple[int, ...]
    kind: str
    gain: float = 1.0


Tensors = Iterator[Tensor]


def _linear(name: str, out: int, *into: int, bias: bool = True, gain: float = 1.0) -> Tensors:
    yield Tensor(f"{name}.weight", (out, *into), "weight", gain)
    if bias:
        yield Tensor(f"{name}.bias", (out,), "bias")


def _norm(name: str, dim: int, *, bias: bool = False) -> Tensors:
    yield Tensor(f"{name}.weight", (dim,), "norm")
    if bias:
        yield Tensor(f"{name}.bias", (dim,), "bias")


def model_tensors(config: Config) -> Tensors:
    hidden, depth = config["lfm"]["hidden_size"], config["depthformer"]
    yield from _lfm_tensors("lfm", config["lfm"])
    yield Tensor(TEXT, (config["lfm"]["vocab_size"], hidden), "table", 0.2)
    yield from _encoder_tensors("conformer", config["encoder"])
    yield from _norm("audio_adapter.model.0", config["encoder"]["d_model"], bias=True)
    yield from _linear("audio_adapter.model.1", hidden, config["encoder"]["d_model"])
    yield from _linear("audio_adapter.model.3", hidden, hidden, gain=0.5)
    codes = CODES * config["codebooks"]
    yield from _embedding("audio_embedding", codes, hidden, config["tie_audio_embeddings"], 0.07)
    yield from _depth_tensors("depthformer", depth)
    yield from _linear("depth_linear", depth["dim"] * config["codebooks"], hidden, gain=0.5)
    for i in range(config["codebooks"]):
        yield from _embedding(f"depth_embeddings.{i}", CODES, depth["dim"], depth["tie"], 0.3)


def _embedding(name: str, rows: int, dim: int, tied: bool, gain: float) -> Tensors:
    yield Tensor(f"{name}.embedding.weight", (rows, dim), "table", gain)
    yield from _norm(f"{name}.embedding_norm", dim)
    if not tied:
        yield Tensor(f"{name}.to_logits.weight", (rows, dim), "table", gain)


def _lfm_tensors(name: str, lfm: Config) -> Tensors:
    dim, heads, kv = lfm["hidden_size"], lfm["num_attention_heads"], lfm["num_key_value_heads"]
    head, ff, bias = dim // heads, _feed_forward_size(lfm), lfm["conv_bias"]
    for i, kind in enumerate(lfm["layer_types"]):
        layer = f"{name}.layers.{i}"
        if kind == "conv":
            yield from _linear(f"{layer}.conv.conv", dim, 1, lfm["conv_L_cache"], bias=bias)
            yield from _linear(f"{layer}.conv.in_proj", 3 * dim, dim, bias=bias)
            yield from _linear(f"{layer}.conv.out_proj", dim, dim, bias=bias)
        else:
            for part, width in (("q", heads * head), ("k", kv * head), ("v", kv * head)):
                yield from _linear(f"{layer}.self_attn.{part}_proj", width, dim, bias=False)
            yield from _linear(f"{layer}.self_attn.out_proj", dim, heads * head, bias=False)
            yield from _norm(f"{layer}.self_attn.q_layernorm", head)
            yield from _norm(f"{layer}.self_attn.k_layernorm", head)
        yield from _glu(f"{layer}.feed_forward", dim, ff)
        yield from _norm(f"{layer}.operator_norm", dim)
        yield from _norm(f"{layer}.ffn_norm", dim)
    yield from _norm(f"{name}.embedding_norm", dim)


def _glu(name: str, dim: int, ff: int) -> Tensors:
    yield from _linear(f"{name}.w1", ff, dim, bias=False)
    yield from _linear(f"{name}.w3", ff, dim, bias=False)
    yield from _linear(f"{name}.w2", dim, ff, bias=False, gain=1.5)


def _feed_forward_size(lfm: Config) -> int:
    size = lfm.get("block_ff_dim", lfm["intermediate_size"])
    if lfm["block_auto_adjust_ff_dim"]:
        size = int(lfm["block_ffn_dim_multiplier"] * int(2 * size / 3))
        size = -(-size // lfm["block_multiple_of"]) * lfm["block_multiple_of"]
    return size


def _depth_tensors(name: str, depth: Config) -> Tensors:
    dim = depth["dim"]
    head = dim // 32  # the reference's 32 query and 8 key heads, whatever the width
    for i in range(depth["layers"]):
        layer = f"{name}.layers.{i}"
        yield from _linear(f"{layer}.operator.qkv_proj", dim + 16 * head, dim, bias=False)
        yield from _linear(f"{layer}.operator.out_proj", dim, dim, bias=False)
        yield from _norm(f"{layer}.operator.bounded_attention.q_layernorm", head)
        yield from _norm(f"{layer}.operator.bounded_attention.k_layernorm", head)
        yield from _glu(f"{layer}.feed_forward", dim, -(-int(8 * dim / 3) // 256) * 256)
        yield from _norm(f"{layer}.operator_norm", dim)
        yield from _norm(f"{layer}.ffn_norm", dim)


def _encoder_tensors(name: str, encoder: Config) -> Tensors:
    dim, channels = encoder["d_model"], encoder["subsampling_conv_channels"]
    sub = f"{name}.pre_encode"
    for i in (0, 2, 5):
        yield from _linear(f"{sub}.conv.{i}", channels, 1, 3, 3, gain=1.4)
    for i in (3, 6):
        yield from _linear(f"{sub}.conv.{i}", channels, channels, 1, 1, gain=1.4)
    bands = encoder["feat_in"] // encoder["subsampling_factor"]
    yield from _linear(f"{sub}.out", dim, channels * bands)
    for i in range(encoder["n_layers"]):
        yield from _encoder_layer(f"{name}.layers.{i}", encoder)


def _encoder_layer(name: str, encoder: Config) -> Tensors:
    dim, heads = encoder["d_model"], encoder["n_heads"]
    ff = dim * encoder["ff_expansion_factor"]
    for part in ("feed_forward1", "feed_forward2"):
        yield from _norm(f"{name}.norm_{part}", dim, bias=True)
        yield from _linear(f"{name}.{part}.linear1", ff, dim)
        yield from _linear(f"{name}.{part}.linear2", dim, ff, gain=1.5)
    for part in ("norm_conv", "norm_self_att", "norm_out"):
        yield from _norm(f"{name}.{part}", dim, bias=True)
    attention = f"{name}.self_attn"
    for part in ("q", "k", "v", "out"):
        yield from _linear(f"{attention}.linear_{part}", dim, dim)
    yield from _linear(f"{attention}.linear_pos", dim, dim, bias=False)
    for part in ("u", "v"):
        yield Tensor(f"{attention}.pos_bias_{part}", (heads, dim // heads), "bias", 3.0)
    conv = f"{name}.conv"
    yield from _linear(f"{conv}.pointwise_conv1", 2 * dim, dim, 1)
    yield from _linear(f"{conv}.depthwise_conv", dim, 1, encoder["conv_kernel_size"])
    yield from _norm(f"{conv}.batch_norm", dim, bias=True)
    yield Tensor(f"{conv}.batch_norm.running_mean", (dim,), "bias")
    yield Tensor(f"{conv}.batch_norm.running_var", (dim,), "variance")
    yield from _linear(f"{conv}.pointwise_conv2", dim, dim, 1, gain=1.5)


def detokenizer_tensors(config: Config) -> Tensors:
    dim = config["hidden_size"]
    yield Tensor("emb.emb.weight", (8 * 2048, dim), "table", 0.6)
    yield from _lfm_tensors("lfm", config)
    yield Tensor(TEXT, (config["vocab_size"], dim), "table")  # never read
    yield from _linear("lin", config["output_size"], dim)


def mimi_tensors(config: Config) -> Tensors:
    seanet, quantizer, dim = config["seanet"], config["quantizer"], config["seanet"]["dimension"]
    yield from _seanet_encoder("encoder.model", seanet)
    yield from _seanet_decoder("decoder.model", seanet)
    for part in ("encoder_transformer", "decoder_transformer"):
        yield from _mimi_transformer(part, config["transformer"])
    yield from _linear("downsample.conv.conv.conv", dim, dim, 4, bias=False)
    yield from _linear("upsample.convtr.convtr.convtr", dim, 1, 4, bias=False, gain=1.5)
    for part, count in (("rvq_first", 1), ("rvq_rest", quantizer["n_q"] - 1)):
        yield from _quantizer(f"quantizer.{part}", count, quantizer)


def _quantizer(name: str, count: int, quantizer: Config) -> Tensors:
    dim, bins = quantizer["dimension"], quantizer["bins"]
    yield from _linear(f"{name}.input_proj", dim, quantizer["input_dimension"], 1, bias=False)
    yield from _linear(f"{name}.output_proj", quantizer["output_dimension"], dim, 1, bias=False)
    for i in range(count):
        codebook = f"{name}.vq.layers.{i}._codebook"
        yield Tensor(f"{codebook}._initialized", (1,), "one")
        yield Tensor(f"{codebook}.cluster_usage", (bins,), "usage")
        yield Tensor(f"{codebook}.embedding_sum", (bins, dim), "sums", 0.4)


def _mimi_transformer(name: str, config: Config) -> Tensors:
    dim, outside, ff = config["d_model"], config["input_dimension"], config["dim_feedforward"]
    for i in range(config["num_layers"]):
        layer = f"{name}.transformer.layers.{i}"
        yield from _linear(f"{layer}.self_attn.in_projs.0", 3 * dim, dim, bias=False)
        yield from _linear(f"{layer}.self_attn.out_projs.0", dim, dim, bias=False)
        yield from _linear(f"{layer}.linear1", ff, dim, bias=False)
        yield from _linear(f"{layer}.linear2", dim, ff, bias=False)
        for part in ("1", "2"):
            yield from _norm(f"{layer}.norm{part}", dim, bias=True)
            yield Tensor(f"{layer}.layer_scale_{part}.scale", (dim,), "norm", 0.5)
    if dim != outside:
        yield from _linear(f"{name}.input_proj", dim, outside, bias=False)
        yield from _linear(f"{name}.output_projs.0", outside, dim, bias=False)


def _residual(name: str, dim: int, seanet: Config) -> Tensors:
    inner = dim // seanet["compress"]
    yield from _linear(f"{name}.block.1.conv.conv", inner, dim, seanet["residual_kernel_size"])
    yield from _linear(f"{name}.block.3.conv.conv", dim, inner, 1)


def _seanet_encoder(name: str, seanet: Config) -> Tensors:
    dim, count = seanet["n_filters"], seanet["n_residual_layers"]
    yield from _linear(f"{name}.0.conv.conv", dim, seanet["channels"], seanet["kernel_size"])
    at = 1
    for ratio in reversed(seanet["ratios"]):
        for j in range(count):
            yield from _residual(f"{name}.{at + j}", dim, seanet)
        yield from _linear(f"{name}.{at + count + 1}.conv.conv", 2 * dim, dim, 2 * ratio)
        at, dim = at + count + 2, 2 * dim
    last = f"{name}.{at + 1}.conv.conv"
    yield from _linear(last, seanet["dimension"], dim, seanet["last_kernel_size"])


def _seanet_decoder(name: str, seanet: Config) -> Tensors:
    dim, count = seanet["n_filters"] * 2 ** len(seanet["ratios"]), seanet["n_residual_layers"]
    yield from _linear(f"{name}.0.conv.conv", dim, seanet["dimension"], seanet["kernel_size"])
    at = 1
    for ratio in seanet["ratios"]:
        # A transposed convolution's weight is (in, out, kernel): each output sums 2 * in terms.
        up = f"{name}.{at + 1}.convtr.convtr"
        yield Tensor(f"{up}.weight", (dim, dim // 2, 2 * ratio), "weight", math.sqrt(ratio / 2))
        yield Tensor(f"{up}.bias", (dim // 2,), "bias")
        dim //= 2
        for j in range(count):
            yield from _residual(f"{name}.{at + 2 + j}", dim, seanet)
        at += count + 2
    last = f"{name}.{at + 1}.conv.conv"
    yield from _linear(last, seanet["channels"], dim, seanet["last_kernel_size"], gain=0.1)
