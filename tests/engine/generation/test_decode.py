"""Schedules against the reference's rules written out, and the cursor that generation moves."""

from collections.abc import Generator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.engine import CHAT_VOICE, Engine
from lfm2audio_mlx.errors import ContextError
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.decode import AudioFrame, EndOfTurn, Event, TextToken, generate
from lfm2audio_mlx.generation.prompt import AudioCodes, Segment, TextIds
from lfm2audio_mlx.generation.schedules import Interleaved, Sequential
from lfm2audio_mlx.generation.steps import Steps
from lfm2audio_mlx.results import Sound
from lfm2audio_mlx.sampling import GREEDY
from lfm2audio_mlx.tokens import Modality, SpecialTokens

SPECIAL = SpecialTokens(start_of_text=1, turn_start=6, turn_end=7, audio_start=128, text_end=130)
TEXT, AUDIO = Modality.TEXT, Modality.AUDIO_OUT


def interleaved_by_the_book(
    n_text: int, n_audio: int, ends: list[bool], text_ends: list[bool]
) -> list[Modality]:
    """`generate_interleaved` of liquid-audio, its bookkeeping alone, as the model card has it:
    `left` counts down before each step, and the end of the audio does not reset it."""
    modality, left, done, made = TEXT, n_text, False, []
    for audio_ends, text_ends_here in zip(ends, text_ends, strict=True):
        made.append(modality)
        left -= 1
        if modality is TEXT:
            done = done or text_ends_here
            if left == 0 or done:
                modality, left = AUDIO, n_audio
        else:
            if left == 0 and not done:
                modality, left = TEXT, n_text
            if audio_ends:
                modality = TEXT
    return made


@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60),
)
@settings(max_examples=300)
def test_interleaving_follows_the_reference(
    n_text: int, n_audio: int, steps: list[tuple[bool, int]]
):
    ends = [audio_ends for audio_ends, _ in steps]
    text_ends = [number == 0 for _, number in steps]
    schedule, modality, made = Interleaved(n_text, n_audio), TEXT, []
    for audio_ends, text_ends_here in zip(ends, text_ends, strict=True):
        made.append(modality)
        if modality is TEXT:
            token = SPECIAL.text_end if text_ends_here else 300
            modality = schedule.after_text(token, SPECIAL)
        else:
            modality = schedule.after_audio(audio_ends)
    assert made == interleaved_by_the_book(n_text, n_audio, ends, text_ends)


def test_sequential_speech_is_between_its_start_and_its_end():
    schedule = Sequential()
    assert schedule.after_text(300, SPECIAL) is TEXT
    assert schedule.after_text(SPECIAL.text_end, SPECIAL) is TEXT
    assert schedule.after_text(SPECIAL.audio_start, SPECIAL) is AUDIO
    assert schedule.after_audio(ended=False) is AUDIO
    assert schedule.after_audio(ended=True) is TEXT


def answering(engine: Engine, cursor: Cursor, limit: int) -> Generator[Event, None, None]:
    config = engine.config
    return generate(
        engine.steps,
        engine.tokenizer.special,
        cursor,
        Interleaved(config.interleaved_n_text, config.interleaved_n_audio),
        text=GREEDY,
        audio=GREEDY,
        max_tokens=limit,
        key=mx.random.key(0),
    )


def run(engine: Engine, cursor: Cursor, limit: int) -> list[Event]:
    return list(answering(engine, cursor, limit))


def prompted(context: int = 1000) -> Cursor:
    cursor = Cursor(context)
    cursor.extend([TextIds(tuple(range(200, 240)))])
    return cursor


def test_a_cursor_counts_what_was_seen_and_what_waits(engines: dict[str, Engine]):
    cursor = prompted()
    assert cursor.position == 40
    events = run(engines["v1"], cursor, 9)
    assert events[-1] == EndOfTurn("length")
    assert len(events) == 10
    # The last event waits to be seen.
    assert cursor.position == 49
    assert cursor.state is not None
    assert cursor.state.offset == 48


def test_a_copy_goes_its_own_way(engines: dict[str, Engine]):
    cursor = prompted()
    run(engines["v1"], cursor, 5)
    copy = cursor.copy()
    assert run(engines["v1"], cursor, 20) == run(engines["v1"], copy, 20)


def test_what_would_not_fit_is_refused_before_any_work():
    cursor = Cursor(100)
    with pytest.raises(ContextError, match=r"needs 100 positions .* holds 100"):
        cursor.extend([TextIds((200,) * 100)])
    assert cursor.pending == []
    cursor.extend([TextIds((200,) * 99)])


def test_a_full_context_ends_the_turn(engines: dict[str, Engine]):
    cursor = prompted(context=45)
    events = run(engines["v1"], cursor, 100)
    assert events[-1] == EndOfTurn("context")
    assert len(events) == 7
    assert cursor.state is not None
    assert cursor.state.offset == 45


@pytest.mark.parametrize("kept", [0, 1, 7, 12, 30])
def test_a_turn_left_anywhere_leaves_the_cursor_whole(engines: dict[str, Engine], kept: int):
    """What comes next is what a fresh prefill of all that was said gives."""
    engine = engines["v25"]
    whole, cursor = run(engine, prompted(), 40), prompted()
    events = answering(engine, cursor, 40)
    said = [next(events) for _ in range(kept)]
    events.close()
    assert said == whole[:kept]
    fresh = prompted()
    fresh.extend([as_segment(event) for event in said])
    assert cursor.position == fresh.position == 40 + kept
    for each in (cursor, fresh):
        each.extend([TextIds((7, 201))])
    again, anew = cursor.advance(engine.model), fresh.advance(engine.model)
    # The same float32 sums over tensors of other shapes.
    assert np.allclose(again, anew, atol=1e-5 * float(mx.abs(anew).max()))


def as_segment(event: Event) -> Segment:
    if isinstance(event, TextToken):
        return TextIds((event.id,))
    assert isinstance(event, AudioFrame)
    return AudioCodes((event.codes,))


def test_a_long_prefill_in_chunks_is_the_same(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
):
    from lfm2audio_mlx.generation import cursor

    whole = prompted().advance(engines["v1"].model)
    monkeypatch.setattr(cursor, "PREFILL_CHUNK", 7)
    chunked = prompted().advance(engines["v1"].model)
    # The same float32 sums over tensors of other shapes.
    assert np.allclose(whole, chunked, atol=1e-5 * float(mx.abs(whole).max()))


def test_there_is_one_wait_for_each_word_or_frame_and_its_sound(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
):
    """And the step after it has been asked for by then, but for the last one."""
    engine, waits, asked = engines["v1"], 0, 0
    evaluate, step = mx.eval, Steps.backbone

    def waiting(*arrays: Any) -> None:
        nonlocal waits
        waits += 1
        evaluate(*arrays)

    def stepping(self: Steps, *given: Any):
        nonlocal asked
        asked += 1
        return step(self, *given)

    monkeypatch.setattr(mx, "eval", waiting)
    monkeypatch.setattr(Steps, "backbone", stepping)
    cursor, voice = prompted(), engine.voice()
    events = generate(
        engine.steps,
        SPECIAL_OF_NONE,
        cursor,
        Interleaved(3, 4),
        text=GREEDY,
        audio=CHAT_VOICE,
        max_tokens=20,
        key=mx.random.key(0),
        voice=voice,
    )
    made = 0
    for event in events:
        if isinstance(event, TextToken | AudioFrame):
            made += 1
            assert waits == made
            assert asked == min(made, 19)
        elif isinstance(event, Sound):
            assert len(event.samples) == 1920
    assert made == 20


SPECIAL_OF_NONE = SpecialTokens(-1, -1, -1, -1, -1)


@pytest.mark.parametrize("at", [1, 4, 9])
def test_a_wait_that_is_interrupted_leaves_the_cursor_whole(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch, at: int
):
    """ctrl-C while the next step is under way: what was not given is not remembered."""
    engine, cursor, waits = engines["v1"], prompted(), 0
    whole = run(engine, prompted(), 20)
    evaluate = mx.eval

    def interrupted(*arrays: Any) -> None:
        nonlocal waits
        waits += 1
        if waits == at:
            raise KeyboardInterrupt
        evaluate(*arrays)

    monkeypatch.setattr(mx, "eval", interrupted)
    said: list[Event] = []
    with pytest.raises(KeyboardInterrupt):
        said.extend(answering(engine, cursor, 20))
    monkeypatch.undo()
    assert said == whole[: at - 1]
    fresh = prompted()
    fresh.extend([as_segment(event) for event in said])
    assert cursor.position == fresh.position
    for each in (cursor, fresh):
        each.extend([TextIds((7, 201))])
    again, anew = cursor.advance(engine.model), fresh.advance(engine.model)
    assert np.allclose(again, anew, atol=1e-5 * float(mx.abs(anew).max()))


def test_keys_and_values_are_written_in_place_unless_somebody_holds_them(
    engines: dict[str, Engine],
):
    """Copying them would be a tenth more to read at a full context."""
    engine = engines["v1"]
    steps, word = engine.steps, mx.array([5])

    def most_memory(hold: bool) -> int:
        cursor = prompted()
        cursor.pending = [TextIds((200,) * 4000)]
        cursor.settle(engine.model)
        held = cursor.state if hold else None
        mx.clear_cache()
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        mx.eval(cursor.step_ahead(steps, Modality.TEXT, word))
        del held
        return mx.get_peak_memory() - before

    cursor = prompted()
    cursor.pending = [TextIds((200,) * 4000)]
    cursor.settle(engine.model)
    assert most_memory(hold=True) > 0.9 * cursor.size
    assert most_memory(hold=False) < 0.5 * cursor.size
