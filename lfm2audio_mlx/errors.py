"""Everything this project raises on purpose, in one tree:

LfmError
├── ConfigError      a configuration that is missing, contradictory or not understood
├── CheckpointError  a weight folder or file that is not what its configuration says
├── ModelError       no model is installed, or the one asked for is not
├── DownloadError    a hub that cannot be reached, refuses, or sends something else
├── AudioError       a sound that cannot be read, written or used
├── DaemonError      the resident service cannot be started or reached, or gave a request up
├── RequestError     words, a voice or an option that the model cannot serve
└── ContextError     a conversation that does not fit the model's context

A message names the thing (a file, a key, a tensor), says what is wrong and, where it is not
obvious, what to do. Messages are one line: a command prints them as they are.
"""

__all__ = [
    "AudioError",
    "CheckpointError",
    "ConfigError",
    "ContextError",
    "DaemonError",
    "DownloadError",
    "LfmError",
    "ModelError",
    "RequestError",
    "named",
]


class LfmError(Exception):
    """The root: what a caller catches to tell the user one line and go on."""


class ConfigError(LfmError):
    """A configuration is missing, contradictory or not understood."""


class CheckpointError(LfmError):
    """A weight folder or file is not what its configuration says."""


class ModelError(LfmError):
    """No model is installed, or the one that was asked for is not."""


class DownloadError(LfmError):
    """A hub cannot be reached, refuses what is asked for, or sends something else."""


class AudioError(LfmError):
    """A sound cannot be read, written or used."""


class DaemonError(LfmError):
    """The resident service cannot be started or reached, is too busy, or gave a request up."""


class RequestError(LfmError):
    """The request itself is at fault: empty text, an unknown voice, a bad option."""


class ContextError(LfmError):
    """The conversation does not fit the model's context."""


def named(kind: str) -> type[LfmError]:
    """The class of that name, for an error that has crossed a socket; of another, the root."""
    found = globals().get(kind)
    return found if isinstance(found, type) and issubclass(found, LfmError) else LfmError
