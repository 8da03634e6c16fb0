"""The resident service and its client. Nothing here yet: the command runs the engine itself."""
