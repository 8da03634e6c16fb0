"""Conversations to learn from are what the product builds and says, to the last token."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx import results
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.prompt import (
    AudioClip,
    AudioCodes,
    Segment,
    TextIds,
    beginning,
    close_turn,
    embed,
    length,
    open_turn,
    turn,
)
from lfm2audio_mlx.tokens import END_OF_AUDIO
from lfm_train.examples import Example
from lfm_train.nano.conversations import (
    WRONG_CODE,
    WRONG_FRAME,
    Conversations,
    Exchange,
    corrupted,
)

CLIP = Path(__file__).parents[2] / "data" / "speech" / "time.flac"
FRAMES = tuple((i, *range(7)) for i in range(20))
ENDED = (*FRAMES, (END_OF_AUDIO,) * 8)
HELLO = Exchange("hello", "hello how can i help", FRAMES)


@pytest.fixture(scope="module")
def conversations(nano: Engine) -> Conversations:
    return Conversations(nano.config, nano.tokenizer)


def asked(example: Example) -> list[Segment]:
    """What is there before the answer."""
    learnt = [part.learnt for part in example]
    first = learnt.index(True)
    assert all(learnt[first:]) and not any(learnt[:first])
    return [part.segment for part in example[:first]]


def answered(example: Example) -> list[Segment]:
    return [part.segment for part in example if part.learnt]


def plain(segments: list[Segment]) -> list[object]:
    """Segments as they can be compared: joined ids, frames, and features of clips."""
    found: list[object] = []
    for segment in segments:
        match segment:
            case TextIds(ids):
                found += ids
            case AudioCodes(frames):
                found += frames
            case AudioClip(features, positions):
                found.append((np.array(features).tobytes(), positions))
    return found


def prompt(engine: Engine, system: str, *said: str | AudioClip) -> list[Segment]:
    """The product's, from its own pieces."""
    tokens = engine.tokenizer
    opened = [beginning(tokens), *turn(tokens, "system", [system])]
    return [*opened, *turn(tokens, "user", said), open_turn(tokens, "assistant")]


def ids(engine: Engine, text: str) -> list[int]:
    return list(engine.tokenizer.encode(text))


def end(engine: Engine) -> list[int]:
    return list(close_turn(engine.tokenizer).ids)


# Transcriptions


@pytest.fixture(scope="module")
def heard(nano: Engine) -> AudioClip:
    return nano.listen(CLIP)


def test_a_transcription_is_asked_for_as_the_engine_asks(
    nano: Engine, conversations: Conversations, heard: AudioClip
):
    """Its cursor waits with the same turn, behind a system prompt of the same length."""
    example = conversations.transcription(np.array(heard.features), "what time is it")
    cursor, _ = nano.asked_for_words(CLIP, None)
    pending = plain(cursor.pending)
    before = plain(asked(example))
    assert before[-len(pending) :] == pending
    assert cursor.state and cursor.state.offset == len(before) - len(pending)
    assert cursor.position == length(asked(example))


def test_the_model_is_left_in_the_same_state(
    nano: Engine, conversations: Conversations, heard: AudioClip
):
    """What it sees before the first word; the engine computes its prompt apart."""
    example = conversations.transcription(np.array(heard.features), "what time is it")
    cursor: Cursor = nano.asked_for_words(CLIP, None)[0]
    theirs = np.array(cursor.advance(nano.model))[0]
    hidden, _ = nano.model.lfm(embed(nano.model, asked(example)))
    ours = np.array(hidden)[0, -1]
    # Relative: float32 sums in other shapes, through all layers.
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_its_answer_is_the_words_and_the_turn_s_end(
    nano: Engine, conversations: Conversations, heard: AudioClip
):
    example = conversations.transcription(np.array(heard.features), "what time is it")
    assert plain(answered(example)) == [*ids(nano, "what time is it"), *end(nano)]
    assert end(nano)[0] == nano.tokenizer.special.turn_end


def test_no_words_are_answered_by_the_end(
    nano: Engine, conversations: Conversations, heard: AudioClip
):
    example = conversations.transcription(np.array(heard.features), "")
    assert plain(answered(example)) == end(nano)


# Readings


@pytest.mark.parametrize("voice", ["us-male", "uk-female"])
def test_a_reading_is_asked_for_as_the_engine_asks(
    nano: Engine, conversations: Conversations, voice: str
):
    """Before the sentence stands that voice's own prompt, by its name."""
    example = conversations.reading("hello", voice, FRAMES)
    expected = prompt(nano, nano._voice_prompt(voice), "hello")
    assert plain(asked(example)) == plain(expected)


def test_its_answer_is_speech_and_its_ends(nano: Engine, conversations: Conversations):
    example = conversations.reading("hello", "us-male", FRAMES)
    start = nano.tokenizer.special.audio_start
    assert plain(answered(example)) == [start, *ENDED, *end(nano)]


# Dialogues


def test_a_written_question_is_asked_as_in_a_chat(nano: Engine, conversations: Conversations):
    example = conversations.dialogue([HELLO])
    assert plain(asked(example)) == plain(prompt(nano, nano.config.prompts.chat, "hello"))
    chat = nano.chat()
    assert chat.cursor.state
    chat.events("hello")
    assert plain(asked(example))[chat.cursor.state.offset :] == plain(chat.cursor.pending)


def test_a_spoken_question_is_heard(nano: Engine, conversations: Conversations, heard: AudioClip):
    example = conversations.dialogue(
        [Exchange(np.array(heard.features), "it is ten thirty", FRAMES)]
    )
    assert plain(asked(example)) == plain(prompt(nano, nano.config.prompts.chat, heard))


def test_its_answer_is_interleaved(nano: Engine, conversations: Conversations):
    """Six words, twelve frames, and so on; both have their ends, and so has the turn."""
    answer = "setting the temperature to twenty one degrees"
    example = conversations.dialogue([Exchange("hello", answer, FRAMES)])
    words = [*ids(nano, answer), nano.tokenizer.special.text_end]
    assert len(words) == 8
    expected = [*words[:6], *ENDED[:12], *words[6:], *ENDED[12:], *end(nano)]
    assert plain(answered(example)) == expected


def test_without_frames_it_is_in_words_alone(nano: Engine, conversations: Conversations):
    example = conversations.dialogue([Exchange("hello", "hello how can i help")])
    words = [*ids(nano, "hello how can i help"), nano.tokenizer.special.text_end]
    assert plain(answered(example)) == [*words, *end(nano)]


def test_later_questions_come_as_in_a_chat_that_is_taken_up(
    nano: Engine, conversations: Conversations, heard: AudioClip
):
    """An answer in words and voice, one in words alone, and a third question, which is heard."""
    special = nano.tokenizer.special
    exchanges = [
        HELLO,
        Exchange("what time is it", "it is ten thirty"),
        Exchange(np.array(heard.features), "goodbye"),
    ]
    spoken = [*ids(nano, HELLO.answer), special.text_end, *ENDED]
    written = [*ids(nano, "it is ten thirty"), special.text_end]
    chat = nano.chat(
        history=[
            results.Exchange(("hello",), tuple(spoken)),
            results.Exchange(("what time is it",), tuple(written)),
        ]
    )
    chat.events(CLIP)
    assert chat.cursor.state
    example = conversations.dialogue(exchanges)
    pending = plain(chat.cursor.pending)
    told = plain([part.segment for part in example])[chat.cursor.state.offset :]
    assert told[: len(pending)] == pending
    goodbye = [*ids(nano, "goodbye"), special.text_end]
    assert told[len(pending) :] == [*goodbye, *end(nano)]
    expected = [*spoken, *end(nano), *written, *end(nano), *goodbye, *end(nano)]
    assert plain(answered(example)) == expected


def test_it_can_be_told_anything_before(nano: Engine, conversations: Conversations):
    example = conversations.dialogue([HELLO], "be brief")
    assert plain(asked(example)) == plain(prompt(nano, "be brief", "hello"))


def test_where_nothing_is_asked_nothing_is_said(
    nano: Engine, conversations: Conversations, heard: AudioClip
):
    example = conversations.unanswered(np.array(heard.features))
    assert plain(asked(example)) == plain(prompt(nano, nano.config.prompts.chat, heard))
    assert plain(answered(example)) == end(nano)


# Corruption

MANY, SIZE = 4000, 512


def frames_with_ends(seed: int) -> np.ndarray:
    codes = np.random.default_rng(seed).integers(0, SIZE, (MANY, 8))
    codes[::10] = END_OF_AUDIO
    return codes


def test_the_end_of_the_audio_is_left_as_it_is():
    codes = frames_with_ends(0)
    made = np.array(corrupted(mx.array(codes), SIZE, np.random.default_rng(0)))
    assert made.shape == codes.shape
    assert (made[::10] == END_OF_AUDIO).all()
    assert made[codes != END_OF_AUDIO].max() < SIZE


def test_so_many_codes_and_frames_are_others():
    codes = frames_with_ends(1)
    made = np.array(corrupted(mx.array(codes), SIZE, np.random.default_rng(1)))
    changed = (made != codes)[codes[:, 0] != END_OF_AUDIO]
    expected = (1 - (1 - WRONG_CODE) * (1 - WRONG_FRAME)) * (1 - 1 / SIZE)
    # Five standard deviations of a share of frames that change as one.
    assert changed.mean() == pytest.approx(expected, abs=5 * (0.25 / len(changed)) ** 0.5)
    assert changed.all(axis=1).mean() > 0.5 * WRONG_FRAME


def test_it_is_drawn_again_the_same():
    codes = mx.array(frames_with_ends(2))
    first, again, other = (corrupted(codes, SIZE, np.random.default_rng(n)) for n in (3, 3, 4))
    assert mx.array_equal(first, again) and not mx.array_equal(first, other)


def test_no_frames_are_none():
    none = corrupted(mx.zeros((0, 8), mx.int32), SIZE, np.random.default_rng(0))
    assert none.shape == (0, 8)
