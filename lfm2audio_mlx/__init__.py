"""LFM2-Audio in MLX: hears, thinks and speaks, offline, on Apple silicon.

from lfm2audio_mlx import Engine

engine = Engine.load("folder")          # made by `lfm convert`
print(engine.transcribe("talk.flac").text)
"""

from typing import TYPE_CHECKING, Any

from lfm2audio_mlx.errors import LfmError

if TYPE_CHECKING:
    from lfm2audio_mlx.engine import Chat, Engine, Sound, Transcript, Words

__all__ = ["Chat", "Engine", "LfmError", "Sound", "Transcript", "Words", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the engine, and MLX with it, only when something of it is asked for."""
    if name in __all__:
        from lfm2audio_mlx import engine

        return getattr(engine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
