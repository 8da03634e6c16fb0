"""An original checkpoint's `config.json`, read into the one form that the engine knows.

Hugging Face writes some things twice and leaves others to code; here each is resolved or refused
once: a missing or contradictory key, or an architecture that the engine does not build, is a
`ConfigError` that names it. Unknown keys are logged and passed over.
"""

import logging
import math
from pathlib import Path
from typing import Any, cast

from lfm2audio_mlx.errors import ConfigError
from lfm2audio_mlx.strict import read_json
from lfm_convert.published import (
    CODEC_RATE,
    DEPTHFORMER,
    DETOKENIZER_DEFAULTS,
    FRAME_RATE,
    MUST_BE,
    PUBLISHED_MIMI,
    SEANET_SIZES,
    TRAINING_ONLY,
    TWINS,
    Section,
)

__all__ = ["DETOKENIZER_FOLDER", "MIMI_FILE", "read_original_config"]

log = logging.getLogger(__name__)

MIMI_FILE = "tokenizer-e351c8d8-checkpoint125.safetensors"
DETOKENIZER_FOLDER = "audio_detokenizer"


class Reader:
    """Takes keys out of one section, so that what is left over is known to be unknown."""

    def __init__(self, section: Any, where: str, name: str):
        if not isinstance(section, dict):
            raise ConfigError(f"{where}: {name or 'the file'} must be an object")
        self.left = dict(cast(Section, section))
        self.where, self.prefix = where, f"{name}." if name else ""
        for key, value in MUST_BE.get(name, {}).items():
            found = self.take(key)
            if found != value:
                raise self.error(f"'{key}' is {found!r}, only {value!r} is supported")

    def error(self, message: str) -> ConfigError:
        return ConfigError(f"{self.where}: {self.prefix.rstrip('.') or 'config'}: {message}")

    def take(self, key: str, *default: Any) -> Any:
        """The value of a key that must be there unless a default is given."""
        if key in self.left:
            return self.left.pop(key)
        if default:
            return default[0]
        raise ConfigError(f"{self.where}: key '{self.prefix}{key}' is missing")

    def size(self, key: str, *default: Any) -> int:
        value = self.take(key, *default)
        if type(value) is not int or value <= 0:
            raise self.error(f"'{key}' must be a positive whole number, not {value!r:.80}")
        return value

    def number(self, key: str, *default: Any) -> float:
        value = self.take(key, *default)
        if type(value) not in (int, float) or not 0 < value < 1e30:
            raise self.error(f"'{key}' must be a positive number, not {value!r:.80}")
        return float(value)

    def flag(self, key: str) -> bool:
        value = self.take(key)
        if type(value) is not bool:
            raise self.error(f"'{key}' must be true or false, not {value!r:.80}")
        return value

    def items(self, key: str, kind: type, *default: Any) -> Any:
        """A list of one type, or the default."""
        value = self.take(key, *default)
        if default and value is default[0]:
            return value
        if not isinstance(value, list) or any(type(v) is not kind for v in cast(list[Any], value)):
            raise self.error(f"'{key}' must be a list of {kind.__name__}, not {value!r:.80}")
        return cast(list[Any], value)

    def done(self) -> None:
        """Log what nobody asked for."""
        for key in sorted(self.left.keys() - TRAINING_ONLY):
            log.warning("%s: unknown key '%s%s' passed over", self.where, self.prefix, key)


def read_original_config(folder: Path) -> Section:
    """`config.json` and its companions as the engine's config, prompts and quantisation aside.

    Raises:
        ConfigError: a file is missing or unreadable, a key missing, contradictory, unsupported.
    """
    where, data = _read(folder / "config.json")
    top = Reader(data, where, "")
    lfm = top.take("lfm")
    hidden = Reader(lfm, where, "lfm")
    made: Section = {
        "codebooks": top.size("codebooks"),
        "interleaved_n_text": top.size("interleaved_n_text"),
        "interleaved_n_audio": top.size("interleaved_n_audio"),
        "max_position_embeddings": hidden.size("max_position_embeddings"),
        "features": _features(Reader(top.take("preprocessor"), where, "preprocessor")),
        "conformer": _conformer(Reader(top.take("encoder"), where, "encoder")),
        "lfm": _lfm2(hidden, sliding_window=0),
        "depthformer": _depthformer(Reader(top.take("depthformer"), where, "depthformer")),
    }
    top.done()
    mimi, bins = _mimi(folder)
    made |= {"codebook_size": bins, "mimi": mimi, "detokenizer": _detokenizer(folder)}
    return made


def _read(path: Path) -> tuple[str, Any]:
    """A file's name for messages, and its content."""
    return str(path), read_json(path)


def _features(section: Reader) -> Section:
    rate = section.size("sample_rate")
    made = {
        "sample_rate": rate,
        "features": section.size("features"),
        "n_fft": section.size("n_fft"),
        "win_length": int(section.number("window_size") * rate),
        "hop_length": int(section.number("window_stride") * rate),
    }
    section.done()
    return made


def _conformer(section: Reader) -> Section:
    d_model = section.size("d_model")
    if section.left.get("subsampling_conv_channels") == -1:
        section.left["subsampling_conv_channels"] = d_model
    made = {
        "features": section.size("feat_in"),
        "n_layers": section.size("n_layers"),
        "d_model": d_model,
        "n_heads": section.size("n_heads"),
        "ff_dim": d_model * section.size("ff_expansion_factor"),
        "conv_kernel_size": section.size("conv_kernel_size"),
        "subsampling_factor": section.size("subsampling_factor"),
        "subsampling_channels": section.size("subsampling_conv_channels"),
        "xscaling": section.flag("xscaling"),
    }
    section.done()
    return made


def _depthformer(section: Reader) -> Section:
    dim = section.size("dim")
    made = {
        "layers": section.size("layers"),
        "dim": dim,
        "ff_dim": _adjusted(4 * dim, 1.0, 256),
        "tie": section.flag("tie"),
        **DEPTHFORMER,
    }
    section.done()
    return made


def _adjusted(ff_dim: int, multiplier: float, multiple: int) -> int:
    """LFM2's SwiGLU width: two thirds, rounded up to a multiple (transformers' `Lfm2MLP`)."""
    width = int(multiplier * int(2 * ff_dim / 3))
    return -(-width // multiple) * multiple


def _lfm2(section: Reader, sliding_window: int) -> Section:
    for first, *others in TWINS:
        values = {key: section.left.pop(key) for key in (first, *others) if key in section.left}
        for value in values.values():
            if value != next(iter(values.values())):
                raise section.error(f"{values!r:.200} contradict each other")
            section.left[first] = value
    made = {
        "vocab_size": section.size("vocab_size", 0) if sliding_window == 0 else 0,
        "hidden_size": section.size("hidden_size"),
        "layer_types": _layer_types(section),
        "num_attention_heads": section.size("num_attention_heads"),
        "num_key_value_heads": section.size("num_key_value_heads"),
        "ff_dim": _ff_dim(section),
        "conv_kernel_size": section.size("conv_L_cache"),
        "conv_bias": section.flag("conv_bias"),
        "norm_eps": section.number("norm_eps"),
        "rope_theta": _rope_theta(section),
        "sliding_window": sliding_window,
    }
    section.left.pop("eos_token_id", None)
    section.done()
    return made


def _layer_types(section: Reader) -> list[str]:
    count = section.size("num_hidden_layers")
    indexes = section.items("full_attn_idxs", int, None)
    implied = None
    if indexes is not None:
        implied = ["full_attention" if i in indexes else "conv" for i in range(count)]
    types = section.items("layer_types", str, implied)
    if types is None:
        raise section.error("key 'layer_types' is missing")
    if len(types) != count:
        raise section.error(f"{len(types)} layer_types for {count} num_hidden_layers")
    if implied is not None and types != implied and "sliding_attention" not in types:
        raise section.error("full_attn_idxs contradicts layer_types")
    return types


def _ff_dim(section: Reader) -> int:
    given = section.take("intermediate_size", None)
    if "block_ff_dim" not in section.left and given is not None:
        section.left["block_ff_dim"] = given
    width = section.size("block_ff_dim")
    adjust = section.flag("block_auto_adjust_ff_dim")
    multiplier = section.number("block_ffn_dim_multiplier")
    multiple = section.size("block_multiple_of")
    adjusted = _adjusted(width, multiplier, multiple) if adjust else width
    if given not in (None, width, adjusted):
        raise section.error(f"intermediate_size {given!r:.80} contradicts block_ff_dim {width}")
    return adjusted


def _rope_theta(section: Reader) -> float:
    parameters = section.take("rope_parameters", None)
    if parameters is None:
        return section.number("rope_theta")
    nested = Reader(parameters, section.where, f"{section.prefix}rope_parameters")
    kind = nested.take("rope_type", "default")
    if kind != "default":
        raise section.error(f"rope_type {kind!r:.80} is not supported")
    both = [entry.number("rope_theta") for entry in (nested, section) if "rope_theta" in entry.left]
    if len(both) == 2 and both[0] != both[1]:
        raise section.error(f"rope_theta {both[1]} contradicts rope_parameters' {both[0]}")
    nested.done()
    return both[0] if both else section.number("rope_theta")


def _mimi(folder: Path) -> tuple[Section | None, int]:
    """The v1 codec's section, if the folder has it, and how many codes a codebook holds."""
    if not (folder / MIMI_FILE).exists():
        return None, PUBLISHED_MIMI["quantizer"]["bins"]
    where, sizes = f"{folder / MIMI_FILE}", PUBLISHED_MIMI
    if (folder / "mimi_config.json").exists():
        where, sizes = _read(folder / "mimi_config.json")
    top = Reader(sizes, where, "")
    seanet = Reader(top.take("seanet"), where, "seanet")
    transformer = Reader(top.take("transformer"), where, "transformer")
    quantizer = Reader(top.take("quantizer"), where, "quantizer")
    ratios = seanet.items("ratios", int)
    hop = math.prod(ratios)
    stride = CODEC_RATE / FRAME_RATE / hop if hop > 0 else 0
    if not ratios or min(ratios) < 1 or stride != int(stride) or stride < 1:
        raise seanet.error(f"ratios {ratios!r:.80} give no whole steps a frame")
    made_seanet = {"ratios": ratios} | {key: seanet.size(key) for key in SEANET_SIZES}
    made = {
        "sample_rate": CODEC_RATE,
        "upsample_stride": int(stride),
        "seanet": made_seanet,
        "transformer": {
            "d_model": transformer.size("d_model"),
            "num_heads": transformer.size("num_heads"),
            "num_layers": transformer.size("num_layers"),
            "ff_dim": transformer.size("dim_feedforward"),
            "context": transformer.size("context"),
            "max_period": transformer.number("max_period"),
        },
    }
    bins = quantizer.size("bins")
    quantizer.size("dimension")
    for section in (top, seanet, transformer, quantizer):
        section.done()
    return made, bins


def _detokenizer(folder: Path) -> Section | None:
    """The v2.5 decoder's section, if the folder has it."""
    if not (folder / DETOKENIZER_FOLDER).is_dir():
        return None
    where, data = _read(folder / DETOKENIZER_FOLDER / "config.json")
    if isinstance(data, dict):
        data = cast(Section, data)
        rope = {"rope_theta"} if data.get("rope_parameters") else set[str]()
        data = {k: v for k, v in DETOKENIZER_DEFAULTS.items() if k not in rope} | data
    section = Reader(data, where, "detokenizer")
    window = section.size("sliding_window")
    output_size = section.size("output_size")
    section.left.pop("vocab_size", None)
    section.left.pop("max_position_embeddings", None)
    lfm = _lfm2(section, window)
    # The reference masks every attention layer to the window, whatever the config calls it.
    lfm["layer_types"] = [
        "conv" if kind == "conv" else "sliding_attention" for kind in lfm["layer_types"]
    ]
    return {
        "sample_rate": CODEC_RATE,
        "upsample_factor": 6,
        "output_size": output_size,
        "hop_length": int(CODEC_RATE / FRAME_RATE) // 6,
        "lfm": lfm,
    }
