"""What all workers are given to hear and read, the same numbers for each.

    python -m benchmarks.compare.material ORIGINAL CONVERTED FOLDER

A process of its own, so that the driver stays small: a child's peak memory begins with its
parent's.
"""

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.config import read_config
from lfm2audio_mlx.generation.prompt import Segment, TextIds, beginning, close_turn, open_turn, turn
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_cli.stages import PROMPT_POSITIONS, SHORT_SECONDS, speechlike
from lfm_convert.original import MIMI_FILE

PUBLISHED = {"in_projs.0.weight": "in_proj_weight", "out_projs.0.weight": "out_proj.weight"}
"""Names that attention weights have in the published Mimi file, which peers expect; ours, made
from the reference's modules, has the newer ones."""


def main(original: Path, converted: Path, folder: Path) -> None:
    """Write `heard.npz` (`question` [samples], ids of text `before` and `after` it and of a
    `prompt`) and `codec.safetensors`, the Mimi of the original under its published names."""
    config, tokenizer = read_config(converted), Tokenizer(converted)
    opening = [beginning(tokenizer), *turn(tokenizer, "system", [config.prompts.chat])]
    write_codec(original / MIMI_FILE, folder / "codec.safetensors")
    # Last: with it all is there.
    np.savez(
        folder / "heard.npz",
        question=speechlike(SHORT_SECONDS, config.features.sample_rate),
        before=_ids([*opening, open_turn(tokenizer, "user")]),
        after=_ids([close_turn(tokenizer), open_turn(tokenizer, "assistant")]),
        prompt=np.arange(PROMPT_POSITIONS),
    )


def write_codec(source: Path, target: Path) -> None:
    """Copy Mimi, its attention weights under the published names."""
    tensors: dict[str, mx.array] = mx.load(str(source))  # pyright: ignore[reportAssignmentType]
    for new, old in PUBLISHED.items():
        for name in [name for name in tensors if name.endswith(new)]:
            tensors[name.removesuffix(new) + old] = tensors.pop(name)
    mx.save_safetensors(str(target), tensors)  # pyright: ignore[reportUnknownMemberType]


def _ids(segments: list[Segment]) -> np.ndarray:
    return np.array([i for part in segments if isinstance(part, TextIds) for i in part.ids])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
