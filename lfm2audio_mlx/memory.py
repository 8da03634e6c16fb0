"""How much memory MLX may hold on this machine."""

import mlx.core as mx
import psutil

__all__ = ["set_limits"]

CACHE_SHARE, MOST_CACHED = 1 / 128, 128 << 20
"""Of the machine's memory, and in bytes, what MLX may keep of buffers that are free again. Enough
for those of a step and of a chunk of prefill; without a limit it keeps one of every size that
there ever was."""


def set_limits() -> None:
    """Bound what MLX keeps; on a Mac also have the system leave the weights where they are.

    These are limits of the whole process.
    """
    mx.set_cache_limit(min(MOST_CACHED, int(psutil.virtual_memory().total * CACHE_SHARE)))
    if mx.metal.is_available():
        mx.set_wired_limit(int(mx.device_info()["max_recommended_working_set_size"]))
