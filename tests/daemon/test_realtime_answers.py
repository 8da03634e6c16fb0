"""Answers of live voice: their events in OpenAI's order, their settings, how they end."""

import base64

import numpy as np
import pytest
from live_session import FRAME, FRAMES, Client

from lfm_daemon.faults import Fault
from lfm_daemon.realtime.session import Stop


def test_an_answer_in_words_and_sound_comes_in_openais_order():
    client = Client()
    client.ask("hello")
    client.say("response.create")
    assert client.kinds == ["response.created"]
    client.told("Hel", "lo", FRAME)
    assert client.kinds == [
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
    ]
    assert len(base64.b64decode(client.heard[-1]["delta"])) == 2 * 1920
    done = client.end()
    assert client.kinds == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    assert client.heard[1]["transcript"] == "Hello"
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hello"}]
    assert done["usage"]["output_token_details"] == {"text_tokens": 2, "audio_tokens": 1}


def test_an_answer_in_words_has_no_sound():
    client = Client(output_modalities=["text"])
    client.ask("hello")
    client.say("response.create")
    assert client.wishes[-1].options["mode"] == "sequential"
    client.told("Hi", FRAME)
    assert client.kinds[3:] == ["response.output_text.delta"]
    done = client.end()
    assert client.kinds[:2] == ["response.output_text.done", "response.content_part.done"]
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "Hi"}]


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("end", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("context", "incomplete", "max_output_tokens"),
        ("cancelled", "cancelled", "client_cancelled"),
    ],
)
def test_how_an_answer_ended(reason: str, status: str, why: str | None):
    client = Client()
    client.ask("hello")
    client.say("response.create")
    client.told("Hi")
    done = client.end(reason)
    assert done["status"] == done["status_details"]["type"] == status
    assert done["status_details"].get("reason") == why
    item = "completed" if status == "completed" else "incomplete"
    assert done["output"][0]["status"] == item


def test_a_fault_of_the_worker_is_an_answer_that_failed():
    client = Client()
    client.ask("hello")
    client.say("response.create")
    done = client.end(fault=Fault(503, "worker_died", "it died"))
    assert client.kinds == ["response.done"]
    assert done["status"] == "failed" and done["output"] == []
    assert done["status_details"]["error"]["code"] == "worker_died"
    client.answered("Hi")


def test_sound_has_the_rate_that_was_asked_for():
    client = Client(audio={"output": {"format": {"type": "audio/pcm", "rate": 16000}}})
    client.ask("hello")
    client.say("response.create")
    client.told(*[FRAME] * 10)
    heard = list(client.heard)
    client.end()
    deltas = [e["delta"] for e in heard + client.heard if e["type"].endswith("audio.delta")]
    samples = np.frombuffer(b"".join(map(base64.b64decode, deltas)), "<i2")
    assert len(samples) == 10 * 1280
    assert abs(samples[1000:-1000] / 32767 - 0.5).max() < 0.01


def test_an_answer_has_the_settings_of_its_own():
    client = Client(instructions="Be kind.", max_output_tokens=50)
    client.ask("hello")
    asked = client.answered("Hi").options
    assert (asked["system"], asked["mode"], asked["max_tokens"]) == ("Be kind.", "interleaved", 50)
    client.ask("again")
    wanted = {"instructions": "Be brief.", "output_modalities": ["text"], "metadata": {"a": "b"}}
    asked = client.answered("Hi", **wanted, max_output_tokens="inf").options
    assert (asked["system"], asked["mode"], asked["max_tokens"]) == (
        "Be brief.",
        "sequential",
        None,
    )
    assert client.heard[-1]["response"]["metadata"] == {"a": "b"}


def test_there_is_one_answer_at_a_time():
    client = Client()
    client.say("response.create")
    assert client.faults == ["nothing_to_answer"]
    client.ask("hello")
    client.say("response.create")
    client.say("response.create", event_id="two")
    assert client.faults == ["conversation_already_has_active_response"]
    assert client.heard[0]["error"]["event_id"] == "two"
    client.told("Hi")
    assert client.end()["status"] == "completed"


def test_an_answer_is_cancelled_and_its_sound_ends_at_once():
    client = Client()
    client.say("response.cancel")
    assert client.faults == ["response_cancel_not_active"]
    client.ask("hello")
    client.say("response.create")
    client.told("Hi", FRAMES[0])
    client.say("response.cancel", response_id="resp_of_another")
    assert client.faults == ["response_cancel_not_active"]
    client.say("response.cancel")
    client.say("response.cancel")
    assert client.wishes[-1] == Stop() and client.wishes.count(Stop()) == 1
    assert client.stopping
    assert [e["delta"] for e in client.told(FRAMES[1], " all")] == [" all"]
    done = client.end("cancelled")
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
    assert done["output"][0]["content"][0]["transcript"] == "Hi all"
    assert not client.stopping


def test_an_answer_that_is_wanted_while_another_ends_is_given_next():
    client = Client()
    client.ask("hello")
    client.say("response.create")
    client.told("Hi")
    client.say("response.cancel")
    client.ask("no, this")
    client.say("response.create", response={"metadata": {"n": "2"}})
    assert client.heard == []
    client.end("cancelled")
    assert client.kinds[-2:] == ["response.done", "response.created"]
    assert client.heard[-1]["response"]["metadata"] == {"n": "2"}
    asked = client.wishes[-1].options
    assert asked["parts"] == [{"text": "no, this"}]
    assert asked["history"] == [{"said": [{"text": "hello"}], "answer": [7]}]


def test_an_answer_begins_though_its_question_was_deleted():
    client = Client()
    client.ask("one")
    question = client.heard[0]["item"]["id"]
    client.say("response.create")
    client.say("conversation.item.delete", item_id=question)
    assert client.told("Hi")[1]["previous_item_id"] is None
    assert client.end()["status"] == "completed"


def test_an_answer_may_not_be_wanted_any_more_when_its_time_comes():
    client = Client()
    client.ask("hello")
    question = client.heard[0]["item"]["id"]
    client.say("response.create")
    client.say("response.cancel")
    client.say("response.create")
    client.say("conversation.item.delete", item_id=question)
    client.end("cancelled")
    assert client.faults == ["nothing_to_answer"]
    client.ask("hello")
    client.answered("Hi")
