"""`python -m lfm_train CHECKPOINT DATA OUTPUT`: fine-tune a checkpoint (docs/training.md)."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from lfm_train.command import ended
from lfm_train.finetune import Tuning, finetune

HELP = {
    "steps": "steps to train",
    "batch": "conversations a step",
    "rank": "of the adapters on the backbone; 0 trains the whole model",
    "learning_rate": "at its height",
    "warmup": "steps until that",
    "save_every": "steps between states to go on from",
    "seed": "of what is drawn",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lfm_train", description="Fine-tune.")
    parser.add_argument("checkpoint", type=Path, help="a folder in the original layout")
    parser.add_argument("data", type=Path, help="conversations, a JSON object a line")
    parser.add_argument("output", type=Path, help="the folder to write, in the original layout")
    parser.add_argument("--work", type=Path, help="for states and losses; OUTPUT.work if not given")
    for field in fields(Tuning):
        option = f"--{field.name.replace('_', '-')}"
        usual = f"{HELP[field.name]} (usually {field.default})"
        parser.add_argument(option, type=type(field.default), default=field.default, help=usual)
    given = vars(parser.parse_args())
    source, data, target = (given.pop(name) for name in ("checkpoint", "data", "output"))
    work = given.pop("work") or target.with_name(f"{target.name}.work")
    return ended(
        "lfm_train",
        lambda: finetune(source, data, target, work, Tuning(**given)),
        f"stopped; the same command goes on from {work}",
    )


if __name__ == "__main__":
    sys.exit(main())
