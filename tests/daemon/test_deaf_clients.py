"""Live voice with a client that does not read, and a model that answers without end."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from live_daemon import ALARM
from live_sound import RATE, pcm, silence
from starlette.websockets import WebSocketDisconnect

from lfm2audio_mlx.results import EndOfTurn, Sound, Words
from lfm_daemon.faults import Fault
from lfm_daemon.routes import realtime
from lfm_daemon.values import encode
from lfm_daemon.wire import Frame


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
