"""Who is measured, and with what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["OURS", "PEERS", "Entry"]

WORKERS = Path(__file__).with_name("workers")


@dataclass(frozen=True)
class Entry:
    """An engine, the script that measures it, and what its environment needs.

    `python` is the version to look for; any other that runs this is taken unless `strict`.
    """

    name: str
    script: Path
    requires: tuple[str, ...] = ()
    python: str = "3.12"
    strict: bool = False
    counts: tuple[Literal["launches", "bytes", "syncs", "cores"], ...] = ()


MLX = ('mlx[cpu]==0.32.4; sys_platform == "linux"', 'mlx==0.32.4; sys_platform != "linux"')
"""For peers that leave the version open: the one that ours runs on, where MLX is measured too."""

OURS = Entry("ours", WORKERS / "ours.py", counts=("launches", "bytes", "syncs"))
PEERS = (
    Entry(
        "mlx-audio",
        WORKERS / "mlx_audio_peer.py",
        ("mlx-audio==0.6.2", *MLX),
        counts=("launches", "bytes", "syncs"),
    ),
    Entry(
        "moshi_mlx",
        WORKERS / "moshi_mlx_peer.py",
        ("moshi_mlx==0.3.0", 'mlx[cpu]; sys_platform == "linux"'),
    ),
    Entry(
        "rustymimi",
        WORKERS / "rustymimi_peer.py",
        ("rustymimi==0.4.1", "numpy>=2.1"),
        counts=("cores",),
    ),
    Entry(
        "mlx-lm",
        WORKERS / "mlx_lm_peer.py",
        ("mlx-lm==0.32.2", *MLX),
        counts=("launches", "bytes"),
    ),
    Entry(
        "torch",
        WORKERS / "torch_peer.py",
        ("liquid-audio==1.3.0", "torch==2.11.0", "torchaudio==2.11.0"),
        strict=True,
    ),
)
