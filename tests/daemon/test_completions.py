"""`/v1/chat/completions` as OpenAI's clients use it: the answers of the engine's own conversation,
however clients send back what was said."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
import served
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from served import RECORDINGS, Served, part

from lfm2audio_mlx.engine import Chat, Engine
from lfm2audio_mlx.results import Exchange, Sound, Words
from lfm_daemon.encoding import Encoder

client, daemon, engine = served.client, served.daemon, served.engine
no_worker_stays = served.no_worker_stays

COMPLETIONS = "/v1/chat/completions"
ALARM, FAN, VOLUME = (RECORDINGS / f"seen_{name}" for name in ("00.wav", "09.flac", "05.flac"))
ALARM_SET = "alarm set for five thirty"
SEED = 5
LIMIT = 40
"""Tokens, where the embedded checkpoint finds no end."""
SPOKEN: dict[str, Any] = {
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "pcm16"},
}

Said = tuple[str, bytes]
"""Words, and samples of 16 bits."""


def user(*parts: str | Path) -> dict[str, Any]:
    said = [{"type": "text", "text": p} if isinstance(p, str) else part(p) for p in parts]
    return {"role": "user", "content": said}


def complete(client: OpenAI, messages: list[Any], **more: Any) -> ChatCompletion:
    ours = {name: more.pop(name) for name in ("keep_alive",) if name in more}
    return client.chat.completions.create(
        model="nano", messages=messages, extra_body=ours, **{"seed": SEED, **more}
    )


def spoken(client: OpenAI, messages: list[Any], **more: Any) -> ChatCompletionMessage:
    return complete(client, messages, **{**SPOKEN, **more}).choices[0].message


def said(message: ChatCompletionMessage) -> Said:
    assert message.role == "assistant" and message.content is None and message.audio
    return message.audio.transcript, base64.b64decode(message.audio.data)


def answered(chat: Chat, *parts: Any, form: str = "pcm", **more: Any) -> Said:
    """What the engine itself answers."""
    items = list(chat.reply(*parts, **more))
    encoder = Encoder(form, 24_000)
    pieces = [encoder.push(item.samples) for item in items if isinstance(item, Sound)]
    sound = b"".join([*pieces, encoder.finish()] if pieces else [])
    return "".join(item.text for item in items if isinstance(item, Words)).strip(), sound


# One answer


def test_words(client: OpenAI, engine: Engine):
    found = complete(client, [user(ALARM)])
    (choice,) = found.choices
    assert (choice.message.content, choice.finish_reason) == (ALARM_SET, "stop")
    assert choice.message.audio is None and found.model == "nano"
    chat = engine.chat(mode="sequential", seed=SEED)
    assert answered(chat, ALARM)[0] == ALARM_SET
    assert found.usage and found.usage.completion_tokens == len(chat.exchanges[0].answer)
    assert found.usage.total_tokens == found.usage.completion_tokens


def test_words_and_speech(client: OpenAI, engine: Engine):
    text, sound = said(spoken(client, [user(ALARM)]))
    assert (text, sound) == answered(engine.chat(seed=SEED), ALARM)
    assert text == ALARM_SET and len(sound) > 2 * 24_000


@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "opus"])
def test_speech_in_every_format(form: str, client: OpenAI, engine: Engine):
    audio = {"voice": "alloy", "format": form}
    _, data = said(spoken(client, [user(ALARM)], audio=audio, max_tokens=12))
    _, expected = answered(engine.chat(seed=SEED), ALARM, form=form, max_tokens=12)
    # Every ogg stream has a number of its own.
    assert (data == expected or form == "opus") and len(data) == len(expected) > 1000


@pytest.mark.parametrize("more", [{}, {**SPOKEN, "audio": {"voice": "alloy", "format": "mp3"}}])
def test_streamed_it_is_the_same(more: dict[str, Any], client: OpenAI):
    whole = complete(client, [user(FAN)], **more)
    with client.chat.completions.create(
        model="nano",
        messages=[user(FAN)],  # type: ignore
        seed=SEED,
        stream=True,
        stream_options={"include_usage": True},
        **more,
    ) as stream:
        first, *middle, last, usage = list(stream)
    assert first.choices[0].delta.role == "assistant"
    assert {chunk.id for chunk in middle} == {first.id} and len(middle) > 4
    assert {chunk.choices[0].finish_reason for chunk in middle} == {None}
    assert last.choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert not usage.choices and usage.usage == whole.usage
    message = whole.choices[0].message
    if more:
        pieces = [audio for chunk in middle if (audio := chunk.choices[0].delta.audio)]
        assert len(pieces) == len(middle) and len({piece.id for piece in pieces}) == 1
        told = "".join(piece.transcript or "" for piece in pieces).strip()
        data = b"".join(base64.b64decode(piece.data or "") for piece in pieces)
        assert (told, data) == said(message)
        assert pieces[-1].expires_at and pieces[-1].expires_at > first.created
    else:
        told = "".join(chunk.choices[0].delta.content or "" for chunk in middle)
        assert told.strip() == message.content


def test_what_is_spoken_unasked_is_left_out(daemon: Served, engine: Engine):
    """By an answer in words; and its stream ends as OpenAI's do."""
    told = engine.config.prompts.voices["us-male"]
    assert answered(engine.chat(mode="sequential", system=told), "lights off")[1]
    messages = [{"role": "system", "content": told}, {"role": "user", "content": "lights off"}]
    question = {"messages": messages}
    assert "audio" not in daemon.post(COMPLETIONS, question).json()["choices"][0]["message"]
    streamed = daemon.post(COMPLETIONS, {**question, "stream": True})
    assert b'"audio"' not in streamed.body and streamed.body.endswith(b"\n\ndata: [DONE]\n\n")


def test_it_ends_at_its_limit(client: OpenAI, engine: Engine):
    for name in ("max_tokens", "max_completion_tokens"):
        found = complete(client, [user(ALARM)], **{name: 3})
        assert found.choices[0].finish_reason == "length"
        assert found.usage and found.usage.completion_tokens == 3
        expected = answered(engine.chat(mode="sequential", seed=SEED), ALARM, max_tokens=3)
        assert found.choices[0].message.content == expected[0] != ALARM_SET


def test_temperature_and_seed(client: OpenAI):
    def text(**more: Any) -> str | None:
        found = complete(client, [user(ALARM)], max_tokens=9, **more)
        return found.choices[0].message.content

    assert text(temperature=0) == text(temperature=0, seed=1) == ALARM_SET
    drawn = [text(temperature=2, seed=seed) for seed in range(4)]
    assert len(set(drawn)) > 1 and drawn == [text(temperature=2, seed=seed) for seed in range(4)]


DRAWS = 4
"""Few frames, surely spoken: two draws of them may be the same by chance, four are not."""


def test_without_a_seed_it_does_not_sound_the_same(client: OpenAI):
    sounds = {said(spoken(client, [user(ALARM)], seed=None, max_tokens=12)) for _ in range(DRAWS)}
    assert len(sounds) > 1


def test_what_the_system_is_told(client: OpenAI, engine: Engine):
    told = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Very."}]},
    ]
    chat = engine.chat(system="Be brief.\nVery.", seed=SEED)
    assert said(spoken(client, [*told, user(ALARM)])) == answered(chat, ALARM)


@pytest.mark.parametrize(
    ("more", "sounds"),
    [
        ({"modalities": ["text"], "audio": {"voice": "alloy", "format": "wav"}}, False),
        ({"modalities": ["audio"]}, True),
        ({"audio": {"voice": "alloy", "format": "wav"}}, True),
    ],
)
def test_modalities_decide_whether_it_speaks(more: Any, sounds: bool, client: OpenAI):
    found = complete(client, [user(ALARM)], max_tokens=9, **more).choices[0].message
    assert (found.audio is not None, found.content is None) == (sounds, sounds)


def test_a_question_in_many_parts(client: OpenAI, engine: Engine):
    expected = answered(engine.chat(seed=SEED), "Well,", ALARM, "please")
    assert said(spoken(client, [user("Well,", ALARM, "please")])) == expected
    in_a_row = [{"role": "user", "content": "Well,"}, user(ALARM), user("please")]
    assert said(spoken(client, in_a_row)) == expected


# Many answers

BACK: dict[str, Callable[[ChatCompletionMessage], Any]] = {
    "whole": lambda message: message.model_dump(),
    "by its name": lambda message: {"role": "assistant", "audio": {"id": _audio(message).id}},
    "in words": lambda message: {"role": "assistant", "content": _audio(message).transcript},
}


def _audio(message: ChatCompletionMessage) -> Any:
    assert message.audio
    return message.audio


@pytest.fixture(scope="module")
def talked(engine: Engine) -> list[tuple[Path, Said]]:
    """The engine's own conversation."""
    chat = engine.chat(seed=SEED)
    return [(each, answered(chat, each, max_tokens=LIMIT)) for each in (ALARM, FAN, VOLUME)]


@pytest.mark.parametrize(
    ("back", "unloaded"), [*((each, False) for each in BACK), ("by its name", True)]
)
def test_a_conversation(
    back: str, unloaded: bool, client: OpenAI, daemon: Served, talked: list[tuple[Path, Said]]
):
    """However what was said is sent back, and even if the worker has forgotten it."""
    messages: list[Any] = []
    for question, answer in talked:
        messages.append(user(question))
        message = spoken(client, messages, max_tokens=LIMIT)
        assert said(message) == answer
        messages.append(BACK[back](message))
        if unloaded:
            daemon.unload()


def test_only_what_is_new_goes_through_the_model(
    client: OpenAI, daemon: Served, engine: Engine, talked: list[tuple[Path, Said]]
):
    """A conversation of which words are sent back goes on from the sound that was heard: its state
    was there. Where it is not, it is gone through again, which is another one."""
    words = talked[0][1][0]
    past = [Exchange((ALARM,), engine.tokenizer.encode(words))]
    again = answered(engine.chat(seed=SEED, history=past), FAN, max_tokens=LIMIT)

    def found(words: str) -> Said:
        messages = [user(ALARM), {"role": "assistant", "content": words}, user(FAN)]
        return said(spoken(client, messages, max_tokens=LIMIT))

    spoken(client, [user(ALARM)], max_tokens=LIMIT)
    assert found(words) == found(f" {words}\n") == talked[1][1] != again
    assert found(f"{words} sharp") != talked[1][1]
    daemon.unload()
    assert found(words) == again


def test_with_another_seed_it_is_another_conversation(client: OpenAI, engine: Engine):
    """So it is gone through again, with the very sound that was heard."""
    message = spoken(client, [user(ALARM)], max_tokens=12)
    messages = [user(ALARM), BACK["by its name"](message), user(FAN)]
    chat = engine.chat(seed=SEED)
    assert said(message) == answered(chat, ALARM, max_tokens=12)
    other = engine.chat(seed=1, history=chat.exchanges)
    found = said(spoken(client, messages, seed=1, max_tokens=12))
    assert found == answered(other, FAN, max_tokens=12) != answered(chat, FAN, max_tokens=12)


@pytest.mark.parametrize("unloaded", [False, True])
def test_a_conversation_in_words(unloaded: bool, client: OpenAI, daemon: Served, engine: Engine):
    """However the client puts its pieces together."""
    chat = engine.chat(mode="sequential", seed=SEED)
    first, second = answered(chat, ALARM)[0], answered(chat, FAN)[0]
    for sent in (first, f" {first}\n", [{"type": "text", "text": first}]):
        assert complete(client, [user(ALARM)]).choices[0].message.content == first
        if unloaded:
            daemon.unload()
        messages = [user(ALARM), {"role": "assistant", "content": sent}, user(FAN)]
        assert complete(client, messages).choices[0].message.content == second


def test_branches_do_not_know_each_other(client: OpenAI, engine: Engine):
    start = [user(ALARM)]
    message = spoken(client, start, max_tokens=LIMIT)
    start.append(BACK["whole"](message))
    found = [
        said(spoken(client, [*start, user(each)], max_tokens=16)) for each in (FAN, VOLUME, FAN)
    ]
    chat = engine.chat(seed=SEED)
    assert said(message) == answered(chat, ALARM, max_tokens=LIMIT)
    expected = [answered(chat.fork(), each, max_tokens=16) for each in (FAN, VOLUME)]
    assert found == [*expected, expected[0]]


def test_without_a_seed_an_answer_that_is_asked_for_again_is_another(client: OpenAI):
    message = spoken(client, [user(ALARM)], seed=None, max_tokens=12)
    messages = [user(ALARM), BACK["by its name"](message), user(FAN)]
    sounds = {said(spoken(client, messages, seed=None, max_tokens=12)) for _ in range(DRAWS)}
    assert len(sounds) > 1


@pytest.mark.parametrize("unloaded", [False, True])
def test_an_answer_without_words_can_be_sent_back(
    unloaded: bool, client: OpenAI, daemon: Served, silence: Path
):
    message = complete(client, [user(silence)]).choices[0].message
    assert message.content == ""
    if unloaded:
        daemon.unload()
    messages = [user(silence), message.model_dump(), user(ALARM)]
    assert complete(client, messages).choices[0].message.content is not None


# What is refused

BOT = {"role": "assistant", "content": "okay"}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    "messages",
    [
        [SYSTEM],
        [BOT],
        [BOT, user("a")],
        [user("a"), BOT],
        [user("a"), BOT, BOT, user("a")],
        [user("a"), SYSTEM, user("b")],
        [user("a"), BOT, SYSTEM, user("b")],
        [user("a"), {"role": "assistant", "audio": {"id": "audio_of_yesterday"}}, user("b")],
    ],
)
def test_an_order_that_means_nothing_is_refused(messages: list[Any], client: OpenAI):
    with pytest.raises(openai.BadRequestError, match="messages: ") as refused:
        complete(client, messages)
    assert (refused.value.param, refused.value.code) == ("messages", "invalid_request")


@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_what_is_no_sound_is_refused_by_its_place(
    more: dict[str, Any], client: OpenAI, daemon: Served
):
    messages = [{"role": "user", "content": [part(ALARM), part(b"Not a sound.")]}]
    with pytest.raises(openai.BadRequestError, match=r"input_audio 1: not a sound") as refused:
        complete(client, messages, **more)
    assert refused.value.code == "invalid_audio" and str(daemon.home) not in str(refused.value)
    assert not daemon.spooled


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "a"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"stop": "."}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"audio": {"voice": "alloy", "format": "aac"}}, "audio.format"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "boss", "content": "a"}]}, "messages.0"),
        ({"top_k": 4}, "top_k"),
    ],
)
def test_what_cannot_be_done_is_refused(more: Any, param: str, daemon: Served):
    reply = daemon.post(COMPLETIONS, {"messages": [user("a")], **more})
    assert (reply.status, reply.error["param"]) == (400, param)


def test_a_conversation_that_is_too_long_is_refused(client: OpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        complete(client, [user("lights off " * 40_000)])
    assert refused.value.code == "context_length_exceeded"
