"""`python -m lfm_train.nano FOLDER`: make the embedded checkpoint (`make nano`)."""

import argparse
import sys
from pathlib import Path

from lfm2audio_mlx.errors import LfmError
from lfm_train.nano.recipe import NANO, make_nano


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the embedded checkpoint.")
    parser.add_argument("folder", type=Path, help="where the work is kept, and gone on with")
    folder = parser.parse_args().folder
    try:
        print(make_nano(NANO, folder))
    except LfmError as error:
        print(f"nano: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nnano: stopped; the same command goes on from {folder}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
