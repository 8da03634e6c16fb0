"""Who speaks in live voice: when a turn begins and ends, by voice or by the client's word."""

import numpy as np
import pytest
import soxr
from live_session import FRAME, Client
from live_sound import RATE, pcm, silence

from lfm_daemon.faults import Fault
from lfm_daemon.realtime.session import Begin, Hear, Stop, Wake


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
