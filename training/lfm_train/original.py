"""An original checkpoint opened for training, and written again with other weights.

What is written has every tensor of what was opened, under its name, in its shape and type: those
that were trained with their new values, all others (buffers, the codec, what training does not
touch) as they were. So whatever loads the one loads the other.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import mlx.core as mx
from mlx.utils import tree_flatten

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.errors import CheckpointError, RequestError
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.strict import read_json
from lfm2audio_mlx.weights import build, fill, open_tensors
from lfm_convert.rules import RULES
from lfm_convert.source import open_source

__all__ = ["Original", "open_original", "rewritten", "save_original"]

TIED_HEAD = (".to_logits.weight", ".embedding.weight")
"""A head that is its embedding again, and that embedding."""
OWN_HEAD = "audio_embedding.to_logits.weight"
"""A head that only training knows, and that is its embedding again where the config says so."""

RESTORED: dict[str, Callable[[mx.array], mx.array]] = {
    # Back from our axes to the original's, but for those of length 1.
    "depthwise": lambda weight: weight.T,
    "depthwise_halves": lambda weight: weight.reshape(-1, weight.shape[-1]).T,
    "pointwise": lambda weight: weight,
    "conv1d": lambda weight: weight.transpose(0, 2, 1),
    "conv2d": lambda weight: weight.transpose(0, 3, 1, 2),
    "transposed": lambda weight: weight.transpose(2, 1, 0),
}


@dataclass(frozen=True)
class Original:
    """A checkpoint in the original layout, and its language model in float32, ready to learn."""

    folder: Path
    config: ModelConfig
    model: Lfm2Audio


def open_original(folder: Path) -> Original:
    """Open a checkpoint in the original layout.

    Raises:
        ConfigError, CheckpointError: it is at fault, see `lfm_convert.source.open_source`.
        CheckpointError: it is not in the original layout.
    """
    opened = open_source(folder, None)
    if not list(folder.glob("model*.safetensors")) or (folder / "manifest.json").exists():
        raise CheckpointError(f"{folder}: was converted; training needs the original checkpoint")
    model = build(opened.config, "model")
    assert isinstance(model, Lfm2Audio)
    fill(model, opened.parts["model"], str(folder))
    model.set_dtype(mx.float32)
    mx.eval(model.parameters())
    return Original(folder, opened.config, model)


def save_original(original: Original, target: Path) -> None:
    """Write the checkpoint with the weights that its model has now. Nothing appears at `target`
    before it is whole.

    Raises:
        RequestError: the target exists.
    """
    if target.exists():
        raise RequestError(f"{target}: exists already; remove it or choose another name")
    unfinished = target.parent / f".{target.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(original.folder, unfinished)
    ours = cast(dict[str, mx.array], dict(tree_flatten(original.model.parameters())))
    tied = read_json(original.folder / "config.json").get("tie_audio_embeddings", False)
    kept = () if tied else (OWN_HEAD,)
    for path in unfinished.glob("model*.safetensors"):
        tensors = open_tensors(path)
        made = {
            name: tensor if name in kept else rewritten("model", name, tensor, ours)
            for name, tensor in tensors.items()
        }
        mx.eval(made)  # it is read from the file that is written now
        path.unlink()
        mx.save_safetensors(str(path), made, {"format": "pt"})
    unfinished.rename(target)


def rewritten(part: str, name: str, tensor: mx.array, ours: dict[str, mx.array]) -> mx.array:
    """What an original's tensor is now, given a part's weights under our names."""
    rules = RULES[part]
    found = ours.get(rules.our_name(name) or "")
    if found is None and name.endswith(TIED_HEAD[0]):
        name = name.replace(*TIED_HEAD)
        found = ours.get(rules.our_name(name) or "")
    if found is None:
        return tensor
    layout = rules.layout_of(name)
    restored = RESTORED[layout](found) if layout else found
    return restored.reshape(tensor.shape).astype(tensor.dtype)
