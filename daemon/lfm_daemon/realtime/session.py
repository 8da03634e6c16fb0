"""A live conversation: a client's events and the worker's frames in, events and wishes out.

It knows neither sockets nor time. What it gives is to be acted on in order, one thing at a time:
an event is sent, a wish fulfilled, and None is a moment in which others may go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeAlias

from lfm_daemon.bodies import json_of
from lfm_daemon.faults import Fault, as_json
from lfm_daemon.realtime.asking import (
    FORESEEN_SECONDS,
    Begin,
    Foresee,
    Foreseen,
    Forget,
    Hear,
    Plan,
    State,
    Stop,
    Wake,
)
from lfm_daemon.realtime.conversation import (
    Answer,
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
from lfm_daemon.realtime.sound import (
    Buffer,
    Heard,
    Paused,
    Resumed,
    Started,
    Stopped,
    buffer,
    enough,
    pcm_of,
)
from lfm_daemon.values import sample_bytes
from lfm_daemon.wire import Frame

__all__ = ["Begin", "Foresee", "Forget", "Hear", "Out", "Session", "Stop", "Wake", "error"]

Out: TypeAlias = Event | Begin | Foresee | Forget | Stop | Hear | Wake | None


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
        self._foreseen: Foreseen | None = None
        self._going_on: tuple[str, Plan] | None = None
        """What the answer under way is made of, and what the worker's state becomes with it."""
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
                yield from self._listen()
                yield from self._commit(heard, id)
            case Clear():
                yield from self._listen()
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
            yield from self._listen()
        yield event("session.updated", session=self._as_json())

    def _listen(self) -> Iterator[Out]:
        """With an empty buffer."""
        self._buffer = buffer(self._config.audio.input, self._buffer.end)
        self._coming = None
        yield from self._forget()

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
                case Paused(heard):
                    if turns and turns.create_response:
                        yield from self._foresee(heard)
                case Resumed():
                    yield from self._forget()
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
        sound = self._kept(heard)
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
            return self._kept(heard)
        what = "item.content: of the user, input_text with its text or input_audio with its audio"
        raise Fault(400, "invalid_value", what, parameter="item.content")

    def _kept(self, heard: Heard) -> Sound:
        """A sound in a file; the one that was foreseen is in one already."""
        if self._foreseen and self._foreseen.heard is heard:
            self._foreseen.asked = True
            return self._foreseen.sound
        return Sound(self._keep(sample_bytes(heard.samples)), heard.rate, heard.seconds)

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
        plan = Plan.of(asked, wanted, config, self._state)
        audio = wanted.audio and wanted.audio.output
        form = (audio and audio.format) or config.audio.output.format
        voice = config.audio.output.voice
        self._response = Response(
            self._conversation,
            spoken=plan.settings["mode"] == "interleaved",
            rate=form.rate,
            max_tokens=wanted.max_output_tokens or config.max_output_tokens,
            about={
                "conversation_id": self._conversation_id,
                "metadata": wanted.metadata,
                "audio": {"output": {"format": form.model_dump(), "voice": voice}},
            },
        )
        yield self._response.created()
        if self._foreseen and self._foreseen.plan == plan:
            begin, self._foreseen = self._foreseen.begin, None
        else:
            yield from self._forget()
            begin = plan.begin()
        self._going_on = begin.options["becomes"], plan
        yield begin

    def _foresee(self, heard: Heard) -> Iterator[Out]:
        """Somebody may have said all. What is asked then can be answered before it is certain."""
        yield from self._forget()
        if self._response or heard.seconds > FORESEEN_SECONDS:
            return
        with suppress(Fault):  # which is told if the turn ends here
            sound = self._kept(heard)
            asked = self._conversation.asked(Question([sound]))
            plan = Plan.of(asked, ResponseParams(), self._config, self._state)
            self._foreseen = Foreseen(heard, sound, plan, plan.begin())
            yield Foresee(self._foreseen.begin)

    def _forget(self) -> Iterator[Out]:
        """What was foreseen did not come."""
        foreseen, self._foreseen = self._foreseen, None
        if foreseen:
            yield Forget(None if foreseen.asked else foreseen.sound.path)

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
        (name, plan), self._going_on = self._going_on, None
        yield from response.ended(fault)
        if response.begun and not fault:
            answered = plan.asked.answered(response.item.tokens or [])
            self._state = State(name, plan.settings, answered)
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
