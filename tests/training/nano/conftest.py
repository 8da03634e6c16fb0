"""Who speaks in the tests of the embedded checkpoint's data, and Ctrl-C."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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


@pytest.fixture
def interrupted() -> Callable[..., tuple[int, list[str]]]:
    """Run a module, press Ctrl-C in its terminal once it is `ready`; its exit code and what it
    said on stderr."""

    def run(
        module: str, *arguments: str | Path, ready: Callable[[int], bool]
    ) -> tuple[int, list[str]]:
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                deadline = time.monotonic() + 120
                while not ready(process.pid):
                    assert process.poll() is None and time.monotonic() < deadline
                    time.sleep(0.1)
                os.killpg(process.pid, signal.SIGINT)
                _, errors = process.communicate(timeout=60)
                return process.returncode, errors.splitlines()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    return run
