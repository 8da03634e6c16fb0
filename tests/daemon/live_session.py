"""A session of live voice without its socket, and a worker that says what it is told to say."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
from live_sound import RATE
from openai.types.realtime.realtime_server_event import RealtimeServerEvent

from lfm2audio_mlx.results import EndOfTurn, Sound, Words
from lfm_daemon.faults import Fault
from lfm_daemon.realtime.session import Begin, Foresee, Forget, Session
from lfm_daemon.values import encode
from lfm_daemon.wire import Frame

KINDS = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(get_args(RealtimeServerEvent)[0])
}
"""OpenAI's own types of what a server says, by name."""


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
