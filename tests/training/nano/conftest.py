"""Who speaks in the tests of the embedded checkpoint's data."""

import pytest

from lfm2audio_mlx.config import ModelConfig, read_config
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm_train.nano.espeak import Espeak
from lfm_train.nano.hearing import Listener


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    """The embedded checkpoint's."""
    return read_config(EMBEDDED)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(EMBEDDED)


@pytest.fixture(scope="module")
def listener(config: ModelConfig) -> Listener:
    """A module's own, since the library speaks to the last that asked."""
    try:
        return Listener(config.features)
    except RequestError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def espeak(listener: Listener) -> Espeak:
    return listener.espeak
