"""Live voice for real: a daemon at a port and a socket, OpenAI's own client, a tiny model."""

import contextlib
import json
import socket

import live_daemon
import numpy as np
import psutil
import pytest
from live_daemon import ALARM, THERMOSTAT, TIMER, Daemon, Live, eventually
from live_sound import RATE, pcm, silence
from openai import OpenAI
from websockets.exceptions import ConnectionClosed

client, daemon, live = live_daemon.client, live_daemon.daemon, live_daemon.live
no_worker_stays = live_daemon.no_worker_stays

# OpenAI's client opens its socket in a way that the library has given up meanwhile.
pytestmark = pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")


def test_a_spoken_question_is_answered_in_words_and_sound(live: Live):
    live.speak(ALARM)
    live.until("response.created")
    assert [event.type for event in live.heard[1:]] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    done = live.until("response.done").response
    assert done.status == "completed"
    assert live.words == "alarm set for five thirty"
    assert done.output[0].content[0].transcript == live.words
    assert 1.5 < len(live.sound) / RATE < 3.0
    assert np.abs(live.sound).max() > 0.1
    assert done.usage.output_token_details.audio_tokens >= len(live.sound) / 1920
    kinds = [event.type for event in live.heard]
    first_word = kinds.index("response.output_audio_transcript.delta")
    assert first_word < kinds.index("response.output_audio.delta") < kinds.index("response.done")


def test_a_conversation_has_many_turns(live: Live):
    for question in (TIMER, THERMOSTAT, ALARM):
        live.speak(question)
        assert live.answer().status == "completed"
        assert live.words.strip() and live.sound.any()


def test_speech_in_the_midst_of_an_answer_interrupts_it(live: Live):
    live.speak(THERMOSTAT)
    live.until("response.output_audio.delta")
    live.connection.input_audio_buffer.append(audio=pcm(TIMER[:RATE]))
    live.until("input_audio_buffer.speech_started")
    live.heard.clear()
    done = live.until("response.done").response
    assert (done.status, done.status_details.reason) == ("cancelled", "turn_detected")
    assert not live.of("response.output_audio.delta")
    assert done.output[0].status == "incomplete"
    live.speak(TIMER[RATE:])
    assert live.answer().status == "completed"
    assert live.words.strip() and live.sound.any()


def test_who_goes_on_after_a_pause_gets_one_answer_to_all_of_it(live: Live, daemon: Daemon):
    """The pause is long enough that an answer is begun, and too short to end a turn."""
    before = daemon.ended("cancelled")
    voice = ALARM[int(0.3 * RATE) : int(1.7 * RATE)]
    live.speak(np.concatenate([voice, silence(0.4), TIMER]))
    live.until("response.created")
    kinds = [event.type for event in live.heard]
    assert kinds.count("input_audio_buffer.speech_stopped") == 1
    done = live.until("response.done").response
    assert done.status == "completed" and live.words.strip()
    assert daemon.ended("cancelled") == before + 1, "the answer to the first half"
    spool = daemon.home / "run" / "spool"
    eventually(lambda: len(list(spool.iterdir())) == 1)
    live.speak(TIMER)
    assert live.answer().status == "completed"


def test_an_answer_is_cancelled(live: Live, daemon: Daemon):
    before = daemon.ended("cancelled")
    live.speak(THERMOSTAT)
    live.until("response.output_audio.delta")
    live.connection.response.cancel()
    done = live.until("response.done").response
    assert (done.status, done.status_details.reason) == ("cancelled", "client_cancelled")
    assert daemon.ended("cancelled") == before + 1
    live.connection.response.create()
    event = live.connection.recv()
    assert event.type == "error" and event.error.code == "nothing_to_answer"
    live.speak(ALARM)
    assert live.answer().status == "completed"
    assert live.words.strip()


def test_a_conversation_goes_on_from_what_was_heard_of_an_answer(live: Live):
    live.speak(THERMOSTAT)
    item = live.answer().output[0]
    live.connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=800)
    assert live.until("conversation.item.truncated").audio_end_ms == 800
    live.connection.conversation.item.retrieve(item_id=item.id)
    assert not live.until("conversation.item.retrieved").item.content[0].transcript
    live.speak(ALARM)
    assert live.answer().status == "completed"
    assert live.words.strip()


def test_the_client_may_say_itself_when_a_turn_is_over(live: Live):
    audio = {"input": {"turn_detection": None}}
    live.connection.session.update(session={"type": "realtime", "audio": audio})  # type: ignore
    updated = live.until("session.updated").session
    assert updated.audio.input.turn_detection is None
    live.speak(ALARM, pause=0.2)
    live.connection.input_audio_buffer.commit()
    live.until("conversation.item.done")
    assert not live.of("input_audio_buffer.speech_started")
    live.connection.response.create()
    assert live.answer().status == "completed"
    assert live.words == "alarm set for five thirty"


def test_a_sound_in_a_message_is_answered_in_words(live: Live):
    item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_audio", "audio": pcm(ALARM)}],
    }
    live.connection.conversation.item.create(item=item)  # type: ignore
    live.connection.response.create(response={"output_modalities": ["text"]})
    done = live.answer()
    assert done.output[0].content[0].text == "alarm set for five thirty"
    text = "".join(event.delta for event in live.of("response.output_text.delta"))
    assert text == "alarm set for five thirty" and not live.sound.size


def test_what_was_said_can_be_read(live: Live):
    audio = {"input": {"transcription": {"model": "whisper-1"}}}
    live.connection.session.update(session={"type": "realtime", "audio": audio})  # type: ignore
    live.speak(ALARM)
    heard = live.until("conversation.item.input_audio_transcription.completed")
    assert heard.transcript == "alarm set for five thirty"
    assert heard.item_id == live.of("input_audio_buffer.committed")[0].item_id
    assert live.of("response.done"), "the answer goes first"


def test_an_answer_has_a_limit(live: Live):
    live.connection.session.update(session={"type": "realtime", "max_output_tokens": 10})
    live.speak(ALARM)
    done = live.answer()
    assert (done.status, done.status_details.reason) == ("incomplete", "max_output_tokens")
    assert done.usage.output_tokens == 10


def test_a_worker_that_dies_fails_one_answer_and_nothing_is_forgotten(live: Live, daemon: Daemon):
    live.speak(ALARM)
    assert live.answer().status == "completed"
    live.speak(THERMOSTAT)
    live.until("response.output_audio.delta")
    psutil.Process(json.loads(daemon.get("/api/ps"))["models"][0]["pid"]).kill()
    done = live.until("response.done").response
    assert done.status == "failed"
    assert done.status_details.error.code == "worker_died"
    live.speak(TIMER)
    assert live.answer().status == "completed"
    assert live.words.strip()


def test_a_client_that_vanishes_leaves_no_work_behind(daemon: Daemon, client: OpenAI):
    before = daemon.ended("cancelled")
    connection = client.realtime.connect(model="nano").enter()
    live = Live(connection)
    live.speak(THERMOSTAT)
    live.until("response.output_audio.delta")
    connection._connection.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: daemon.ended("cancelled") == before + 1, seconds=5)
    eventually(lambda: daemon.state == "ready", seconds=5)
    eventually(lambda: not list((daemon.home / "run" / "spool").iterdir()), seconds=5)
    with contextlib.suppress(ConnectionClosed):
        connection.close()
