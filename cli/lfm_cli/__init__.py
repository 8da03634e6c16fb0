"""The `lfm` command."""
