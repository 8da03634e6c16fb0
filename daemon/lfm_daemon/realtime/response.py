"""One answer of the model as events: made of the worker's frames, in the order that OpenAI has."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, TypeAlias

from lfm2audio_mlx.results import EndOfTurn, Sound, Words
from lfm_daemon.faults import Fault, as_json
from lfm_daemon.realtime.conversation import Answer, Conversation, item_json, new_id
from lfm_daemon.realtime.sound import Pcm16
from lfm_daemon.values import decode
from lfm_daemon.wire import Frame

__all__ = ["Event", "Response", "event"]

Event: TypeAlias = dict[str, Any]


def event(kind: str, **fields: Any) -> Event:
    """An event for the client."""
    return {"type": kind, "event_id": new_id("event"), **fields}


class Response:
    """An answer that is being given; its item is part of the conversation once it has begun."""

    def __init__(
        self,
        conversation: Conversation,
        *,
        spoken: bool,
        rate: int,
        max_tokens: int | str,
        about: dict[str, Any],
    ):
        self.id = new_id("resp")
        self.item = Answer(spoken=spoken, tokens=[], status="in_progress")
        self.begun = False
        self.unwanted: str | None = None
        """Why it is to end before its end."""
        self._conversation, self._spoken, self._rate = conversation, spoken, rate
        self._max_tokens, self._about = max_tokens, about
        self._after = conversation.last
        self._previous: str | None = None
        self._pcm = Pcm16(rate)
        self._bytes = 0
        self._end: str | None = None

    def created(self) -> Event:
        return event("response.created", response=self._as_json("in_progress"))

    def told(self, frame: Frame) -> Iterator[Event]:
        """What the worker says of it."""
        item = decode(frame)
        if isinstance(item, Words | Sound) and not self.begun:
            yield from self._begin()
        assert self.item.tokens is not None
        self.item.tokens += frame.header.get("answer", [])
        match item:
            case Words(text) if text:
                self.item.text += text
                kind = "output_audio_transcript" if self._spoken else "output_text"
                yield self._part(f"response.{kind}.delta", delta=text)
            case Sound() if self._spoken:
                yield from self._audio(self._pcm.push(item.samples, item.sample_rate))
            case EndOfTurn(reason):
                self._end = reason
            case None if frame.header["event"] == "cancelled":
                self.unwanted = self.unwanted or "client_cancelled"
            case _:
                pass

    def ended(self, fault: Fault | None) -> Iterator[Event]:
        """Nothing more will be told, be it for a fault."""
        status = self._status(fault)
        if self.begun:
            if self._spoken:
                yield from self._audio(self._pcm.finish())
                yield self._part("response.output_audio.done")
                transcript = self.item.text
                yield self._part("response.output_audio_transcript.done", transcript=transcript)
            else:
                yield self._part("response.output_text.done", text=self.item.text)
            yield self._part("response.content_part.done", part=self._content())
            self.item.status = "completed" if status == "completed" else "incomplete"
            yield self._whole("response.output_item.done")
            yield self._listed("conversation.item.done")
        details: dict[str, Any] = {"type": status}
        if status in ("cancelled", "incomplete"):
            details["reason"] = self.unwanted or "max_output_tokens"
        if fault and status == "failed":
            told = as_json(fault)["error"]
            details["error"] = {name: told[name] for name in ("type", "code", "message")}
        yield event("response.done", response=self._as_json(status, details))

    def _status(self, fault: Fault | None) -> str:
        if self.unwanted:
            return "cancelled"
        if fault or not self._end:
            return "failed"
        return "completed" if self._end == "end" else "incomplete"

    def _begin(self) -> Iterator[Event]:
        self.begun = True
        known = {item.id for item in self._conversation.items}
        after = self._after if self._after in known else self._conversation.last
        self._previous = self._conversation.add(self.item, after)
        start: dict[str, Any] = {**item_json(self.item), "content": []}
        yield self._whole("response.output_item.added", start)
        yield self._listed("conversation.item.added", start)
        yield self._part("response.content_part.added", part=self._content())

    def _audio(self, pcm: bytes) -> Iterator[Event]:
        """Nobody wants to hear what was made while the wish to end it was on its way."""
        if pcm and not self.unwanted:
            self._bytes += len(pcm)
            self.item.milliseconds = self._bytes * 500 // self._rate
            delta = base64.b64encode(pcm).decode()
            yield self._part("response.output_audio.delta", delta=delta)

    def _content(self) -> dict[str, Any]:
        if self._spoken:
            return {"type": "audio", "transcript": self.item.text}
        return {"type": "text", "text": self.item.text}

    def _part(self, kind: str, **fields: Any) -> Event:
        where = {"response_id": self.id, "item_id": self.item.id}
        return event(kind, **where, output_index=0, content_index=0, **fields)

    def _whole(self, kind: str, item: dict[str, Any] | None = None) -> Event:
        item = item or item_json(self.item)
        return event(kind, response_id=self.id, output_index=0, item=item)

    def _listed(self, kind: str, item: dict[str, Any] | None = None) -> Event:
        return event(kind, previous_item_id=self._previous, item=item or item_json(self.item))

    def _as_json(self, status: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
        over = status != "in_progress"
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [item_json(self.item)] if over and self.begun else [],
            "output_modalities": ["audio" if self._spoken else "text"],
            "max_output_tokens": self._max_tokens,
            "usage": self._usage() if over else None,
            **self._about,
        }

    def _usage(self) -> dict[str, Any]:
        """Words and frames of speech; what was asked is not counted."""
        tokens = self.item.tokens or []
        words = sum(isinstance(token, int) for token in tokens)
        return {
            "total_tokens": len(tokens),
            "input_tokens": 0,
            "output_tokens": len(tokens),
            "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": words, "audio_tokens": len(tokens) - words},
        }
