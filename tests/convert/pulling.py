"""Pulling from the small hub, as several test files do it: where it lies, and how it may fail.

The client reads `HF_ENDPOINT` when it is imported, so here the hub's address is put where it keeps
it; tests/cli/test_models.py sets the variable itself, for commands in processes of their own.
"""

from pathlib import Path

import pytest
from huggingface_hub import constants

from hub import Hub
from lfm2audio_mlx import installed
from lfm_convert import store
from lfm_convert.download import fetch, look_up
from lfm_convert.pull import pull

__all__ = ["REPOSITORY", "WEIGHTS", "download", "fails", "part", "use"]

REPOSITORY = "LiquidAI/LFM2-Audio-1.5B"
WEIGHTS = "model.safetensors"


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    files = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)


def part(hub: Hub, name: str = WEIGHTS) -> Path:
    folder = f"{REPOSITORY.replace('/', '--')}@{hub.commit}"
    return store.originals_folder() / folder / f"{name}.part"


def download(hub: Hub) -> None:
    """The half of a pull that comes before the conversion, which takes longer."""
    fetch(look_up(REPOSITORY, "main"), part(hub).parent)
    original = hub.repositories[REPOSITORY]
    for path in original.rglob("*"):
        if path.is_file():
            made = part(hub).parent / path.relative_to(original)
            assert made.read_bytes() == path.read_bytes()
    assert not list(part(hub).parent.rglob("*.part"))


def fails(kind: type[Exception], *parts: str, model: str = REPOSITORY, name: str | None = None):
    """A pull that is refused in one line, and leaves nothing that could be taken for a model."""
    before = installed.models()
    with pytest.raises(kind) as caught:
        pull(model, recipe="f32", name=name)
    message = str(caught.value)
    assert "\n" not in message
    for text in parts:
        assert text in message
    assert installed.models() == before
    unfinished = installed.models_folder() / ".unfinished"
    assert not unfinished.exists() or list(unfinished.iterdir()) == []
