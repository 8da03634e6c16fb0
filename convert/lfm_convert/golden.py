"""A converted model beside what the reference made of the same weights, stage by stage.

A golden is a safetensors file that `tests/reference/make_goldens.py` writes, in the reference's
environment, for any original checkpoint. It holds, for each recording CLIP,
    audio.CLIP [n]                        int16 samples at the model's rate
    encoder.CLIP, adapter.CLIP [T, dim]   states
    asr.CLIP.modality [n], .tokens [n, 8] greedy transcription: 1 text, 3 audio out; ids or codes
and besides depth.hidden [n, hidden] with depth.codes [n, 8], and mimi.codes, detok.codes [8, T]
with mimi.wave, detok.wave [samples]. What is not there is not compared.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# (MLX's stubs are partial.)

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import numpy as np
from safetensors import SafetensorError, safe_open

from lfm2audio_mlx.audio.files import AudioSource
from lfm2audio_mlx.config import read_config
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.generation.decode import AudioFrame, Event, TextToken
from lfm2audio_mlx.generation.prompt import AudioClip
from lfm2audio_mlx.models.codec import Codec
from lfm2audio_mlx.results import EndOfTurn
from lfm2audio_mlx.sampling import GREEDY
from lfm2audio_mlx.tokens import END_OF_AUDIO, Modality
from lfm2audio_mlx.weights import FILES, build, fill, open_tensors, quantize

__all__ = [
    "STAGES",
    "Arrays",
    "Case",
    "Result",
    "Steps",
    "compare_run",
    "compare_with",
    "open_codec",
    "read_arrays",
    "relative",
    "stream",
]

Arrays = dict[str, np.ndarray]
TOLERANCE = 1e-4
"""Relative error that float32 sums in another order may come to."""


@dataclass(frozen=True)
class Steps:
    """How many of a run's steps are the reference's."""

    equal: int
    total: int

    def __add__(self, other: "Steps") -> "Steps":
        return Steps(self.equal + other.equal, self.total + other.total)


@dataclass(frozen=True)
class Case:
    """A model, what the reference made of its original, and how to get at sounds and decoders."""

    engine: Engine
    golden: Arrays
    sound: Callable[[str], AudioSource]
    codec: Callable[[str], Codec]

    def clip(self, name: str) -> AudioClip:
        """A recording, heard."""
        return self.engine.listen(self.sound(name))

    def clips(self, kind: str) -> list[str]:
        """Names of the recordings that have a `kind` of array."""
        return [key.split(".")[1] for key in self.golden if key.startswith(f"{kind}.")]


@dataclass(frozen=True)
class Result:
    """One stage: a relative error, or steps of which all should be equal."""

    stage: str
    value: float | Steps

    @property
    def good(self) -> bool:
        if isinstance(self.value, Steps):
            return self.value.equal == self.value.total > 0
        return self.value <= TOLERANCE

    def __str__(self) -> str:
        if isinstance(self.value, Steps):
            return f"{self.stage}: {self.value.equal} of {self.value.total} equal"
        return f"{self.stage}: relative error {self.value:.1e}"


def compare_with(folder: Path, golden: Path) -> Iterator[Result]:
    """Run a converted folder on the golden's inputs; each stage as soon as it is done.

    Raises:
        ConfigError, CheckpointError: the folder does not load, or the golden is none.
    """
    arrays, engine = read_arrays(golden), Engine.load(folder)
    rate = engine.config.features.sample_rate

    def sound(name: str) -> AudioSource:
        samples = arrays.get(f"audio.{name}")
        if samples is None:
            raise CheckpointError(f"{golden}: lacks the sound 'audio.{name}'")
        return samples.astype(np.float32) / 32_768, rate

    case = Case(engine, arrays, sound, lambda part: open_codec(folder, part))
    parts = {"mimi": engine.config.mimi, "detok": engine.config.detokenizer}
    compared = 0
    for key, stage, measure in STAGES:
        here = any(name.startswith(key) for name in arrays) and parts.get(key, True)
        if here:
            try:
                result = Result(stage, measure(case))
            except (KeyError, ValueError, TypeError, IndexError) as error:
                raise CheckpointError(f"{golden}: does not fit this model ({stage})") from error
            yield result
            compared += 1
    if not compared:
        raise CheckpointError(f"{golden}: holds nothing to compare with")


def read_arrays(path: Path) -> Arrays:
    """All arrays of a safetensors file.

    Raises:
        CheckpointError: it is missing or none.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: bfloat16
        raise CheckpointError(f"{path}: no golden file: {error}") from error


def open_codec(folder: Path, part: str) -> Codec:
    """A decoder of a folder, also the one that it would not speak through."""
    config = read_config(folder)
    module = build(config, part)
    quantize(module, part, config.quantization)
    fill(module, open_tensors(folder / FILES[part]), part)
    module.set_dtype(mx.float32)
    return cast(Codec, module)


def relative(ours: Any, reference: np.ndarray) -> float:
    """The largest difference over the reference's largest value."""
    ours = np.array(ours.astype(mx.float32) if isinstance(ours, mx.array) else ours)
    if ours.shape != reference.shape:
        return float("inf")
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


def encoder(case: Case) -> float:
    def one(clip: str) -> float:
        features = case.clip(clip).features[None].astype(case.engine.dtype)
        return relative(case.engine.model.conformer(features)[0], case.golden[f"encoder.{clip}"])

    return max(one(clip) for clip in case.clips("encoder"))


def adapter(case: Case) -> float:
    def one(clip: str) -> float:
        states = case.engine.model.embed_audio(case.clip(clip).features[None])[0]
        return relative(states, case.golden[f"adapter.{clip}"])

    return max(one(clip) for clip in case.clips("adapter"))


def depth_frames(case: Case) -> Steps:
    """Frames in which the reference chose a code without sound are left out: ours cannot."""
    wanted = case.golden["depth.codes"]
    sound = wanted < case.engine.config.codebook_size
    sound[:, 0] |= wanted[:, 0] == END_OF_AUDIO
    hidden = mx.array(case.golden["depth.hidden"]).astype(case.engine.dtype)
    codes = case.engine.model.depthformer(hidden)
    equal = (np.array(codes) == wanted).all(axis=1)[sound.all(axis=1)]
    return Steps(int(equal.sum()), len(equal))


def transcription(case: Case) -> Steps:
    total = Steps(0, 0)
    for clip in sorted(set(case.clips("asr"))):
        modality, tokens = (case.golden[f"asr.{clip}.{what}"] for what in ("modality", "tokens"))
        if tokens[-1, 0] == case.engine.tokenizer.special.turn_end:
            # The reference lists the token that ends the turn, which is no event of ours.
            modality, tokens = modality[:-1], tokens[:-1]
        chat = case.engine.chat(
            system=case.engine.config.prompts.transcribe, mode="sequential", audio=GREEDY
        )
        events = chat.events(case.sound(clip), max_tokens=len(tokens))
        total += compare_run(events, modality, tokens)
    return total


def mimi_wave(case: Case) -> float:
    wave, _ = case.codec("mimi").decode(mx.array(case.golden["mimi.codes"])[None])
    return relative(wave[0], case.golden["mimi.wave"])


def detokenizer_wave(case: Case) -> float:
    codes = case.golden["detok.codes"]
    whole = iter([codes.shape[1]])
    return relative(stream(case.codec("detokenizer"), codes, whole), case.golden["detok.wave"])


STAGES: list[tuple[str, str, Callable[[Case], float | Steps]]] = [
    ("encoder", "encoder", encoder),
    ("adapter", "adapter", adapter),
    ("depth", "depth frames", depth_frames),
    ("mimi", "Mimi", mimi_wave),
    ("detok", "detokenizer", detokenizer_wave),
    ("asr", "transcription", transcription),
]
"""Beginning of the keys that a stage needs, its name, and how it is measured."""


def stream(codec: Codec, codes: np.ndarray, sizes: Iterator[int]) -> np.ndarray:
    """Decode codes [codebooks, T] in calls of the given sizes, to the end."""
    state, start = None, 0
    pieces: list[np.ndarray] = []
    while start < codes.shape[1]:
        size = next(sizes)
        wave, state = codec.decode(mx.array(codes[:, start : start + size])[None], state)
        pieces.append(np.array(wave[0]))
        start += size
    pieces.append(np.array(codec.flush(state)[0]))
    return np.concatenate(pieces)


def compare_run(events: Iterator[Event], modality: np.ndarray, tokens: np.ndarray) -> Steps:
    """A greedy run beside the reference's: a step is equal in kind and in every token."""
    wanted = [
        TextToken(row[0]) if kind == Modality.TEXT else AudioFrame(tuple(row))
        for kind, row in zip(modality.tolist(), tokens.tolist(), strict=True)
    ]
    ours = [event for event in events if not isinstance(event, EndOfTurn)]
    same = sum(a == b for a, b in zip(ours, wanted, strict=False))
    return Steps(same, max(len(ours), len(wanted)))
