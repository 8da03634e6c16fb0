"""A hub to pull from, for tests of what pulling does."""

from collections.abc import Generator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from hub import Hub
from pulling import REPOSITORY, use


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LFM_HOME", str(tmp_path / "home"))
    for name in ("LFM_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    # So that a cut tiny file has something to go on from.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    return tmp_path / "home"


@pytest.fixture
def hub(home: Path, originals: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Generator[Hub]:
    """Serves the random checkpoints; a test may serve a copy and change it."""
    repositories = {REPOSITORY: originals["v1"], "LiquidAI/LFM2.5-Audio-1.5B": originals["v25"]}
    with Hub(repositories) as hub:
        use(hub.url, monkeypatch)
        yield hub
        huggingface_hub.close_session()
