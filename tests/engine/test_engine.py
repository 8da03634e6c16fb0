"""What holds for all jobs of the façade: its randomness, its context, its failures."""

import dataclasses

import mlx.core as mx
import numpy as np
import pytest
from answering import answer

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import AudioError, ContextError, LfmError, RequestError
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.decode import AudioFrame, EndOfTurn, Event, generate
from lfm2audio_mlx.generation.prompt import TextIds
from lfm2audio_mlx.generation.schedules import Sequential
from lfm2audio_mlx.generation.steps import Steps
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.sampling import GREEDY, Sampling

# Randomness: nothing is drawn twice with one key


class Flat:
    """A model of which every choice is even, so that what is drawn is the keys alone."""

    def __init__(self, engine: Engine):
        self.model = engine.model

    def __enter__(self) -> None:
        self.weights = [
            (table.embedding, table.embedding.weight)
            for table in self.model.depthformer.depth_embeddings
        ]
        for table, weight in self.weights:
            table.weight = mx.zeros_like(weight)

    def __exit__(self, *_: object) -> None:
        for table, weight in self.weights:
            table.weight = weight


def frames_of(events: list[Event]) -> list[tuple[int, ...]]:
    return [event.codes for event in events if isinstance(event, AudioFrame)]


def test_codebooks_steps_and_turns_each_draw_for_themselves(engines: dict[str, Engine]):
    engine = engines["v1"]
    with Flat(engine):
        chat = engine.chat(audio=Sampling(1.0), seed=5)
        first, second = frames_of(answer(chat, "one")), frames_of(answer(chat, "one"))
    # Even draws from 2,048 codes: equal neighbours would be a key used twice.
    assert all(len(set(codes)) > 4 for codes in first)
    assert len(set(first)) == len(first)
    assert not set(first) & set(second)


# The context


def test_the_context_is_that_of_the_published_models(engines: dict[str, Engine]):
    assert engines["v1"].context == 32_768


@pytest.mark.slow
def test_the_whole_context_can_be_filled(engines: dict[str, Engine]):
    """Position 32,768 is reached, and there the turn must end. One attention layer of one head:
    on a CPU the scores of a longer stack take minutes."""
    engine = engines["v1"]
    small = dataclasses.replace(
        engine.config.lfm,
        hidden_size=32,
        layer_types=("conv", "full_attention"),
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    model = Lfm2Audio(dataclasses.replace(engine.config, lfm=small))
    ids = tuple(np.random.default_rng(0).integers(200, 1000, engine.context - 2).tolist())
    cursor = Cursor(engine.context)
    cursor.extend([TextIds(ids)])
    events = list(
        generate(
            Steps(model),
            engine.tokenizer.special,
            cursor,
            Sequential(),
            text=GREEDY,
            audio=GREEDY,
            max_tokens=10,
            key=mx.random.key(0),
        )
    )
    assert events[-1] == EndOfTurn("context")
    assert len(events) == 4
    assert cursor.state is not None
    assert cursor.state.offset == 32_768


def test_every_failure_is_of_one_tree():
    for error in (AudioError, ContextError, RequestError):
        assert issubclass(error, LfmError)
