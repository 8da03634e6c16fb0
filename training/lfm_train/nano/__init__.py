"""The embedded checkpoint: its domain, its data, its training and what it is measured by."""
