"""The trained parts as one checkpoint in the original layout, which the reference loads too.

`layout/` has its configuration and the names and shapes of all tensors.
"""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
from mlx.utils import tree_flatten

from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.tokens import AUDIO_VOCABULARY, CODEBOOK_SIZE
from lfm_convert.original import MIMI_FILE
from lfm_train.codec.codec import TrainedCodec, codec_tensor
from lfm_train.loss import Weighting
from lfm_train.original import rewritten

__all__ = ["LAYOUT", "assemble"]

LAYOUT = Path(__file__).parent / "layout"
NOTICE = """\
The embedded checkpoint of lfm2audio-mlx: a toy of LFM2-Audio's architecture, trained from nothing
on speech by espeak-ng with the project's own code (training/, docs/nano.md). Licence: Apache-2.0,
the project's own.
"""


def assemble(
    model: Lfm2Audio, codec: TrainedCodec, weighting: Weighting, tokenizer: Path, folder: Path
) -> None:
    """Write the checkpoint to `folder`, with the tokenizer's files from another one."""
    folder.mkdir(parents=True)
    for path in (LAYOUT / "config.json", LAYOUT / "mimi_config.json"):
        shutil.copyfile(path, folder / path.name)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(tokenizer / name, folder / name)
    (folder / "NOTICE").write_text(NOTICE, "utf-8")
    shapes = json.loads((LAYOUT / "tensors.json").read_text("utf-8"))
    ours = cast(dict[str, Any], dict(tree_flatten(model.parameters())))
    _level_unused(ours, codec)
    made = {
        name: _buffer(name, shape, weighting)
        if name.endswith(BUFFERS)
        else rewritten("model", name, mx.zeros(shape), ours)
        for name, shape in shapes["model"].items()
    }
    mx.save_safetensors(str(folder / "model.safetensors"), made, {"format": "pt"})
    sound = {name: codec_tensor(codec, name, tuple(s)) for name, s in shapes["codec"].items()}
    mx.save_safetensors(str(folder / MIMI_FILE), sound, {"format": "pt"})


BUFFERS = (
    "codebook_offsets",
    "audio_loss_weights",
    "num_batches_tracked",
    "audio_embedding.embedding_norm.weight",
)


def _buffer(name: str, shape: list[int], weighting: Weighting) -> mx.array:
    """What the reference has besides, and inference does not need."""
    if name == "codebook_offsets":
        return mx.arange(shape[0], dtype=mx.int64) * AUDIO_VOCABULARY
    if name == "audio_loss_weights":
        return mx.array(weighting.codebooks)
    if name.endswith("num_batches_tracked"):
        return mx.zeros(shape, mx.int64)
    return mx.ones(shape)


def _level_unused(ours: dict[str, mx.array], codec: TrainedCodec) -> None:
    """Give all codes that the codec does not have the same row, their mean: they were never heard,
    and a row that comes a thousand times costs little where files are compressed."""
    size = len(codec.quantizer.rvq_first.layers[0].cluster_usage)
    unused = (mx.arange(AUDIO_VOCABULARY) >= size) & (mx.arange(AUDIO_VOCABULARY) < CODEBOOK_SIZE)
    for name, table in ours.items():
        if name == "audio_embedding.weight" or name.endswith(".embedding.weight"):
            rows = table.reshape(-1, AUDIO_VOCABULARY, table.shape[-1])
            mean = rows[:, size:CODEBOOK_SIZE].mean(axis=1, keepdims=True)
            ours[name] = mx.where(unused[:, None], mean, rows).reshape(table.shape)
