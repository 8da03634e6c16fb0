"""What OpenAI's clients send is taken, and what cannot be done is refused, never ignored."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.resources.chat.completions import Completions
from openai.types.chat import ChatCompletionAudio, ChatCompletionMessage
from pydantic import BaseModel

from lfm_daemon.bodies import checked, json_of
from lfm_daemon.faults import Fault
from lfm_daemon.schemas import (
    AssistantMessage,
    ChatRequest,
    LoadRequest,
    SpeechRequest,
    TranscriptionRequest,
    sound_of,
)

SCHEMAS = (LoadRequest, TranscriptionRequest, SpeechRequest, ChatRequest)
SOUND = base64.b64encode(b"RIFF...").decode()
QUESTION = {"role": "user", "content": "Hello"}
HEARD = {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}}


def chat(*messages: Any, **more: Any) -> ChatRequest:
    return checked(ChatRequest, {"messages": list(messages) or [QUESTION], **more})


def answered(**more: Any) -> AssistantMessage:
    """An answer as the client gives it to its user, sent back whole."""
    message = ChatCompletionMessage(role="assistant", **more)
    for sent in (message.model_dump(), message.model_dump(exclude_none=True)):
        found = chat(QUESTION, sent, QUESTION).messages[1]
    assert isinstance(found, AssistantMessage)
    return found


def test_an_answer_in_words_is_sent_back_as_it_came():
    assert answered(content="Hi!").content == "Hi!"
    assert answered(content="Hi!", tool_calls=[], annotations=[]).content == "Hi!"


def test_an_answer_in_sound_is_sent_back_as_it_came():
    """All but its name is left behind, also the sound."""
    audio = ChatCompletionAudio(id="audio_1", data=SOUND, expires_at=1, transcript="Hi!")
    found = answered(content=None, audio=audio)
    assert found.content is None and found.audio and found.audio.model_dump() == {"id": "audio_1"}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "Be brief."}, QUESTION],
        [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}, QUESTION],
        [{"role": "user", "content": [{"type": "text", "text": "Hello"}, HEARD], "name": "me"}],
        [QUESTION, {"role": "assistant", "audio": {"id": "audio_1"}}, QUESTION],
        [QUESTION, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}, QUESTION],
    ],
)
def test_messages(messages: list[Any]):
    assert len(chat(*messages).messages) == len(messages)


@pytest.mark.parametrize(
    "more",
    [
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        {"modalities": ["text"], "audio": {"voice": {"id": "a"}, "format": "pcm16"}},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"temperature": 0, "top_p": 1, "n": 1, "presence_penalty": 0, "frequency_penalty": 0.0},
        {"logprobs": False, "tools": [], "response_format": {"type": "text"}},
        {"max_tokens": 1, "max_completion_tokens": 32_768, "seed": 2**64 - 1},
        {"store": False, "metadata": {"a": "b"}, "user": "me", "service_tier": "auto"},
        dict.fromkeys(("n", "logprobs", "tools", "seed", "temperature", "stream", "audio")),
        {"keep_alive": "5m"},
        {"keep_alive": -1},
        {"keep_alive": 1.5},
    ],
)
def test_options_of_a_chat(more: dict[str, Any]):
    found = chat(**more)
    for name, value in more.items():
        kept = getattr(found, name)
        if isinstance(kept, BaseModel):
            kept = kept.model_dump(exclude_unset=True)
        assert kept == value


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "a"}}]},
        {"n": 2},
        {"n": 0},
        {"n": True},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"stop": ["a"]},
        {"functions": []},
        {"response_format": {"type": "json_object"}},
        {"presence_penalty": 0.5},
        {"frequency_penalty": -0.1},
        {"logit_bias": {"50256": -100}},
        {"temperature": 2.1},
        {"temperature": "1"},
        {"temperature": float("nan")},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"seed": -1},
        {"seed": 2**64},
        {"stream": "true"},
        {"modalities": ["text", "video"]},
        {"audio": {"format": "aac"}},
        {"keep_alive": float("inf")},
        {"unheard_of": 1},
    ],
)
def test_what_would_change_an_answer_and_cannot_is_refused(more: dict[str, Any]):
    with pytest.raises(Fault) as refused:
        chat(**more)
    assert (refused.value.parameter or "").startswith(next(iter(more)))


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": ""}],
        [{"role": "user", "content": []}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}],
        [{"role": "user", "content": [{**HEARD, "text": "a"}]}],
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "?"}}]}],
        [{"role": "user", "content": "a", "audio": {"id": "a"}}],
        [{"role": "system", "content": [HEARD]}],
        [{"role": "tool", "content": "a", "tool_call_id": "1"}],
        [{"role": "function", "name": "a", "content": "a"}],
        [{"content": "a"}],
        [QUESTION, {"role": "assistant", "tool_calls": [{"id": "1"}]}],
        [QUESTION, {"role": "assistant", "refusal": "No."}],
        [QUESTION, {"role": "assistant", "audio": {"data": "a"}}],
        ["Hello"],
        [None],
    ],
)
def test_messages_that_mean_nothing_here_are_refused(messages: list[Any]):
    with pytest.raises(Fault, match=r"^messages\.\d"):
        chat(*messages)


def test_no_messages_are_refused():
    for messages in ([], {}, "Hello", None):
        with pytest.raises(Fault, match=r"^messages: "):
            checked(ChatRequest, {"messages": messages})


@pytest.mark.parametrize(
    "more",
    [
        {"model": "tts-1", "voice": "alloy"},
        {"voice": {"id": "us-male"}, "response_format": "opus", "stream_format": "sse"},
        {"speed": 1, "instructions": "Softly.", "seed": 0, "raw": True},
        {"keep_alive": 0},
        {"seed": 2**64 - 1},
    ],
)
def test_options_of_speech(more: dict[str, Any]):
    found = checked(SpeechRequest, {"input": "Hello", **more}).model_dump()
    assert {name: found[name] for name in more} == more


@pytest.mark.parametrize(
    "more",
    [
        {"input": ""},
        {"input": None},
        {"input": "a" * 1_000_001},
        {"speed": 1.5},
        {"response_format": "aac"},
        {"voice": 3},
        {"voice": {}},
        {"voice": {"name": "a"}},
        {"seed": -1},
        {"seed": 2**64},
        {"volume": 1},
    ],
)
def test_speech_that_cannot_be_made_is_refused(more: dict[str, Any]):
    with pytest.raises(Fault, match=f"^{next(iter(more))}"):
        checked(SpeechRequest, {"input": "Hello", **more})


def test_a_form_s_fields_come_as_text():
    fields = {"stream": "true", "temperature": "0.2", "keep_alive": "5m", "model": "whisper-1"}
    found = checked(TranscriptionRequest, {**fields, "timestamp_granularities": ["segment"]})
    assert (found.stream, found.temperature, found.keep_alive) == (True, 0.2, "5m")
    passed_over = {"language": "en", "prompt": "a", "chunking_strategy": "auto"}
    assert checked(TranscriptionRequest, passed_over).response_format == "json"


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": "diarized_json"},
        {"timestamp_granularities": ["word"]},
        {"temperature": "2"},
        {"temperature": "nan"},
        {"stream": "maybe"},
        {"include": ["logprobs"]},
        {"modle": "a"},
    ],
)
def test_a_transcript_that_cannot_be_made_is_refused(fields: dict[str, Any]):
    with pytest.raises(Fault, match=f"^{next(iter(fields))}"):
        checked(TranscriptionRequest, fields)


def test_sound_is_base64():
    assert sound_of(SOUND) == b"RIFF..."
    for data in ("?", "abc", "Y Q==", "YQ==\n", "ü", f"data:audio/wav;base64,{SOUND}"):
        with pytest.raises(ValueError):
            sound_of(data)


def test_all_that_the_client_offers_is_taken_or_refused_by_name():
    """So that a new version of it is noticed: each of its options has been thought of."""
    source = Completions.create.__annotations__
    offered = set(source) - {"return", *(n for n in source if n.startswith("extra_")), "timeout"}
    unknown = offered - ChatRequest.model_fields.keys()
    for name in unknown:
        with pytest.raises(Fault, match=rf"^{re.escape(name)}: Extra inputs"):
            chat(**{name: 1})
    assert {"messages", "model", "modalities", "audio", "stream", "seed"} <= offered - unknown


scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    st.text(max_size=5) | st.sampled_from(["user", "assistant", "system", "text", "wav", SOUND]),
)
names = st.text(max_size=5) | st.sampled_from(
    [
        *sorted({name for schema in SCHEMAS for name in schema.model_fields}),
        *("role", "content", "type", "text", "data", "format", "id", "input_audio", "name"),
    ]
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "developer"]) | anything},
    optional={"content": anything, "audio": anything, "name": anything},
)
bodies = anything | st.fixed_dictionaries({"messages": st.lists(messages, max_size=3)})


@given(bodies, st.sampled_from(SCHEMAS))
@settings(max_examples=300)
def test_anything_is_taken_or_a_fault(value: Any, schema: type[ChatRequest]):
    try:
        checked(schema, json_of(json.dumps(value)))
    except Fault as fault:
        assert fault.status == 400


@pytest.mark.parametrize("depth", [900, *range(960, 1010)])
def test_what_is_nested_deeply_is_a_fault_too(depth: int):
    nested = "[" * depth + "]" * depth
    for body in (f'{{"messages": [{{"role": {nested}}}]}}', f'{{"tools": {nested}}}'):
        with pytest.raises(Fault):
            checked(ChatRequest, json_of(body))
