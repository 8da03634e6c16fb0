"""Strict JSON, and faults that name a place but never quote what was sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm_daemon.bodies import checked, json_of
from lfm_daemon.faults import Fault, as_json
from lfm_daemon.schemas import ChatRequest, LoadRequest, SpeechRequest, Strict, TranscriptionRequest

SECRET = "hunter2"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_json_is_what_it_is(value: Any):
    text = json.dumps(value, ensure_ascii=False)
    assert json_of(text) == value
    assert json_of(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"{}{}", "Extra data"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": Infinity}', "Infinity is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', ""),
        (b'{"a": 1, "a": 2}', "a key is there twice"),
        (b'{"b": [{"a": 1, "a": 1}]}', "a key is there twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"9" * 5000, "Exceeds the limit"),
        (rb'{"a": "\ud800"}', "surrogates not allowed"),
        (rb'{"\udfff": 1}', "surrogates not allowed"),
        (b'{"a": "\xff"}', "invalid start byte"),
        ('{"a": 1}'.encode("utf-16"), ""),
        (b'{"a": "\n"}', "Invalid control character"),
        (b"{'a': 1}", "Expecting property name"),
        (b'{"a": 1,}', "Expecting property name"),
    ],
)
def test_what_is_no_json_is_refused(data: bytes, message: str):
    with pytest.raises(Fault, match=rf"^the body is no JSON: .*{message}") as refused:
        json_of(data)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_anything_is_json_or_a_fault(data: bytes | str):
    try:
        json_of(data)
    except Fault as fault:
        assert fault.status == 400


def refusal(schema: type[Strict] | type[TranscriptionRequest], value: Any) -> Fault:
    with pytest.raises(Fault) as refused:
        checked(schema, value)
    fault = refused.value
    assert (fault.status, fault.code, fault.kind) == (400, "invalid_request", "RequestError")
    return fault


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([], "the body"),
        (None, "the body"),
        ("a", "the body"),
        ({"model": 3}, "model"),
        ({"modle": "a"}, "modle"),
        ({"keep_alive": []}, "keep_alive.str"),
    ],
)
def test_a_fault_names_the_place(value: Any, place: str):
    fault = refusal(LoadRequest, value)
    assert fault.parameter == place and fault.message.startswith(f"{place}: ")
    assert as_json(fault)["error"]["param"] == place


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (LoadRequest, SECRET),
        (LoadRequest, {"model": [SECRET]}),
        (SpeechRequest, {"input": [SECRET]}),
        (SpeechRequest, {"input": SECRET, "speed": SECRET}),
        (SpeechRequest, {"input": SECRET, "response_format": SECRET}),
        (SpeechRequest, {"input": SECRET, "raw": SECRET}),
        (TranscriptionRequest, {"temperature": SECRET}),
        (TranscriptionRequest, {"stream": SECRET}),
        (TranscriptionRequest, {"timestamp_granularities": [SECRET]}),
        (ChatRequest, {"messages": SECRET}),
        (ChatRequest, {"messages": [SECRET]}),
        (ChatRequest, {"messages": [{"role": SECRET}]}),
        (ChatRequest, user(3) | {"metadata": {"a": [SECRET]}}),
        (ChatRequest, user([SECRET])),
        (ChatRequest, user([{"type": SECRET}])),
        (ChatRequest, user([{"type": "text", "text": [SECRET]}])),
        (ChatRequest, user([{"type": "input_audio", "input_audio": {"data": SECRET}}])),
        (ChatRequest, user("a") | {"tools": [SECRET]}),
        (ChatRequest, user("a") | {"seed": SECRET}),
        (ChatRequest, user("a") | {"modalities": [SECRET]}),
    ],
)
def test_a_fault_never_quotes_what_was_sent(schema: type[Strict], value: Any):
    assert SECRET not in refusal(schema, value).message


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([{"type": "text", "text": 3}], "0.text.text"),
        ([{"type": "text", "text": "a"}, {"type": "image_url"}], ".1"),
        ([{"type": "input_audio", "input_audio": {"data": "!"}}], "0.input_audio.input_audio.data"),
    ],
)
def test_a_place_deep_inside_is_named(content: Any, place: str):
    """And not only that a list is no text, where both may be."""
    found = refusal(ChatRequest, user(content)).parameter or ""
    assert found.startswith("messages.0") and found.endswith(place)


def test_what_was_checked_is_the_schema_s():
    wanted = checked(LoadRequest, {"model": "nano", "keep_alive": "5m"})
    assert wanted == LoadRequest(model="nano", keep_alive="5m")
