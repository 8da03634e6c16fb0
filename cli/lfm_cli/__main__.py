"""`python -m lfm_cli` is `lfm`."""

from lfm_cli.app import main

main()
