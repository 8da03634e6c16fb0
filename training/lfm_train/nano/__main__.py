"""`python -m lfm_train.nano FOLDER`: make the embedded checkpoint (`make nano`)."""

import argparse
import sys
from pathlib import Path

from lfm_train.command import ended
from lfm_train.nano.recipe import NANO, make_nano


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the embedded checkpoint.")
    parser.add_argument("folder", type=Path, help="where the work is kept, and gone on with")
    folder = parser.parse_args().folder
    return ended(
        "nano",
        lambda: print(make_nano(NANO, folder)),
        f"stopped; the same command goes on from {folder}",
    )


if __name__ == "__main__":
    sys.exit(main())
