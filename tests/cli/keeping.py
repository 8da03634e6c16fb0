"""What tests of kept conversations share: a home, exchanges, how keeping fails."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import Exchange, Part
from lfm_cli.conversations import Kept


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LFM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def exchange(*said: Part, text: str = "Yes.", answer: tuple[int | tuple[int, ...], ...] = (7,)):
    return Kept(Exchange(said or ("Well?",), answer), text, None)


def fails(act: Callable[[], object], *parts: str) -> None:
    """A failure as it should be: one line that has all of `parts`."""
    with pytest.raises(RequestError) as caught:
        act()
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)
