"""Open a converted folder: check everything, then build, quantise as recorded, load strictly.

Names and shapes are compared with what the configuration builds before any weight is read, so a
wrong folder is refused in a moment, and every tensor at fault is named.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from safetensors import SafetensorError, safe_open

from lfm2audio_mlx.config import ModelConfig, QuantizationConfig, read_config
from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.layout import join_layers, pays_to_unpack, unpack_layers
from lfm2audio_mlx.manifest import check_files, read_manifest
from lfm2audio_mlx.models.codec import Codec
from lfm2audio_mlx.models.detokenizer import Detokenizer
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.models.mimi import Mimi

log = logging.getLogger(__name__)

__all__ = [
    "FILES",
    "Checkpoint",
    "build",
    "check_tensors",
    "fill",
    "load",
    "open_tensors",
    "quantize",
    "unpacked_size",
    "usual_dtype",
]

FILES = {
    "model": "model.safetensors",
    "mimi": "mimi.safetensors",
    "detokenizer": "detokenizer.safetensors",
}
"""Weight file of each part of a converted folder."""


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model and the decoder it speaks through. `unpacked`: its quantised weights stand
    in memory as float32."""

    config: ModelConfig
    model: Lfm2Audio
    codec: Codec
    unpacked: bool = False


def load(
    folder: Path, dtype: str | None = None, digests: bool = False, unpack: bool | None = None
) -> Checkpoint:
    """Load a converted folder. Sizes of files are checked, `digests` too when asked to.

    `dtype` overrides the stored type of all that is not quantised (parity with the reference
    wants "float32"). Without it MLX's CPU backend gets float32, which is the only type it is
    fast in, and a GPU what is stored. The decoder always computes in float32. Where both
    decoders are there it speaks through the detokenizer, as LFM2.5 does.

    Raises:
        ConfigError: `config.json` is at fault.
        CheckpointError: a weight file is missing or damaged, or does not fit the config.
    """
    config = read_config(folder)
    if manifest := read_manifest(folder):
        check_files(folder, manifest, digests)
    dtype = dtype or usual_dtype(config)
    decoder = "detokenizer" if config.detokenizer else "mimi"
    stored = {part: open_tensors(folder / FILES[part]) for part in ("model", decoder)}
    if unpack is None:
        unpack = pays_to_unpack(unpacked_size(config, stored), dtype)
    way = "unpacked to float32" if unpack else "as they are stored"
    log.debug("loading %s: %s, in %s, weights %s", folder, decoder, dtype, way)
    modules: dict[str, nn.Module] = {}
    for part in list(stored):
        module = modules[part] = build(config, part)
        quantize(module, part, config.quantization)
        fill(module, stored.pop(part), str(folder / FILES[part]))
        if part == "model":
            module.set_dtype(getattr(mx, dtype))
        elif part == "detokenizer":
            # Rounding a decoder's phases and sums to 16 bits is audible, and it is small.
            module.set_dtype(mx.float32)
        module.eval()
        join_layers(module)
        if unpack:
            unpack_layers(module)
        mx.eval(module.parameters())
    model, codec = modules["model"], modules[decoder]
    assert isinstance(model, Lfm2Audio) and isinstance(codec, Mimi | Detokenizer)
    return Checkpoint(config, model, codec, unpack)


def usual_dtype(config: ModelConfig) -> str:
    """MLX's CPU backend is fast in float32 only; a GPU gets what is stored."""
    return config.dtype if mx.default_device() == mx.Device(mx.gpu) else "float32"


def unpacked_size(config: ModelConfig, stored: dict[str, dict[str, mx.array]]) -> int:
    """Bytes that the quantised weights of these parts would take in float32."""
    size = 0
    for name, entry in config.quantization.items():
        part, _, path = name.partition(".")
        packed = stored.get(part, {}).get(f"{path}.weight")
        if packed is not None:
            size += packed.size * 32 // entry.bits * 4
    return size


def build(config: ModelConfig, part: str) -> nn.Module:
    """The network of one part ("model", "mimi" or "detokenizer"), with untrained weights."""
    if part == "mimi" and config.mimi:
        return Mimi(config.mimi, config.codebooks, config.codebook_size)
    if part == "detokenizer" and config.detokenizer:
        return Detokenizer(config.detokenizer, config.codebooks, config.codebook_size)
    return Lfm2Audio(config)


def quantize(module: nn.Module, part: str, record: dict[str, QuantizationConfig]) -> None:
    """Turn the layers of a part that `record` names ("part.path.of.layer") into quantised ones.

    Raises:
        CheckpointError: the record names what cannot be quantised so.
    """
    layers = cast(dict[str, nn.Module], dict(module.named_modules()))
    for name, entry in record.items():
        owner, _, path = name.partition(".")
        if owner not in FILES:
            raise CheckpointError(f"quantization of '{name}': there is no part '{owner}'")
        if owner != part:
            continue
        layer = layers.get(path)
        if not isinstance(layer, nn.Linear | nn.Embedding):
            raise CheckpointError(f"quantization of '{name}': there is no such layer to quantise")
        if layer.weight.shape[-1] % entry.group_size:
            raise CheckpointError(
                f"quantization of '{name}': rows of {layer.weight.shape[-1]} are no multiple of "
                f"the group size {entry.group_size}"
            )

    def plan(path: str, layer: nn.Module) -> bool | dict[str, int]:
        entry = record.get(f"{part}.{path}")
        return {"bits": entry.bits, "group_size": entry.group_size} if entry else False

    nn.quantize(module, class_predicate=plan)


def open_tensors(path: Path) -> dict[str, mx.array]:
    """The tensors of a safetensors file, not yet read from disk.

    Raises:
        CheckpointError: the file is missing, truncated or no safetensors file.
    """
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: not there") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        # The library checks lengths and offsets; MLX trusts them.
        with safe_open(path, framework="numpy"):
            pass
        return cast(dict[str, mx.array], mx.load(str(path)))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: damaged or no safetensors file: {error}") from error


def fill(module: nn.Module, tensors: dict[str, mx.array], where: str) -> None:
    """Give a built network its weights, laid out for use.

    Raises:
        CheckpointError: see `check_tensors`.
    """
    check_tensors(module, tensors, where)
    module.load_weights(list(tensors.items()), strict=True)
    if isinstance(module, Mimi):
        module.prepare()


def check_tensors(module: nn.Module, tensors: dict[str, mx.array], where: str) -> None:
    """Hold tensors against a built network: every name, shape and kind of number.

    Raises:
        CheckpointError: a tensor is missing, unknown or misshapen; the first few are named.
    """
    wanted = cast(dict[str, mx.array], dict(tree_flatten(module.parameters())))
    missing, unknown = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if missing or unknown:
        faults = {"missing": sorted(missing), "unknown": sorted(unknown)}
        found = "; ".join(f"{kind} {_list(names)}" for kind, names in faults.items() if names)
        raise CheckpointError(f"{where}: {found}")
    for name, tensor in tensors.items():
        if (tensor.dtype == mx.uint32) != (wanted[name].dtype == mx.uint32) or not (
            tensor.dtype == mx.uint32 or mx.issubdtype(tensor.dtype, mx.floating)
        ):
            raise CheckpointError(f"{where}: tensor '{name}' holds {tensor.dtype}, no weights")
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{where}: tensor '{name}' has shape {tensor.shape}, the config makes it "
                f"{wanted[name].shape}"
            )


def _list(names: list[str]) -> str:
    """tensors 'a', 'b' and 3 more."""
    shown = ", ".join(f"'{name}'" for name in names[:4])
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"tensor{'s' if len(names) > 1 else ''} {shown}{more}"
