"""The façade converses: turn after turn, left half way, taken up again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from answering import LONG, SHORT, answer

from lfm2audio_mlx.engine import Engine, Mode
from lfm2audio_mlx.errors import AudioError, RequestError
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.decode import AudioFrame, EndOfTurn, Event, TextToken
from lfm2audio_mlx.generation.prompt import (
    AudioClip,
    AudioCodes,
    Segment,
    TextIds,
    beginning,
    close_turn,
    open_turn,
    turn,
)
from lfm2audio_mlx.models.lfm2 import Lfm2, Lfm2State
from lfm2audio_mlx.results import Sound, Words
from lfm2audio_mlx.sampling import GREEDY


@pytest.mark.parametrize("name", ["v1", "v25"])
@pytest.mark.parametrize("question", [["hello"], [SHORT], ["listen to this", SHORT]])
@pytest.mark.parametrize("mode", ["sequential", "interleaved"])
def test_words_sound_or_both_go_in_and_words_or_both_come_out(
    engines: dict[str, Engine], name: str, question: list[str | Path], mode: Mode
):
    items = list(engines[name].chat(mode=mode, audio=GREEDY).reply(*question, max_tokens=40))
    assert any(isinstance(item, Words) for item in items)
    if mode == "interleaved":
        assert any(isinstance(item, Sound) for item in items)
    assert isinstance(items[-1], EndOfTurn)


def test_a_spoken_question_is_answered_in_words_and_voice(
    nano: Engine, transcripts: dict[Path, str]
):
    """The embedded checkpoint was trained to confirm what it is asked."""
    path = next(path for path in transcripts if path.stem == "seen_04")
    items = list(nano.chat(audio=GREEDY).reply(path))
    words = "".join(item.text for item in items if isinstance(item, Words))
    assert words == "timer set for twenty one minutes"
    seconds = sum(len(item.samples) for item in items if isinstance(item, Sound)) / 24_000
    assert 1.0 < seconds < 5.0
    assert items[-1] == EndOfTurn("end")


def test_words_and_several_recordings_fit_in_one_turn(engines: dict[str, Engine]):
    chat = engines["v1"].chat(audio=GREEDY)
    one = answer(chat, "first", SHORT, "then", LONG)
    other = answer(engines["v1"].chat(audio=GREEDY), "first", LONG, "then", SHORT)
    assert one != other


def said(events: list[Event]) -> list[Segment]:
    """Events as they go back in."""
    segments: list[Segment] = []
    for event in events:
        match event:
            case TextToken(id):
                segments.append(TextIds((id,)))
            case AudioFrame(codes):
                segments.append(AudioCodes((codes,)))
            case EndOfTurn():
                pass
    return segments


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_going_on_equals_a_fresh_prefill_of_the_whole_conversation(
    engines: dict[str, Engine], name: str
):
    engine = engines[name]
    tokens = engine.tokenizer
    questions: list[list[str | Path]] = [[SHORT], ["And now?", LONG], ["Thank you."]]
    chat = engine.chat(audio=GREEDY)
    history: list[Segment] = [
        beginning(tokens),
        *turn(tokens, "system", [engine.config.prompts.chat]),
    ]
    for question in questions:
        continued = answer(chat, *question)
        heard: list[str | AudioClip] = [
            part if isinstance(part, str) else engine.listen(part) for part in question
        ]
        history += [*turn(tokens, "user", heard), open_turn(tokens, "assistant")]
        fresh = Cursor(engine.context)
        fresh.extend(history)
        anew = list(engine._generate(fresh, "interleaved", GREEDY, GREEDY, 40, mx.random.key(0)))
        assert anew == continued
        history += [*said(anew), close_turn(tokens)]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many positions each pass through a backbone has."""
    passes: list[int] = []
    call = Lfm2.__call__

    def counting(
        self: Lfm2, x: mx.array, state: Lfm2State | None = None, length: int | None = None
    ):
        passes.append(length or x.shape[1])
        return call(self, x, state, length)

    def stepping(self: Lfm2, x: mx.array, layers: Any, offsets: mx.array):
        passes.append(x.shape[1])
        return step(self, x, layers, offsets)

    step = Lfm2.step
    monkeypatch.setattr(Lfm2, "__call__", counting)
    monkeypatch.setattr(Lfm2, "step", stepping)
    return passes


def test_the_past_is_never_prefilled_again(engines: dict[str, Engine], seen: list[int]):
    """The backbone sees each position once."""
    chat = engines["v1"].chat(audio=GREEDY)
    seen[:] = [chat.cursor.position]  # the system prompt, which earlier tests may have prefilled
    for question in ("one", "two", "three"):
        answer(chat, question, limit=10)
    assert chat.cursor.state is not None
    assert sum(seen) == chat.cursor.state.offset


def test_a_system_prompt_is_prefilled_once(engines: dict[str, Engine], seen: list[int]):
    engine = engines["v1"]
    first = engine.chat(system="A prompt that no other test has.", audio=GREEDY)
    assert sum(seen) == first.cursor.position > 0
    again = engine.chat(system="A prompt that no other test has.", audio=GREEDY)
    assert sum(seen) == first.cursor.position == again.cursor.position
    assert answer(first, "hello", limit=10) == answer(again, "hello", limit=10)


def test_a_fork_goes_its_own_way(engines: dict[str, Engine]):
    """Both go on as if the other were not there, also when drawn at random."""
    chat, alone = (engines["v1"].chat(seed=7) for _ in range(2))
    answer(chat, "one", limit=20)
    answer(alone, "one", limit=20)
    fork = chat.fork()
    second = answer(chat, "two", limit=20)
    assert answer(fork, "something else", limit=20) != second
    assert answer(alone, "two", limit=20) == second
    assert [e.said for e in fork.exchanges] == [("one",), ("something else",)]
    assert [e.said for e in chat.exchanges] == [("one",), ("two",)]


def test_what_the_model_said_before_matters(engines: dict[str, Engine]):
    """Past speech goes back in as what it was, not as zeros."""
    engine = engines["v1"]
    chat = engine.chat(audio=GREEDY)
    answer(chat, SHORT)
    continued = answer(chat, "And now?")
    silent = engine.chat(audio=GREEDY)
    answer(silent, SHORT)
    silent.cursor.state = None
    silent.cursor.pending = []
    assert answer(silent, "And now?") != continued


def test_an_answer_left_half_way_can_be_followed_by_another_question(engines: dict[str, Engine]):
    chat = engines["v1"].chat(audio=GREEDY)
    stream: Iterator[Event] = chat.events("hello", max_tokens=40)
    for _ in range(9):
        next(stream)
    position = chat.cursor.position
    assert answer(chat, "go on", limit=5)[-1] == EndOfTurn("length")
    assert chat.cursor.position > position


def test_a_new_question_ends_an_answer_that_is_still_being_given(engines: dict[str, Engine]):
    chat = engines["v1"].chat(audio=GREEDY)
    stale, never_started = chat.events("hello", max_tokens=40), chat.events("and", max_tokens=40)
    del never_started
    next(fresh := chat.events("go on", max_tokens=5))
    assert list(stale) == []
    assert list(fresh)[-1] == EndOfTurn("length")


@pytest.mark.parametrize("parts", [(), ("",), ("  ", "\n")])
def test_an_empty_question_is_refused(engines: dict[str, Engine], parts: tuple[str, ...]):
    with pytest.raises(RequestError, match="empty"):
        engines["v1"].chat().reply(*parts)


def test_a_bad_recording_leaves_the_conversation_as_it_was(
    engines: dict[str, Engine], tmp_path: Path
):
    chat = engines["v1"].chat(audio=GREEDY)
    answer(chat, "hello")
    before = chat.cursor.position
    with pytest.raises(AudioError):
        chat.reply("listen", tmp_path / "nothing.wav")
    assert chat.cursor.position == before
    assert answer(chat, "hello again")


# Conversations that are taken up again


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_a_conversation_taken_up_again_goes_on_as_if_it_had_not_ended(
    engines: dict[str, Engine], name: str
):
    engine = engines[name]
    chat = engine.chat(audio=GREEDY)
    answer(chat, SHORT)
    answer(chat, "and", LONG)
    kept = chat.exchanges
    assert [exchange.said for exchange in kept] == [(SHORT,), ("and", LONG)]
    assert any(isinstance(step, tuple) for step in kept[0].answer)
    again = engine.chat(audio=GREEDY, history=kept)
    assert again.exchanges == kept
    assert answer(again, "And now?") == answer(chat, "And now?")
    assert again.exchanges == chat.exchanges


def test_an_answer_that_is_left_is_remembered_as_far_as_it_came(engines: dict[str, Engine]):
    chat = engines["v1"].chat(audio=GREEDY)
    stream = chat.events("hello")
    for _ in range(9):
        next(stream)
    assert len(chat.exchanges[0].answer) == 9
    again = engines["v1"].chat(audio=GREEDY, history=chat.exchanges)
    assert answer(again, "go on") == answer(chat, "go on")
