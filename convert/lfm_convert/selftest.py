"""A short fixed run of a converted model: its greedy tokens are the same whenever it is whole."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
# (MLX's stubs are partial.)

import hashlib
import json
from pathlib import Path

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.generation.decode import AudioFrame, TextToken
from lfm2audio_mlx.manifest import SelfTest
from lfm2audio_mlx.sampling import GREEDY

__all__ = ["self_test"]

SECONDS = 0.5
STEPS = 6
FRAMES = 2


def self_test(folder: Path) -> SelfTest:
    """Load a converted folder, let it hear half a second of noise, and note what it says.

    Tokens can differ between kinds of device, whose sums are in another order, so the kind is
    noted too.

    Raises:
        ConfigError, CheckpointError: the folder does not load, or gives NaN or infinity.
    """
    engine = Engine.load(folder)
    rate = engine.config.features.sample_rate
    noise = np.random.RandomState(0).uniform(-0.3, 0.3, int(SECONDS * rate)).astype(np.float32)
    chat = engine.chat(system=engine.config.prompts.transcribe, mode="sequential", audio=GREEDY)
    tokens: list[object] = []
    for event in chat.events((noise, rate), max_tokens=STEPS):
        if isinstance(event, TextToken):
            tokens.append(event.id)
        elif isinstance(event, AudioFrame):
            tokens.append(event.codes)
    # Frames too, whatever it had to say.
    shape = (FRAMES, engine.config.lfm.hidden_size)
    hidden = mx.array(np.random.RandomState(1).uniform(-1, 1, shape).astype(np.float32))
    frames = engine.model.depthformer(hidden.astype(engine.dtype))
    wave, _ = engine.codec.decode(mx.zeros((1, engine.config.codebooks, 1), mx.int32))
    logits = engine.model.text_logits(hidden.astype(engine.dtype))
    for name, output in (("words", logits), ("sound", wave)):
        if not bool(mx.isfinite(output).all()):
            raise CheckpointError(f"{folder}: its {name} are not finite numbers")
    tokens += np.array(frames).tolist()
    digest = hashlib.sha256(json.dumps(tokens).encode()).hexdigest()
    return SelfTest(device=_device(engine), tokens=digest)


def _device(engine: Engine) -> str:
    kind = "gpu" if mx.default_device() == mx.Device(mx.gpu) else "cpu"
    return f"{kind} {engine.dtype}".replace("mlx.core.", "")
