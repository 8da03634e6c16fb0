"""A session of live voice: its settings, its bounds, and what is nonsense to it."""

import json
import sys
from typing import Any

import pytest
from live_session import Client
from live_sound import pcm, silence

from lfm_daemon.realtime import sound as sounds
from lfm_daemon.realtime.session import Wake

# Settings


def test_a_session_begins_with_all_it_could_be_told_and_wakes_the_model():
    client = Client()
    (created,) = client.heard
    session = created["session"]
    assert session["type"] == "realtime" and session["model"] == "nano"
    assert session["output_modalities"] == ["audio"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert client.wishes == [Wake()]


def test_an_update_changes_what_it_names_and_nothing_else():
    client = Client(instructions="Be kind.", temperature=0.5)
    turns = {"type": "server_vad", "threshold": 0.7}
    session = {"type": "realtime", "audio": {"input": {"turn_detection": turns}}}
    (updated,) = client.say("session.update", session=session)
    found = updated["session"]
    assert found["instructions"] == "Be kind." and found["temperature"] == 0.5
    assert found["audio"]["input"]["turn_detection"]["threshold"] == 0.7
    assert found["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    session = {"instructions": None, "audio": {"input": {"turn_detection": None}}}
    (updated,) = client.say("session.update", session=session)
    assert updated["session"]["instructions"] == ""
    assert updated["session"]["audio"]["input"]["turn_detection"] is None


def test_what_other_models_have_is_passed_over():
    noise = {"noise_reduction": {"type": "near_field"}}
    client = Client(
        tracing="auto",
        model="gpt-realtime",
        tool_choice="auto",
        tools=[],
        include=["item.input_audio_transcription.logprobs"],
        truncation={"type": "retention_ratio", "retention_ratio": 0.5},
        audio={"input": noise, "output": {"voice": "marin", "speed": 1}},
    )
    (updated,) = client.heard
    assert updated["session"]["model"] == "nano"
    assert updated["session"]["audio"]["input"]["noise_reduction"] is None
    assert updated["session"]["audio"]["output"]["voice"] == "default"


@pytest.mark.parametrize(
    ("session", "parameter"),
    [
        ({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "audio.input.format.type"),
        ({"audio": {"input": {"format": {"rate": 8000}}}}, "audio.input.format.rate"),
        ({"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, "type"),
        ({"audio": {"output": {"speed": 1.5}}}, "audio.output.speed"),
        ({"tools": [{"type": "function", "name": "f"}]}, "tools"),
        ({"type": "transcription"}, "type"),
        ({"output_modalities": ["text", "audio"]}, "output_modalities"),
        ({"max_output_tokens": 5000}, "max_output_tokens"),
        ({"max_output_tokens": "all"}, "max_output_tokens"),
        ({"instructions": 5}, "instructions"),
        ({"voices": "many"}, "voices"),
    ],
)
def test_what_cannot_be_served_is_refused_and_changes_nothing(
    session: dict[str, Any], parameter: str
):
    client = Client()
    both = {"instructions": "x", **session}
    (fault,) = client.say("session.update", session=both, event_id="mine")
    assert fault["type"] == "error"
    assert fault["error"]["param"].startswith("session.")
    assert fault["error"]["param"].endswith(parameter)
    assert fault["error"]["event_id"] == "mine"
    (updated,) = client.say("session.update", session={})
    assert updated["session"]["instructions"] == ""


# Bounds and nonsense


def test_sound_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sounds, "BUFFER_SECONDS", 2)
    client = Client(audio={"input": {"turn_detection": None}})
    second = pcm(silence(1))
    for full in (False, False, True):
        client.say("input_audio_buffer.append", audio=second)
        assert client.faults == ["input_audio_buffer_full"] * full
    client.say("input_audio_buffer.commit")
    assert client.kinds[0] == "input_audio_buffer.committed"


def test_a_conversation_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lfm_daemon.realtime.conversation.SECONDS", 2.5)
    monkeypatch.setattr("lfm_daemon.realtime.conversation.CHARACTERS", 10)
    monkeypatch.setattr("lfm_daemon.realtime.conversation.ITEMS", 3)
    client = Client(audio={"input": {"turn_detection": None}})
    for full in (False, False, True):
        client.say("input_audio_buffer.append", audio=pcm(silence(1)))
        client.say("input_audio_buffer.commit")
        assert client.faults == ["conversation_full"] * full
    for text, full in (("12345678901", True), ("1234567890", False), ("", True)):
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        client.say("conversation.item.create", item=item)
        assert client.faults == ["conversation_full"] * full


@pytest.mark.parametrize(
    ("message", "code", "parameter"),
    [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ('{"type": NaN}', "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ("7", "invalid_value", "type"),
        ('{"type": ["response.create"]}', "invalid_value", "type"),
        ('{"type": "output_audio_buffer.clear"}', "invalid_value", "type"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "AAA"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "AA=="}', "invalid_value", "audio"),
        ('{"type": "response.create", "reply": 1}', "unknown_parameter", "reply"),
        ('{"type": "session.update"}', "missing_required_parameter", "session"),
        ('{"type": "session.update", "session": 5}', "invalid_value", "session"),
        ('{"type": "conversation.item.create", "item": {}}', "missing_required_parameter", None),
        ('{"type": "response.create", "response": {"input": []}}', "invalid_value", None),
        (
            '{"type": "response.create", "response": {"conversation": "none"}}',
            "invalid_value",
            None,
        ),
        ('{"type": "response.cancel", "event_id": 5}', "invalid_value", "event_id"),
    ],
)
def test_nonsense_is_told_and_not_repeated(message: str, code: str, parameter: str | None):
    client = Client()
    (fault,) = client.send(message)
    assert fault["type"] == "error" and fault["error"]["code"] == code
    assert parameter is None or fault["error"]["param"] == parameter
    assert fault["error"]["type"] == "invalid_request_error"
    client.ask("hello")
    client.answered("Hi")


def test_a_fault_does_not_repeat_what_was_said():
    client = Client()
    secret = "the-secret-word"
    for event in (
        {"type": secret},
        {"type": "input_audio_buffer.append", "audio": secret + "!"},
        {"type": "session.update", "session": {"instructions": [secret]}},
        {"type": "response.create", "response": {"output_modalities": [secret]}},
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "user", "content": [{"type": secret}]},
        },
    ):
        client.send(json.dumps(event))
        assert client.faults and secret not in json.dumps(client.heard)


def test_none_of_it_loads_mlx():
    import subprocess

    code = "import sys, lfm_daemon.routes.realtime; assert 'mlx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
