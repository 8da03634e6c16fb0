"""Prints docs/performance.md: what steps should take on three Macs, derived.

Nothing here is measured. Launches and bytes are counted from the graphs of a model of the very
shapes of LFM2-Audio-1.5B, packed by the `4bit` recipe, without its weights; what a launch costs is
what others have published. A test holds the document to it; `make performance` writes it anew.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map

from lfm2audio_mlx.config import ModelConfig
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.layout import join_layers
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.models.mimi import Mimi
from lfm2audio_mlx.weights import Checkpoint, build, quantize
from lfm_cli.costs import Cost, costs
from lfm_convert.convert import plan
from lfm_convert.recipes import RECIPES

HEAD = """\
# What it should take on a Mac

**Derived, not measured.** No Mac was at hand. What follows is computed from three things: launches
and bytes, which are counted from the graphs of a model of LFM2-Audio-1.5B's very shapes (packed by
the `4bit` recipe, without its weights), each chip's published bandwidth and speed, and what others
have measured a launch to cost. `make performance` writes it anew, `lfm bench` on a Mac shows what
is true.

- **Limit**: weights are read once at the memory's full bandwidth, prompts and sound are computed at
  the GPU's full speed, launches are free.
- A launch that depends on the one before adds **2.4 to 5.2 µs**: a chain of 3,200 tiny kernels on
  an M3 Ultra ([mlx#4521](https://github.com/ml-explore/mlx/issues/4521)), and the slope of 832
  dispatches more in [another engine](https://github.com/antonellof/ferrox/issues/149). MLX begins
  another command buffer after 40 or 50 launches or as many MB, and each costs **20 µs** (the same
  issue).
- Not in it: that no kernel reaches the full bandwidth or speed, the host's own time, and what
  overlaps. An answer is begun in the pause before a turn's end is certain, so most of the last line
  is not waited for ([speed.md](speed.md), `make turns`).

`LFM_KERNELS=off` runs without our kernels, to compare.

## Launches and bytes

| step | launches | without our kernels | GB read | GFLOP |
|---|---|---|---|---|
"""
TIMES = """
## Milliseconds

| chip | step | limit | with our kernels | without |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Chip:
    """Memory's GB a second (Apple), the GPU's GFLOP a second (cores x 128 x 2 x clock), and the
    launches and MB after which MLX begins another command buffer on it."""

    name: str
    bandwidth: float
    speed: float
    launches: int
    megabytes: int


CHIPS = (
    Chip("M1, 8 cores", 68, 2600, 40, 40),
    Chip("M2 Pro, 19 cores", 200, 6800, 40, 40),
    Chip("M4 Max, 40 cores", 546, 17_200, 50, 50),
)
LAUNCH = (2.4e-6, 5.2e-6)
"""Seconds that a small launch adds to what depends on it: a chain of 3,200 of them on an M3 Ultra
(ml-explore/mlx#4521), and the slope of 832 more in another engine (antonellof/ferrox#149)."""
BUFFER = 20e-6
"""Seconds between two command buffers (ml-explore/mlx#4521)."""

ENCODE, PREFILL, TOKEN, BACKBONE, DEPTH, CODEC = (
    *("encode 4 s", "prefill 80 positions", "text token"),
    *("backbone step", "depth frame", "codec frame"),
)
GFLOP = {ENCODE: 12.6, PREFILL: 2 * 1.036 * 80, CODEC: 0.43}
"""Of what is computed for many positions: two for each weight and position; the backbone has 1,036
million, an encoder and a codec are convolutions too. Steps are read slower than computed."""
STEPS: dict[str, tuple[str, ...]] = {
    "text token": (TOKEN,),
    "frame of speech (80 ms)": (BACKBONE, DEPTH, CODEC),
    "question of 4 s to first audio": (ENCODE, PREFILL, *[TOKEN] * 6, DEPTH, CODEC),
}
"""An answer begins with six words."""

PUBLISHED: dict[str, dict[str, Any]] = {
    # Where LFM2-Audio-1.5B differs from the embedded checkpoint (model card).
    "conformer": {"n_layers": 17, "d_model": 512, "n_heads": 8, "ff_dim": 2048}
    | {"subsampling_channels": 256},
    "lfm": {"vocab_size": 65_536, "hidden_size": 2048, "ff_dim": 8192}
    | {"num_attention_heads": 32, "num_key_value_heads": 8}
    | {
        "layer_types": tuple(
            "full_attention" if n in (2, 5, 8, 10, 12, 14) else "conv" for n in range(16)
        )
    },
    "depthformer": {"layers": 6, "dim": 1024, "ff_dim": 2816},
}


def main() -> None:
    counted = {cost.name: cost for cost in costs(hollow_engine())}
    print(HEAD + "\n".join(map(_row, counted.values())))
    print(TIMES + "\n".join(_times(chip, step, counted) for chip in CHIPS for step in STEPS))


def hollow_engine() -> Engine:
    """Of the published shapes, with weights of zeros that take no memory."""
    nano = Engine.load()
    config = published(nano.config)
    model = cast(Lfm2Audio, _packed(config, "model", mx.bfloat16))
    join_layers(model)
    codec = cast(Mimi, _packed(config, "mimi", mx.float32))
    codec.prepare()
    return Engine(Checkpoint(config, _hollow(model), _hollow(codec)), nano.tokenizer)


def published(config: ModelConfig) -> ModelConfig:
    """The embedded checkpoint's configuration, with LFM2-Audio-1.5B's sizes."""
    assert config.mimi
    parts = {name: replace(getattr(config, name), **sizes) for name, sizes in PUBLISHED.items()}
    transformer = {"d_model": 512, "num_heads": 8, "num_layers": 8, "ff_dim": 2048}
    mimi = replace(
        config.mimi,
        transformer=replace(config.mimi.transformer, **transformer),
        seanet=replace(config.mimi.seanet, dimension=512, n_filters=64),
    )
    return replace(config, codebook_size=2048, mimi=mimi, **parts)


def _packed(config: ModelConfig, part: str, dtype: mx.Dtype) -> nn.Module:
    module = build(config, part)
    quantize(module, part, plan(module, part, RECIPES["4bit"]))
    module.set_dtype(dtype)
    return _hollow(module)


def _hollow(module: Any) -> Any:
    """Zeros of the same shapes and types, of which one number stands in memory."""

    def zeros(array: mx.array) -> mx.array:
        return mx.broadcast_to(mx.array(0, array.dtype), array.shape)

    module.update(tree_map(zeros, module.parameters()))
    mx.eval(module.parameters())
    return module


def _row(cost: Cost) -> str:
    figures = f"{cost.launches} | {cost.launches_without} | {cost.weight_bytes / 1e9:.3f}"
    computed = f"{GFLOP[cost.name]:.3g}" if cost.name in GFLOP else "-"
    return f"| {cost.name} | {figures} | {computed} |"


def _times(chip: Chip, step: str, counted: dict[str, Cost]) -> str:
    parts = [counted[name] for name in STEPS[step]]
    limit = sum(_limit(chip, part) for part in parts)
    own, without = (
        " to ".join(
            _milliseconds(limit + sum(_overhead(chip, part, launch, own) for part in parts))
            for launch in LAUNCH
        )
        for own in (True, False)
    )
    return f"| {chip.name} | {step} | {_milliseconds(limit)} | {own} | {without} |"


def _limit(chip: Chip, cost: Cost) -> float:
    """Seconds: weights read at the memory's speed or products at the GPU's, whichever is more."""
    return max(cost.weight_bytes / 1e9 / chip.bandwidth, GFLOP.get(cost.name, 0) / chip.speed)


def _overhead(chip: Chip, cost: Cost, launch: float, own: bool) -> float:
    launches = cost.launches if own else cost.launches_without
    megabytes = cost.weight_bytes / 1e6
    buffers = max(launches / chip.launches, megabytes / chip.megabytes)
    return launches * launch + buffers * BUFFER


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f}" if seconds < 0.1 else f"{1000 * seconds:.0f}"


if __name__ == "__main__":
    main()
