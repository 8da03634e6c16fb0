"""The converted folder's `config.json` as frozen dataclasses, checked to the last key.

The converter resolves everything that an original config leaves implicit or writes in several
ways, so each field here has one meaning and no default: a missing, unknown, mistyped or
contradictory key is a `ConfigError` that names the file and the key.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfm2audio_mlx.errors import ConfigError
from lfm2audio_mlx.strict import OrZero, parse, read_json, require
from lfm2audio_mlx.tokens import CODEBOOK_SIZE

__all__ = [
    "FORMAT",
    "CodecTransformerConfig",
    "ConformerConfig",
    "DepthformerConfig",
    "DetokenizerConfig",
    "FeatureConfig",
    "Lfm2Config",
    "MimiConfig",
    "ModelConfig",
    "PromptConfig",
    "QuantizationConfig",
    "SeanetConfig",
    "parse_config",
    "read_config",
]

FORMAT = 1
"""Version of the converted layout; an engine reads its own and says so of any other."""


@dataclass(frozen=True)
class FeatureConfig:
    """Log-mel front end. Lengths in samples at `sample_rate`."""

    sample_rate: int
    features: int
    n_fft: int
    win_length: int
    hop_length: int

    def validate(self) -> None:
        require(self.win_length <= self.n_fft, "win_length exceeds n_fft")


@dataclass(frozen=True)
class ConformerConfig:
    """FastConformer encoder."""

    features: int
    n_layers: int
    d_model: int
    n_heads: int
    ff_dim: int
    conv_kernel_size: int
    subsampling_factor: int
    subsampling_channels: int
    xscaling: bool

    def validate(self) -> None:
        require(self.d_model % self.n_heads == 0, "d_model is not a multiple of n_heads")
        require(self.d_model % 2 == 0, "d_model is odd")
        require(self.conv_kernel_size % 2 == 1, "conv_kernel_size is even")
        factor = self.subsampling_factor
        require(factor >= 2 and factor & (factor - 1) == 0, "subsampling_factor is no power of 2")


@dataclass(frozen=True)
class Lfm2Config:
    """LFM2 stack. `layer_types`: conv, full_attention or sliding_attention for each layer.

    `vocab_size` 0 and `sliding_window` 0 mean that there is none (the detokenizer has no token
    table, the backbone no sliding layer).
    """

    vocab_size: OrZero
    hidden_size: int
    layer_types: tuple[str, ...]
    num_attention_heads: int
    num_key_value_heads: int
    ff_dim: int
    conv_kernel_size: int
    conv_bias: bool
    norm_eps: float
    rope_theta: float
    sliding_window: OrZero

    def validate(self) -> None:
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        require(self.hidden_size % heads == 0, "hidden_size is not a multiple of the heads")
        require(heads % kv_heads == 0, "num_key_value_heads does not divide num_attention_heads")
        require(bool(self.layer_types), "layer_types is empty")
        known = {"conv", "full_attention", "sliding_attention"}
        unknown = sorted(set(self.layer_types) - known)
        require(not unknown, f"layer_types holds {unknown}, known are {sorted(known)}")
        sliding = "sliding_attention" in self.layer_types
        require(sliding == (self.sliding_window > 0), "sliding_window contradicts layer_types")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class DepthformerConfig:
    """RQ-transformer over the codebooks of one frame."""

    layers: int
    dim: int
    heads: int
    kv_heads: int
    ff_dim: int
    tie: bool
    norm_eps: float
    rope_theta: float

    def validate(self) -> None:
        require(self.dim % (2 * self.heads) == 0, "dim is not a multiple of twice the heads")
        require(self.heads % self.kv_heads == 0, "kv_heads does not divide heads")


@dataclass(frozen=True)
class SeanetConfig:
    """SEANet decoder: each stage upsamples by a ratio with a kernel of twice that."""

    dimension: int
    n_filters: int
    n_residual_layers: OrZero
    ratios: tuple[int, ...]
    kernel_size: int
    residual_kernel_size: int
    last_kernel_size: int
    dilation_base: int
    compress: int

    def validate(self) -> None:
        require(self.n_filters % self.compress == 0, "compress does not divide n_filters")


@dataclass(frozen=True)
class CodecTransformerConfig:
    """Mimi's transformer; `context` counts steps (25 a second in the published codec)."""

    d_model: int
    num_heads: int
    num_layers: int
    ff_dim: int
    context: int
    max_period: float

    def validate(self) -> None:
        require(self.d_model % (2 * self.num_heads) == 0, "d_model does not fit num_heads")


@dataclass(frozen=True)
class MimiConfig:
    """Mimi decoder."""

    sample_rate: int
    upsample_stride: int
    transformer: CodecTransformerConfig
    seanet: SeanetConfig


@dataclass(frozen=True)
class DetokenizerConfig:
    """LFM2.5's detokenizer. `output_size` is n_fft + 2: log-magnitudes, then phases."""

    sample_rate: int
    upsample_factor: int
    output_size: int
    hop_length: int
    lfm: Lfm2Config

    def validate(self) -> None:
        n_fft = self.output_size - 2
        require(n_fft % self.hop_length == 0, "hop_length does not divide n_fft")
        require((n_fft - self.hop_length) % 2 == 0, "n_fft - hop_length is odd")
        padding, frame = (n_fft - self.hop_length) // 2, self.upsample_factor * self.hop_length
        require(0 <= padding <= frame, "a frame is shorter than the padding of its transform")


@dataclass(frozen=True)
class PromptConfig:
    """The system prompts this checkpoint was trained with.

    `voices` maps a voice's name to the prompt that asks for it; `described_voice` holds
    `{description}` and is empty where a free description is not understood.
    """

    transcribe: str
    speak: str
    chat: str
    voices: dict[str, str]
    described_voice: str


@dataclass(frozen=True)
class QuantizationConfig:
    """How one layer's weights are stored: what MLX can read."""

    bits: int
    group_size: int

    def validate(self) -> None:
        require(self.bits in (2, 3, 4, 5, 6, 8), f"bits {self.bits} is none of 2, 3, 4, 5, 6, 8")
        require(self.group_size in (32, 64, 128), f"group_size {self.group_size} is unknown")


@dataclass(frozen=True)
class ModelConfig:
    """All that `config.json` of a converted folder says.

    `codebook_size` counts the codes of each codebook that the decoders can voice.
    """

    format: int
    dtype: str
    codebooks: int
    codebook_size: int
    interleaved_n_text: int
    interleaved_n_audio: int
    max_position_embeddings: int
    features: FeatureConfig
    conformer: ConformerConfig
    lfm: Lfm2Config
    depthformer: DepthformerConfig
    mimi: MimiConfig | None
    detokenizer: DetokenizerConfig | None
    prompts: PromptConfig
    quantization: dict[str, QuantizationConfig]

    def validate(self) -> None:
        require(self.format == FORMAT, f"format {self.format} is not {FORMAT}: convert again")
        require(
            self.dtype in {"float32", "bfloat16", "float16"}, f"dtype {self.dtype!r} is unknown"
        )
        require(
            self.features.features == self.conformer.features,
            "features.features and conformer.features differ",
        )
        decoders = [d for d in (self.mimi, self.detokenizer) if d is not None]
        require(bool(decoders), "neither mimi nor detokenizer is there, one is needed to speak")
        require(0 < self.codebook_size <= CODEBOOK_SIZE, f"codebook_size is over {CODEBOOK_SIZE}")


def read_config(folder: Path) -> ModelConfig:
    """Read and check `folder/config.json`.

    Raises:
        ConfigError: the file is missing, not JSON, or a key is missing, unknown or contradictory.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"{path}: not there; is {folder} a folder that `lfm convert` made?")
    return parse_config(read_json(path), str(path))


def parse_config(data: Any, where: str) -> ModelConfig:
    """Check a decoded `config.json` against `ModelConfig`; `where` names it in messages."""
    if isinstance(data, dict) and "format" not in data:
        raise ConfigError(
            f"{where}: key 'format' is missing; an original checkpoint goes through "
            "`lfm convert SRC DST` first"
        )
    return parse(ModelConfig, data, where)
