"""Write a checkpoint of LFM2-Audio-1.5B's very shapes, with random weights, in the original layout.

Usage: python benchmarks/make_checkpoint.py FOLDER      (3.3 GB: 2.9 GB of model, 0.4 GB of Mimi)

What stands for the published weights where these cannot be had: sizes, bytes and times are those
of the real ones, words are noise. Names and shapes come from the tables that the reference
accepts strictly (`tests/reference/checkpoint_tensors.py`).
"""

import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "reference"))

from checkpoint_tensors import Tensor, mimi_tensors, model_tensors  # noqa: E402
from lfm_convert.original import MIMI_FILE  # noqa: E402
from lfm_convert.writer import Layout, write_safetensors  # noqa: E402

PUBLISHED: dict[str, dict[str, Any]] = {
    # Where it differs from the tiny checkpoint "v1" (model card).
    "encoder": {
        "n_layers": 17,
        "d_model": 512,
        "n_heads": 8,
        "subsampling_conv_channels": 256,
    },
    "lfm": {
        "vocab_size": 65_536,
        "hidden_size": 2048,
        "block_dim": 2048,
        "conv_dim": 2048,
        "conv_dim_out": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_heads": 32,
        "num_key_value_heads": 8,
        "block_ff_dim": 12_288,
        "intermediate_size": 12_288,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14],
        "layer_types": [
            "full_attention" if layer in (2, 5, 8, 10, 12, 14) else "conv" for layer in range(16)
        ],
    },
    "depthformer": {"layers": 6, "dim": 1024, "tie": True},
}

MIMI: dict[str, dict[str, Any]] = {
    # The published codec, as `mimi_config.json` would have it (moshi's loaders).
    "seanet": {"dimension": 512, "n_filters": 64, "n_residual_layers": 1, "compress": 2},
    "quantizer": {
        "dimension": 256,
        "n_q": 32,
        "bins": 2048,
        "input_dimension": 512,
        "output_dimension": 512,
    },
    "transformer": {
        "d_model": 512,
        "num_heads": 8,
        "num_layers": 8,
        "context": 250,
        "dim_feedforward": 2048,
        "input_dimension": 512,
        "output_dimensions": [512],
    },
}


def main(folder: Path) -> None:
    layout = ROOT / "tests" / "reference" / "layouts" / "v1"
    config = json.loads((layout / "config.json").read_text("utf-8"))
    for section, values in PUBLISHED.items():
        known = {key: v for key, v in values.items() if key in config[section]}
        config[section] |= known
    mimi = json.loads((layout / "mimi_config.json").read_text("utf-8"))
    for section, values in MIMI.items():
        mimi[section] |= values
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    for path in (ROOT / "tests" / "data" / "tokenizer").iterdir():
        shutil.copyfile(path, folder / path.name)
    # The real Mimi file carries no sizes: the converter must know them.
    write(folder / MIMI_FILE, list(mimi_tensors(mimi)), mx.float32)
    write(folder / "model.safetensors", list(model_tensors(config)), mx.bfloat16)


def write(path: Path, tensors: list[Tensor], dtype: mx.Dtype) -> None:
    layout: Layout = {tensor.name: (tensor.shape, dtype) for tensor in tensors}
    record = write_safetensors(path, layout, draw(tensors, dtype))
    print(f"{path}: {record.size / 1e9:.2f} GB", flush=True)


def draw(tensors: list[Tensor], dtype: mx.Dtype) -> Iterator[tuple[str, mx.array]]:
    for number, tensor in enumerate(tensors):
        key = mx.random.key(number)
        values = mx.random.normal(tensor.shape, key=key) * tensor.gain
        if tensor.kind == "weight":
            values = values / math.sqrt(math.prod(tensor.shape[1:]))
        elif tensor.kind in ("norm", "variance", "usage", "one"):
            values = mx.abs(1.0 + 0.1 * values)
        elif tensor.kind == "bias":
            values = 0.1 * values
        yield tensor.name, values.astype(dtype)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
