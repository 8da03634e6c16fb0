"""`python -m lfm_train.nano FOLDER`: make the embedded checkpoint (`make nano`)."""

import argparse
from pathlib import Path

from lfm_train.nano.recipe import NANO, make_nano


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the embedded checkpoint.")
    parser.add_argument("folder", type=Path, help="where the work is kept, and gone on with")
    print(make_nano(NANO, parser.parse_args().folder))


if __name__ == "__main__":
    main()
