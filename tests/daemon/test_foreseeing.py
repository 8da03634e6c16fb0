"""Before a turn is over: its answer is begun in the pause, and forgotten if that was wrong."""

import json
from typing import Any

import numpy as np
import pytest
from live_session import FRAME, Client
from live_sound import RATE, pcm, silence

from lfm_daemon.faults import Fault
from lfm_daemon.realtime.session import Begin, Foresee, Forget


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
