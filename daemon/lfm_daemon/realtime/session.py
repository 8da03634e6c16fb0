"""A live conversation: a client's events and the worker's frames in, events and wishes out.

It knows neither sockets nor time. What it gives is to be acted on in order, one thing at a time:
an event is sent, a wish fulfilled, and None is a moment in which others may go on.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from lfm_daemon.bodies import json_of
from lfm_daemon.faults import Fault, as_json
from lfm_daemon.realtime.conversation import (
    Answer,
    Asked,
    Conversation,
    Item,
    Note,
    Question,
    Sound,
    item_json,
    new_id,
)
from lfm_daemon.realtime.response import Event, Response, event
from lfm_daemon.realtime.schemas import (
    Append,
    Cancel,
    Clear,
    ClientEvent,
    Commit,
    Content,
    CreateItem,
    CreateResponse,
    DeleteItem,
    NewItem,
    ResponseParams,
    RetrieveItem,
    SessionConfig,
    Truncate,
    UpdateSession,
    client_event,
    updated,
)
from lfm_daemon.realtime.sound import Buffer, Heard, Started, Stopped, buffer, enough, pcm_of
from lfm_daemon.values import sample_bytes
from lfm_daemon.wire import Frame

__all__ = ["Begin", "Hear", "Out", "Session", "Stop", "Wake", "error"]


@dataclass(frozen=True)
class Begin:
    """The worker is to answer: a `chat` job."""

    options: dict[str, Any]
    sounds: list[dict[str, Any]]


@dataclass(frozen=True)
class Stop:
    """It is to end the answer; what came of it so far still comes."""


@dataclass(frozen=True)
class Hear:
    """Somebody wants to read what was said in an item."""

    item: str
    sound: Sound


@dataclass(frozen=True)
class Wake:
    """The model will be needed soon."""


Out: TypeAlias = Event | Begin | Stop | Hear | Wake | None


@dataclass(frozen=True)
class State:
    """Where the worker's memory stands."""

    name: str
    settings: dict[str, Any]
    asked: Asked


class Session:
    """One client. `keep` lays bytes aside in a file, and gives its path."""

    def __init__(self, model: str, keep: Callable[[bytes], str]):
        self._model, self._keep = model, keep
        self._id, self._conversation_id = new_id("sess"), new_id("conv")
        self._config = SessionConfig()
        self._conversation = Conversation()
        self._buffer: Buffer = buffer(self._config.audio.input, 0.0)
        self._coming: str | None = None
        """The item that is being spoken."""
        self._response: Response | None = None
        self._going_on: tuple[str, dict[str, Any], Asked] | None = None
        """What the answer under way is made of."""
        self._owed: ResponseParams | None = None
        """An answer to be given when the one before has ended."""
        self._state: State | None = None

    @property
    def stopping(self) -> bool:
        """An answer is to end, and has not yet."""
        return bool(self._response and self._response.unwanted)

    def begin(self) -> Iterator[Out]:
        """The first things."""
        yield event("session.created", session=self._as_json())
        yield Wake()

    # What the client says

    def receive(self, message: str | bytes) -> Iterator[Out]:
        """A message of the client's; nothing in it can be worse than an `error`."""
        own_id = None
        try:
            value = json_of(message)
            if isinstance(value, dict):
                own_id = value.get("event_id")  # pyright: ignore
            yield from self._take(client_event(value))
        except Fault as fault:
            yield error(fault, own_id)

    def _take(self, given: ClientEvent) -> Iterator[Out]:
        match given:
            case UpdateSession():
                yield from self._update(given)
            case Append():
                yield from self._append(pcm_of(given.audio))
            case Commit():
                heard, id = self._buffer.finish(), self._coming
                self._listen()
                yield from self._commit(heard, id)
            case Clear():
                self._listen()
                yield event("input_audio_buffer.cleared")
            case CreateItem():
                yield from self._create(given)
            case RetrieveItem():
                item = self._conversation.find(given.item_id, "item_retrieve_invalid_item_id")
                yield event("conversation.item.retrieved", item=item_json(item))
            case DeleteItem():
                item = self._conversation.find(given.item_id, "item_delete_invalid_item_id")
                self._conversation.items.remove(self._whole(item))
                yield event("conversation.item.deleted", item_id=item.id)
            case Truncate():
                yield self._truncate(given)
            case CreateResponse():
                yield from self._respond(given.response or ResponseParams())
            case Cancel():
                if not self._response or given.response_id not in (None, self._response.id):
                    what = "there is no such answer under way"
                    raise Fault(400, "response_cancel_not_active", what)
                yield from self._stop("client_cancelled")

    def _update(self, given: UpdateSession) -> Iterator[Out]:
        """What the buffer holds is lost if it is to listen in another way. Other instructions
        hold from the next answer on: the model then hears all that was said again, under them."""
        before, self._config = self._config, updated(self._config, given.session)
        old, new = before.audio.input, self._config.audio.input
        if (old.format, old.turn_detection) != (new.format, new.turn_detection):
            self._listen()
        yield event("session.updated", session=self._as_json())

    def _listen(self) -> None:
        """With an empty buffer."""
        self._buffer = buffer(self._config.audio.input, self._buffer.end)
        self._coming = None

    def _append(self, pcm: bytes) -> Iterator[Out]:
        for change in self._buffer.push(pcm):
            turns = self._config.audio.input.turn_detection
            match change:
                case Started(at):
                    self._coming = new_id("item")
                    when = {"audio_start_ms": round(1000 * at), "item_id": self._coming}
                    yield event("input_audio_buffer.speech_started", **when)
                    if turns and turns.interrupt_response:
                        self._owed = None  # there is more to be answered
                        yield from self._stop("turn_detected")
                    yield Wake()
                case Stopped(at, heard):
                    when = {"audio_end_ms": round(1000 * at), "item_id": self._coming}
                    yield event("input_audio_buffer.speech_stopped", **when)
                    id, self._coming = self._coming, None
                    yield from self._commit(heard, id, bool(turns and turns.create_response))
                case None:
                    yield None

    def _commit(self, heard: Heard, id: str | None, answer: bool = False) -> Iterator[Out]:
        """What was heard is a message now, and maybe to be answered."""
        self._conversation.room(heard.seconds)
        sound = Sound(self._keep(sample_bytes(heard.samples)), heard.rate, heard.seconds)
        item = Question([sound], id=id or new_id("item"))
        before = self._conversation.last
        added = list(self._add(item, before))
        told = {"previous_item_id": before, "item_id": item.id}
        yield event("input_audio_buffer.committed", **told)
        yield from added
        if answer:
            yield from self._reply()
        if self._config.audio.input.transcription:
            yield Hear(item.id, sound)

    def _create(self, given: CreateItem) -> Iterator[Out]:
        after = given.previous_item_id or self._conversation.last
        yield from self._add(self._item(given.item), None if after == "root" else after)

    def _add(self, item: Item, after: str | None) -> Iterator[Out]:
        self._conversation.add(item, after)
        for kind in ("conversation.item.added", "conversation.item.done"):
            yield event(kind, previous_item_id=after, item=item_json(item))

    def _item(self, given: NewItem) -> Item:
        """A message as the client writes it.

        Raises:
            Fault: its content does not fit its role.
        """
        id = given.id or new_id("item")
        if given.role == "user":
            return Question([self._said(part) for part in given.content], id=id)
        kind = "output_text" if given.role == "assistant" else "input_text"
        if any(part.type != kind or part.text is None for part in given.content):
            what = f"item.content: of the {given.role}, only {kind}"
            raise Fault(400, "invalid_value", what, parameter="item.content")
        text = "".join(part.text or "" for part in given.content)
        return Answer(text, id=id) if given.role == "assistant" else Note(text, id=id)

    def _said(self, part: Content) -> str | Sound:
        if part.type == "input_text" and part.text is not None:
            return part.text
        if part.type == "input_audio" and part.audio is not None:
            rate = self._config.audio.input.format.rate
            heard = enough(Heard.of(pcm_of(part.audio), rate))
            self._conversation.room(heard.seconds)
            return Sound(self._keep(sample_bytes(heard.samples)), rate, heard.seconds)
        what = "item.content: of the user, input_text with its text or input_audio with its audio"
        raise Fault(400, "invalid_value", what, parameter="item.content")

    def _whole(self, item: Item) -> Item:
        """An item that is not being made.

        Raises:
            Fault: it is.
        """
        if self._response and item is self._response.item:
            what = "item_id: this answer is still being given: cancel it first"
            raise Fault(400, "item_in_progress", what, parameter="item_id")
        return item

    def _truncate(self, given: Truncate) -> Event:
        item = self._whole(self._conversation.find(given.item_id, "item_truncate_invalid_item_id"))
        if not isinstance(item, Answer):
            what = "item_id: only the model's answers can be truncated"
            raise Fault(400, "invalid_value", what, parameter="item_id")
        item.truncate(given.audio_end_ms)
        where = given.model_dump(include={"item_id", "content_index", "audio_end_ms"})
        return event("conversation.item.truncated", **where)

    # Answers

    def _reply(self) -> Iterator[Out]:
        """Answer what was heard, as soon as that can be."""
        if self._response:
            self._owed = self._owed or ResponseParams()
        else:
            yield from self._respond(ResponseParams())

    def _respond(self, wanted: ResponseParams) -> Iterator[Out]:
        if self._response:
            if not self.stopping or self._owed:
                what = "an answer is under way: wait for its end, or cancel it"
                raise Fault(400, "conversation_already_has_active_response", what)
            self._owed = wanted
            return
        config, asked = self._config, self._conversation.asked()
        spoken = (wanted.output_modalities or config.output_modalities) == ["audio"]
        limit = wanted.max_output_tokens or config.max_output_tokens
        instructions = config.instructions if wanted.instructions is None else wanted.instructions
        temperature = config.temperature if wanted.temperature is None else wanted.temperature
        settings = {
            "system": "\n".join(text for text in (instructions, *asked.notes) if text) or None,
            "mode": "interleaved" if spoken else "sequential",
            "temperature": temperature,
        }
        becomes = secrets.token_hex(12)
        options: dict[str, Any] = {
            **settings,
            "parts": asked.parts,
            # For a worker that has no such state, or not any more.
            "history": asked.history,
            "becomes": becomes,
            "max_tokens": None if limit == "inf" else limit,
        }
        state = self._state
        if state and state.settings == settings and asked.follows(state.asked):
            options |= {"after": state.name, "answered": len(asked.history[-1]["answer"])}
        audio = wanted.audio and wanted.audio.output
        form = (audio and audio.format) or config.audio.output.format
        voice = config.audio.output.voice
        self._response = Response(
            self._conversation,
            spoken=spoken,
            rate=form.rate,
            max_tokens=limit,
            about={
                "conversation_id": self._conversation_id,
                "metadata": wanted.metadata,
                "audio": {"output": {"format": form.model_dump(), "voice": voice}},
            },
        )
        self._going_on = becomes, settings, asked
        yield self._response.created()
        yield Begin(options, asked.sounds)

    def _stop(self, reason: str) -> Iterator[Out]:
        if self._response and not self._response.unwanted:
            self._response.unwanted = reason
            yield Stop()

    def told(self, frame: Frame) -> Iterator[Out]:
        """A frame of the answer under way."""
        assert self._response
        yield from self._response.told(frame)

    def ended(self, fault: Fault | None = None) -> Iterator[Out]:
        """The answer under way is over, maybe for a fault."""
        assert self._response and self._going_on
        response, self._response = self._response, None
        (name, settings, asked), self._going_on = self._going_on, None
        yield from response.ended(fault)
        if response.begun and not fault:
            self._state = State(name, settings, asked.answered(response.item.tokens or []))
        owed, self._owed = self._owed, None
        if owed:
            try:
                yield from self._respond(owed)
            except Fault as why:
                yield error(why)

    # What else happens

    def transcribed(self, wish: Hear, text: str | Fault) -> Iterator[Out]:
        """What was said in an item, or why nobody knows."""
        kind, where = "conversation.item.input_audio_transcription", {"item_id": wish.item}
        if isinstance(text, Fault):
            why = as_json(text)["error"]
            yield event(f"{kind}.failed", **where, content_index=0, error=why)
            return
        for item in self._conversation.items:
            if isinstance(item, Question) and item.id == wish.item:
                item.transcript = text
        usage = {"type": "duration", "seconds": wish.sound.seconds}
        yield event(f"{kind}.completed", **where, content_index=0, transcript=text, usage=usage)

    def failed(self, fault: Fault) -> Iterator[Out]:
        """Something that nobody asked for in an event."""
        yield error(fault)

    def _as_json(self) -> dict[str, Any]:
        about = {"id": self._id, "object": "realtime.session", "model": self._model}
        return {**self._config.model_dump(), **about}


def error(fault: Fault, own_id: Any = None) -> Event:
    """An `error` event; `own_id` is what the client called the event that it is for."""
    known = own_id if isinstance(own_id, str) and len(own_id) <= 512 else None
    return event("error", error={**as_json(fault)["error"], "event_id": known})
