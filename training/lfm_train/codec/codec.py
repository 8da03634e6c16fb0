"""Mimi whole: encoder, quantiser, decoder; from an original file and back into one.

Reference: `moshi/models/compression.py`.
"""

import math
import re
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from lfm2audio_mlx.config import MimiConfig, ModelConfig
from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.weights import check_tensors, open_tensors
from lfm_convert.rules import LAYOUTS, RULES
from lfm_train.codec.network import Decoder, Encoder
from lfm_train.codec.quantizer import SplitQuantizer
from lfm_train.original import RESTORED

__all__ = ["TrainedCodec", "codec_tensor", "open_codec"]

RENAME = (
    # What the converter's rules, which drop the encoder, leave of the original's names.
    (r"^(encoder|encoder_transformer|downsample)\.", r"encode.\1."),
    (r"^(decoder|decoder_transformer|upsample)\.", r"decode.\1."),
    (r"^encode\.encoder_transformer\.transformer\.", r"encode.encoder_transformer."),
    (r"^encode\.downsample\.conv\.", r"encode.downsample."),
    (r"\.vq\.layers\.(\d+)\._codebook\.", r".layers.\1."),
)
LAYOUT = (
    (r"(encoder|downsample)\..*\.conv\.weight", "conv1d"),
    (r"quantizer\.rvq_(first|rest)\.(in|out)put_proj\.weight", "pointwise"),
)
FLAGS = ("._initialized", ".inited")
"""Of codebooks: whether they have begun."""


class TrainedCodec(nn.Module):
    """Encoder, quantiser, decoder; `quantised` from when on there are codebooks."""

    def __init__(self, config: MimiConfig, inner: int, codebooks: int, size: int):
        super().__init__()
        self.encode, self.decode = Encoder(config), Decoder(config)
        self.quantizer = SplitQuantizer(config.seanet.dimension, inner, codebooks, size)
        self.quantised = False
        self.frame_size = config.upsample_stride * math.prod(config.seanet.ratios)

    def __call__(self, samples: mx.array, learn: bool = False) -> tuple[mx.array, mx.array]:
        """Samples [B, N] as they come back, and the commitment loss."""
        latents = self.encode(samples)
        if not self.quantised:
            return self.decode(self.quantizer.unquantised(latents)), mx.array(0.0)
        quantised, _, commitment = self.quantizer(latents, learn)
        return self.decode(quantised), commitment

    def codes(self, samples: mx.array) -> mx.array:
        """Samples [B, frames * frame_size] -> codes [B, codebooks, frames]."""
        return self.quantizer(self.encode(samples))[1]


def open_codec(config: ModelConfig, path: Path) -> TrainedCodec:
    """The codec in an original file, as many of its codebooks as the model uses.

    Raises:
        CheckpointError: the file is missing, damaged, or no such codec's.
    """
    made = {
        name: LAYOUTS[layout](tensor) if (layout := _layout(original)) else tensor
        for original, tensor in open_tensors(path).items()
        if (name := _our_name(original)) and not _is_beyond(name, config.codebooks)
    }
    inner = made.get("quantizer.rvq_first.layers.0.embedding_sum")
    if config.mimi is None or inner is None:
        raise CheckpointError(f"{path}: holds no Mimi codec that could encode speech")
    codec = TrainedCodec(config.mimi, inner.shape[1], config.codebooks, config.codebook_size)
    check_tensors(codec, made, str(path))
    codec.load_weights([(k, v.astype(mx.float32)) for k, v in made.items()], strict=True)
    codec.quantised = True
    codec.eval()
    return codec


def _is_beyond(name: str, codebooks: int) -> bool:
    """Is this of a codebook that the model does not use?"""
    found = re.fullmatch(r"quantizer\.rvq_rest\.layers\.(\d+)\..*", name)
    return found is not None and int(found[1]) >= codebooks - 1


def codec_tensor(codec: TrainedCodec, original: str, shape: tuple[int, ...]) -> mx.array:
    """A codec's weights as the original file has them, by their name there."""
    name = _our_name(original)
    if name is None:
        return mx.ones(shape)
    ours = cast(dict[str, Any], dict(tree_flatten(codec.parameters())))[name]
    layout = _layout(original)
    return (RESTORED[layout](ours) if layout else ours).reshape(shape)


def _our_name(original: str) -> str | None:
    if original.endswith(FLAGS):
        return None
    for pattern, replacement in (*RULES["mimi"].rename, *RENAME):
        original = re.sub(pattern, replacement, original)
    return original


def _layout(original: str) -> str | None:
    found = (layout for pattern, layout in LAYOUT if re.fullmatch(pattern, original))
    return next(found, RULES["mimi"].layout_of(original))
