"""Live voice for real: a daemon at a port and a socket, OpenAI's own client, a tiny model."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
import soxr
from openai import OpenAI
from openai.resources.realtime.realtime import RealtimeConnection
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

from lfm2audio_mlx.results import EndOfTurn, Sound, Words
from lfm_daemon.faults import Fault
from lfm_daemon.routes import realtime
from lfm_daemon.values import encode
from lfm_daemon.wire import Frame

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
TOKEN = "a-token-of-the-tests"
RATE = 24_000
SERVER = """
import sys
from lfm_daemon.server import Settings, serve
serve(Settings(keep_alive=300, model="nano", port=int(sys.argv[1]), token=sys.argv[2]))
"""


# OpenAI's client opens its socket in a way that the library has given up meanwhile.
pytestmark = pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")


@pytest.fixture(autouse=True)
def no_worker_stays() -> None:
    """The daemon of this module keeps its worker from test to test (see conftest.py)."""


@dataclass
class Daemon:
    home: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, method: str = "GET") -> bytes:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.read()

    @property
    def state(self) -> str:
        return json.loads(self.get("/health"))["state"]

    def ended(self, outcome: str) -> float:
        """How many chats have ended so."""
        name = f'lfm_jobs_total{{job="chat",outcome="{outcome}"}} '
        lines = self.get("/metrics").decode().splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    def raw(self) -> ClientConnection:
        path = str(self.home / "run" / "lfm.sock")
        return unix_connect(path, uri="ws://localhost/v1/realtime", max_size=None)


def eventually(happens: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    home = tmp_path_factory.mktemp("live")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Daemon(home, port)
    output = home / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port), TOKEN],
            env={**os.environ, "LFM_HOME": str(home)},
            stdout=file,
            stderr=file,
        )
    try:

        def answers() -> bool:
            assert process.poll() is None, output.read_text()
            with contextlib.suppress(OSError):
                return found.state == "absent"
            return False

        eventually(answers)
        yield found
        eventually(lambda: not list((home / "run" / "spool").iterdir()))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    log = output.read_text()
    assert "Traceback" not in log and "never retrieved" not in log and "pending" not in log
    errors = [line for line in log.splitlines() if " ERROR " in line]
    assert all("was ended by SIGKILL" in line for line in errors), errors
    assert "alarm" not in log and "thirty" not in log


def recording(name: str) -> np.ndarray:
    samples, rate = soundfile.read(RECORDINGS / name, dtype="float32")
    return soxr.resample(samples, rate, RATE)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def pcm(samples: np.ndarray) -> str:
    return base64.b64encode((samples * 32767).astype("<i2").tobytes()).decode()


ALARM = recording("seen_00.wav")
TIMER = recording("seen_04.wav")
THERMOSTAT = recording("seen_16.flac")
"""Its answer is the longest: 3 s."""


class Live:
    """OpenAI's client, and what it has heard."""

    def __init__(self, connection: RealtimeConnection):
        self.connection = connection
        self.heard: list[Any] = []

    def until(self, kind: str) -> Any:
        """All events up to one of this kind."""
        while True:
            data = self.connection._connection.recv(timeout=20)
            event: Any = self.connection.parse_event(data)
            self.heard.append(event)
            if event.type == kind:
                return event
            assert event.type != "error", event

    def speak(self, samples: np.ndarray, pause: float = 1.0) -> None:
        """Say something, in blocks of 100 ms as a microphone has them, and be silent."""
        talk = np.concatenate([samples, silence(pause)])
        for at in range(0, len(talk), RATE // 10):
            self.connection.input_audio_buffer.append(audio=pcm(talk[at : at + RATE // 10]))

    def of(self, kind: str) -> list[Any]:
        found = [event for event in self.heard if event.type == kind]
        return found

    @property
    def sound(self) -> np.ndarray:
        deltas = [base64.b64decode(event.delta) for event in self.of("response.output_audio.delta")]
        return np.frombuffer(b"".join(deltas), "<i2") / 32768

    @property
    def words(self) -> str:
        return "".join(event.delta for event in self.of("response.output_audio_transcript.delta"))

    def answer(self) -> Any:
        """The next answer; only what is of it has been heard then."""
        self.until("response.created")
        self.heard.clear()
        return self.until("response.done").response


@pytest.fixture
def client(daemon: Daemon) -> OpenAI:
    return OpenAI(base_url=f"{daemon.url}/v1", api_key=TOKEN)


@pytest.fixture
def live(client: OpenAI) -> Iterator[Live]:
    with client.realtime.connect(model="gpt-realtime") as connection:
        found = Live(connection)
        assert found.until("session.created").session.model == "nano"
        yield found


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


# At the socket itself


def test_the_model_is_loaded_before_anybody_speaks(daemon: Daemon):
    daemon.get("/api/unload", "POST")
    assert daemon.state == "absent"
    with daemon.raw() as connection:
        assert told(connection)["type"] == "session.created"
        eventually(lambda: daemon.state == "ready")


def told(connection: ClientConnection) -> dict[str, Any]:
    return json.loads(connection.recv(timeout=20))


@pytest.mark.parametrize(
    "message", ["", "hello", "{", "[]", b"\x00\xff", json.dumps({"type": "session.upset"})]
)
def test_nonsense_is_an_error_and_no_end(daemon: Daemon, message: str | bytes):
    with daemon.raw() as connection:
        assert told(connection)["type"] == "session.created"
        connection.send(message)
        assert told(connection)["type"] == "error"
        connection.send(json.dumps({"type": "session.update", "session": {}}))
        assert told(connection)["type"] == "session.updated"


def test_a_message_may_not_be_huge(daemon: Daemon):
    """It is refused as soon as it is announced: a masked frame of text, and its length. Of one that
    is sent whole the connection may be reset before the reason is read."""
    with daemon.raw() as connection:
        assert told(connection)["type"] == "session.created"
        connection.socket.sendall(b"\x81\xff" + struct.pack("!Q", 17 << 20) + bytes(4))
        with pytest.raises(ConnectionClosed) as closed:
            told(connection)
        assert closed.value.rcvd and closed.value.rcvd.code == 1009


def test_many_minutes_in_one_message_hold_up_nobody_else(daemon: Daemon):
    with daemon.raw() as connection:
        assert told(connection)["type"] == "session.created"
        audio = pcm(np.tile(np.concatenate([silence(2), ALARM]), 20))
        connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        assert told(connection)["type"] == "input_audio_buffer.speech_started"
        slowest = 0.0
        for _ in range(20):
            begun = time.monotonic()
            daemon.get("/health")
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 0.5


def test_a_model_that_is_not_there_is_no_session(client: OpenAI):
    with client.realtime.connect(model="no-such-model") as connection:
        event = connection.recv()
        assert event.type == "error" and event.error.code == "model_not_found"
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()
    assert closed.value.rcvd and closed.value.rcvd.code == 1008


def test_nobody_comes_in_without_the_token(daemon: Daemon):
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://127.0.0.1:{daemon.port}/v1/realtime"),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_browsers_get_the_subprotocol_that_they_ask_for(daemon: Daemon):
    with connect(
        f"ws://127.0.0.1:{daemon.port}/v1/realtime",
        subprotocols=["realtime", "openai-beta.realtime-v1"],  # type: ignore
        additional_headers={"Authorization": f"Bearer {TOKEN}"},
    ) as connection:
        assert connection.subprotocol == "realtime"


# Without a client that reads


class Deaf:
    """A socket whose client says much and takes nothing after the first event."""

    url = SimpleNamespace(path="/v1/realtime")

    def __init__(self, *messages: dict[str, Any]):
        self.messages = list(messages)
        self.taken: list[str] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if not self.messages:
            return await asyncio.Future()
        return {"type": "websocket.receive", "text": json.dumps(self.messages.pop(0))}

    async def send_text(self, text: str) -> None:
        self.taken.append(json.loads(text)["type"])
        if len(self.taken) > 1:
            await asyncio.Future()


class Endless:
    """A resident model that answers without end, and says how often it was asked for more."""

    def __init__(self) -> None:
        self.given = 0
        self.cancelled = self.closed = False

    async def load(self, job: Any) -> None:
        await asyncio.Future()

    def cancel(self, id: int) -> None:
        self.cancelled = True

    async def events(self, job: Any) -> AsyncIterator[Frame]:
        try:
            while not self.cancelled:
                self.given += 1
                await asyncio.sleep(0)
                yield encode(Sound(np.zeros(1920, np.float32), RATE))
            yield Frame({"event": "cancelled"})
        finally:
            self.closed = True


def served(deaf: Deaf, resident: Endless) -> None:
    """Such a client, until the daemon has enough of it."""

    async def serve() -> set[Any]:
        service: Any = SimpleNamespace(resident=resident, job=lambda *_: SimpleNamespace(id=1))
        session = realtime.Session("nano", lambda _: "")
        async with asyncio.timeout(10):
            await realtime.Connection(deaf, service, None, session).serve()  # type: ignore
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(serve()) == set()


ASKED = [
    {
        "type": "conversation.item.create",
        "item": {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "hello"}],
        },
    },
    {"type": "response.create"},
]


def test_a_client_that_takes_nothing_is_gone_some_day(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(realtime, "STALLED_SECONDS", 0.3)

    deaf, resident = Deaf(*ASKED), Endless()
    served(deaf, resident)
    assert deaf.taken == ["session.created", "conversation.item.added"]
    assert resident.closed


def test_an_answer_waits_for_a_client_that_does_not_read_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(realtime, "STALLED_SECONDS", 0.3)
    monkeypatch.setattr(realtime, "ANSWER_AHEAD", 50_000)
    resident = Endless()
    served(Deaf(*ASKED), resident)
    assert 5 < resident.given < 20


class Busy(Endless):
    """A resident model that has no room at first, and then gives a short answer."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    async def events(self, job: Any) -> AsyncIterator[Frame]:
        if not self.refused:
            self.refused += 1
            raise Fault(503, "queue_full", "no room")
        yield encode(Words("hello", 7))
        yield encode(EndOfTurn("end"))


class Talkative(Deaf):
    """One that takes all, and leaves after an answer."""

    async def send_text(self, text: str) -> None:
        self.taken.append(json.loads(text)["type"])
        if self.taken[-1] == "response.done":
            raise WebSocketDisconnect(1000)


def test_an_answer_that_could_not_be_begun_early_is_begun_when_it_must():
    voice = ALARM[int(0.3 * RATE) : int(1.7 * RATE)]
    talk = [voice, silence(0.4), silence(0.6)]
    talkative = Talkative(
        *({"type": "input_audio_buffer.append", "audio": pcm(part)} for part in talk)
    )
    resident = Busy()
    served(talkative, resident)
    assert resident.refused == 1
    assert talkative.taken[-1] == "response.done"
    assert "response.output_audio_transcript.delta" in talkative.taken


def test_a_client_that_does_not_read_is_listened_to_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(realtime, "STALLED_SECONDS", 0.5)
    clear = {"type": "input_audio_buffer.clear"}
    deaf, resident = Deaf(*ASKED, *[clear] * 100, {"type": "response.cancel"}, clear), Endless()
    served(deaf, resident)
    assert resident.cancelled and not deaf.messages


def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(realtime, "STALLED_SECONDS", 0.3)
    monkeypatch.setattr(realtime, "AHEAD", 20_000)
    deaf = Deaf(*[{"type": "input_audio_buffer.clear"}] * 1000)
    served(deaf, Endless())
    assert 700 < len(deaf.messages) < 990
