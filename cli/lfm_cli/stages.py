"""How long each stage of the engine takes on this machine.

A stage is prepared once, warmed up once and then run again and again. MLX computes only what is
asked for, so every run ends with `mx.eval` of what it made, or takes it out of MLX.
"""

# pyright: reportUnknownMemberType=false
# (mx.eval takes anything.)

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import mlx.core as mx
import numpy as np

from lfm2audio_mlx.audio.features import log_mel
from lfm2audio_mlx.engine import BATCH, CHAT_VOICE, Engine
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.prompt import TextIds
from lfm2audio_mlx.generation.rows import Rows
from lfm2audio_mlx.results import EndOfTurn, Sound, Words
from lfm2audio_mlx.sampling import GREEDY
from lfm2audio_mlx.tokens import Modality

__all__ = ["STAGES", "Figure", "Stage", "load_stage", "measure", "speechlike"]

Run = Callable[[], float | None]
"""Does a stage's work once and gives its figure; None, if the model did not get so far."""

SHORT_SECONDS, LONG_SECONDS = 4.0, 30.0
"""A spoken question, and the longest span that is transcribed in one pass."""
PROMPT_POSITIONS, CONVERSATION_POSITIONS = 75, 1000
"""A system prompt with a question of 4 s, and a conversation of some turns."""
STEP_POSITIONS = 200
"""Where a step of generation is measured: in the answer to a question."""
STEPS = 8
"""Steps in one run of a stage that takes a millisecond or so."""
FRAMES = 25
"""Frames of speech in one run: two seconds."""
TRANSCRIPT_TOKENS = 100
"""Of a transcript of 30 s: 150 words a minute, 4 tokens to 3 words."""
ANSWER_TOKENS = 64
"""How long an answer is waited for; speech begins after a few tokens, if at all."""


@dataclass(frozen=True)
class Figure:
    """What came of a stage; None in `median` and `best` where the model did not get so far.

    `unit`: "ms", or "x" for times as fast as real time, where more is better. `runs` does not
    count the one that warmed it up.
    """

    name: str
    unit: Literal["ms", "x"]
    median: float | None
    best: float | None
    runs: int


@dataclass(frozen=True)
class Stage:
    """A name, what is measured, and what gets it ready to run."""

    name: str
    unit: Literal["ms", "x"]
    prepare: Callable[[Engine], Run]


def measure(stage: Stage, engine: Engine, repeat: int) -> Figure:
    """Run a stage once to warm it up, and `repeat` times for its figure."""
    return _figure(stage.name, stage.unit, stage.prepare(engine), repeat)


def load_stage(folder: Path, repeat: int) -> tuple[Figure, Engine]:
    """How long loading takes, and what was loaded.

    From then on MLX's peak memory is what this one engine takes.

    Raises:
        ConfigError: the folder's configuration is at fault.
        CheckpointError: a weight file or the tokenizer is.
    """
    loaded: list[Engine] = []

    def load() -> None:
        # The one before must be gone: two models may be more than there is memory for.
        loaded.clear()
        gc.collect()
        mx.clear_cache()
        loaded.append(Engine.load(folder))

    figure = _figure("load", "ms", _milliseconds(load), repeat)
    mx.reset_peak_memory()
    return figure, loaded[0]


def speechlike(seconds: float, sample_rate: int) -> np.ndarray:
    """Samples [n] with the pitch, the syllables and the hiss of speech, the same each time."""
    t = np.arange(int(seconds * sample_rate)) / sample_rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    noise = np.random.default_rng(0).normal(0, 0.3, t.size)
    syllables = np.maximum(0.0, np.sin(2 * np.pi * 2 * t))
    return (0.1 * syllables * (voice + noise)).astype(np.float32)


def _figure(name: str, unit: Literal["ms", "x"], run: Run, repeat: int) -> Figure:
    run()
    figures = [run() for _ in range(repeat)]
    found = [figure for figure in figures if figure is not None]
    if not found:
        return Figure(name, unit, None, None, repeat)
    return Figure(name, unit, median(found), (min if unit == "ms" else max)(found), repeat)


def _milliseconds(action: Callable[[], Any], times: int = 1) -> Run:
    """An action as a run: how long it takes, on average over so many `times`."""

    def run() -> float:
        start = time.perf_counter()
        for _ in range(times):
            action()
        return 1000 * (time.perf_counter() - start) / times

    return run


def _speed(action: Callable[[], Any], seconds: float) -> Run:
    """An action that takes `seconds` in real life as a run: how many times as fast it is."""
    elapsed = _milliseconds(action)

    def run() -> float:
        return 1000 * seconds / (elapsed() or 1.0)

    return run


def _prepare_mel(seconds: float) -> Callable[[Engine], Run]:
    def prepare(engine: Engine) -> Run:
        features = engine.config.features
        samples = speechlike(seconds, features.sample_rate)
        return _milliseconds(lambda: log_mel(samples, features))

    return prepare


def _prepare_encode(seconds: float) -> Callable[[Engine], Run]:
    def prepare(engine: Engine) -> Run:
        rate = engine.config.features.sample_rate
        clip = engine.listen((speechlike(seconds, rate), rate))
        return _milliseconds(lambda: mx.eval(engine.model.embed_audio(clip.features[None])))

    return prepare


def _prepare_prefill(positions: int) -> Callable[[Engine], Run]:
    def prepare(engine: Engine) -> Run:
        return _milliseconds(lambda: mx.eval(_filled(engine, positions)[1]))

    return prepare


def _filled(engine: Engine, positions: int = STEP_POSITIONS) -> tuple[Cursor, mx.array]:
    """A conversation of so many positions, and the last hidden state [1, hidden], unevaluated."""
    # Words of all kinds: no two positions are alike, as in real text.
    ids = tuple(i % engine.config.lfm.vocab_size for i in range(positions))
    cursor = Cursor(engine.context, pending=[TextIds(ids)])
    return cursor, cursor.advance(engine.model)


def _prepare_text(engine: Engine) -> Run:
    cursor, hidden = _filled(engine)
    steps, key = engine.steps, mx.random.key(0)
    drawn = steps.word(hidden, GREEDY, key)
    mx.eval(drawn)

    def step() -> None:
        nonlocal drawn
        hidden = cursor.step_ahead(steps, Modality.TEXT, drawn)
        drawn = steps.word(hidden, GREEDY, key)
        drawn.item()

    return _milliseconds(step, STEPS)


def _prepare_backbone(engine: Engine) -> Run:
    cursor, hidden = _filled(engine)
    word = mx.array([0])
    mx.eval(hidden, word)
    return _milliseconds(
        lambda: mx.eval(cursor.step_ahead(engine.steps, Modality.TEXT, word)), STEPS
    )


def _prepare_depth(engine: Engine) -> Run:
    _, hidden = _filled(engine)
    key = mx.random.key(0)
    mx.eval(hidden, key)
    return _milliseconds(lambda: mx.eval(engine.steps.frame(hidden, CHAT_VOICE, key)), STEPS)


def _prepare_codec(engine: Engine) -> Run:
    codes = mx.random.randint(
        0, engine.config.codebook_size, (1, engine.config.codebooks, 1), key=mx.random.key(0)
    )
    state: Any = None

    def step() -> None:
        nonlocal state
        samples, state = engine.codec.decode(codes, state)
        mx.eval(samples)

    return _milliseconds(step, STEPS)


def _prepare_speech(engine: Engine) -> Run:
    """All of speech in turn, whatever the model would rather do: step, frame, sound."""
    cursor, hidden = _filled(engine)
    key = mx.random.key(0)
    mx.eval(hidden, key)
    voice = engine.voice()

    def speak() -> None:
        nonlocal hidden
        for _ in range(FRAMES):
            codes = engine.steps.frame(hidden, CHAT_VOICE, key)
            voice.push(codes)
            hidden = cursor.step_ahead(engine.steps, Modality.AUDIO_OUT, codes)
            mx.async_eval(hidden)
            voice.confirm(ended=False)
        mx.eval(hidden)

    return _speed(speak, FRAMES * engine.codec.frame_size / engine.codec.sample_rate)


def _prepare_answer(*kinds: type[Words | Sound | EndOfTurn]) -> Callable[[Engine], Run]:
    """From the end of a spoken question to the first of the answer that is of one of these kinds;
    the conversation is a new one, so that its system prompt counts too."""

    def prepare(engine: Engine) -> Run:
        rate = engine.config.features.sample_rate
        question = speechlike(SHORT_SECONDS, rate), rate

        def run() -> float | None:
            start = time.perf_counter()
            answer: Iterator[Any] = engine.chat(seed=0).reply(question, max_tokens=ANSWER_TOKENS)
            for item in answer:
                if isinstance(item, kinds):
                    return 1000 * (time.perf_counter() - start)
            return None

        return run

    return prepare


def _prepare_transcription(count: int) -> Callable[[Engine], Run]:
    """Recordings of 30 s, so many at once, each in as many tokens as unhurried speech has."""

    def prepare(engine: Engine) -> Run:
        rate = engine.config.features.sample_rate
        recording = speechlike(LONG_SECONDS, rate), rate

        def hear() -> None:
            rows = Rows(engine.steps, engine.tokenizer.special, count)
            for _ in range(count):
                cursor, _ = engine.asked_for_words(recording, None)
                rows.add(cursor, TRANSCRIPT_TOKENS)
            for _ in range(TRANSCRIPT_TOKENS):
                rows.step()  # also of those that the model has ended

        return _speed(hear, count * LONG_SECONDS)

    return prepare


STAGES = (
    Stage("log-mel of 4 s", "ms", _prepare_mel(SHORT_SECONDS)),
    Stage("log-mel of 30 s", "ms", _prepare_mel(LONG_SECONDS)),
    Stage("encode 4 s", "ms", _prepare_encode(SHORT_SECONDS)),
    Stage("encode 30 s", "ms", _prepare_encode(LONG_SECONDS)),
    Stage("prefill 75 positions", "ms", _prepare_prefill(PROMPT_POSITIONS)),
    Stage("prefill 1,000 positions", "ms", _prepare_prefill(CONVERSATION_POSITIONS)),
    Stage("text token", "ms", _prepare_text),
    Stage("backbone step", "ms", _prepare_backbone),
    Stage("depth frame", "ms", _prepare_depth),
    Stage("codec frame", "ms", _prepare_codec),
    # A model that has nothing to say to a noise tells so in a token of text.
    Stage("first text", "ms", _prepare_answer(Words, EndOfTurn)),
    Stage("first audio", "ms", _prepare_answer(Sound)),
    Stage("speech", "x", _prepare_speech),
    Stage("transcription", "x", _prepare_transcription(1)),
    Stage(f"transcription, {BATCH} at once", "x", _prepare_transcription(BATCH)),
)
"""All stages but loading, in the order in which an answer goes through them."""
