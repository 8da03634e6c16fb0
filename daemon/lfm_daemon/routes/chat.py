"""`POST /v1/chat/completions`: words and recordings in, words and speech out, turn after turn."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lfm2audio_mlx.results import EndOfTurn, Sound, Words
from lfm_daemon.bodies import parsed
from lfm_daemon.encoding import Encoder
from lfm_daemon.faults import Fault
from lfm_daemon.job import Job
from lfm_daemon.schemas import (
    AssistantMessage,
    AudioPart,
    ChatRequest,
    Message,
    SystemMessage,
    TextPart,
    UserMessage,
    sound_of,
)
from lfm_daemon.service import Service, service_of, unless_gone
from lfm_daemon.streams import as_event, events_of, holding, streamed
from lfm_daemon.threads import Asked, Thread
from lfm_daemon.uploads import Spool, spooled
from lfm_daemon.values import decode
from lfm_daemon.wire import Frame

__all__ = ["ROUTES"]

AUDIO_SECONDS = 3600
"""For how long an answer's sound can be referred to, as OpenAI's clients are told."""


@dataclass
class Turn:
    """A question as it was understood, and what has come of its answer."""

    job: Job
    thread: Thread
    asked: Asked
    spoken: bool
    form: str
    model: str
    usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    audio: str = field(default_factory=lambda: f"audio_{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    text: str = ""
    answer: list[Any] = field(default_factory=list[Any])
    reason: str = "stop"

    @property
    def tokens(self) -> dict[str, Any]:
        """Words and frames of speech; what was asked is not counted."""
        count = len(self.answer)
        return {"prompt_tokens": 0, "completion_tokens": count, "total_tokens": count}

    def document(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        """A response, or a piece of one."""
        about = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**about, "choices": [{"index": 0, "logprobs": None, **choice}]}


async def completions(request: Request) -> Response:
    """The whole answer, or piece by piece with `stream`."""
    wanted = await parsed(request, ChatRequest)
    service = service_of(request)
    async with holding() as held:
        spool = held.enter_context(spooled())
        turn = _turn(request, service, wanted, spool)
        if not wanted.stream:
            return JSONResponse(await unless_gone(request, _whole(service, turn)))

        def content(frames: AsyncIterator[Frame]) -> AsyncIterator[bytes]:
            return events_of(_chunks(turn, _items(service, turn, frames)), "[DONE]")

        return await streamed(request, turn.job, content, "text/event-stream", held)


# The question


def _turn(request: Request, service: Service, wanted: ChatRequest, spool: Spool) -> Turn:
    """What is asked, and from where it goes on."""
    spoken = "audio" in wanted.modalities if wanted.modalities else wanted.audio is not None
    form = wanted.audio.format.removesuffix("16") if wanted.audio else "wav"
    system, asked = _conversation(wanted.messages)
    mode = "interleaved" if spoken else "sequential"
    options: dict[str, Any] = {"system": system, "mode": mode, "seed": wanted.seed}
    options["temperature"] = wanted.temperature
    model = service.model_of(wanted.model)
    thread = Thread({**options, "model": str(model.folder)}, asked[:-1])
    state, answered = service.threads.state(thread)
    sounds: list[dict[str, Any]] = []
    options |= {
        "after": state,
        "answered": answered,
        # For a worker that does not know that state any more.
        "history": [_exchange(service, each, sounds, spool) for each in thread.earlier],
        "parts": _laid_aside(asked[-1].parts, sounds, spool),
        "becomes": secrets.token_hex(12),
        "max_tokens": wanted.max_completion_tokens or wanted.max_tokens,
    }
    job = service.job(request, "chat", wanted.model, options, sounds, keep_alive=wanted.keep_alive)
    usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
    return Turn(job, thread, asked[-1], spoken, form, model.name, usage)


def _conversation(messages: Sequence[Message]) -> tuple[str | None, list[Asked]]:
    """The system prompt and all questions, the last of them without an answer.

    Raises:
        Fault: they are in an order that makes no conversation.
    """
    system: list[str] = []
    asked: list[Asked] = []
    said: list[TextPart | AudioPart] = []
    for message in messages:
        match message:
            case SystemMessage() if not said and not asked:
                system.append(_text(message.content))
            case UserMessage():
                said += _parts(message.content)
            case AssistantMessage() if said:
                text = _text(message.content or "").strip()
                audio = message.audio.id if message.audio else None
                asked.append(_asked(said, text, audio))
                said = []
            case _:
                what = f"messages: the {message.role} message is in a place where it means nothing"
                raise Fault(400, "invalid_request", what, "RequestError", parameter="messages")
    if not said:
        what = "messages: the last one must be the user's"
        raise Fault(400, "invalid_request", what, "RequestError", parameter="messages")
    return "\n".join(system) or None, [*asked, _asked(said)]


def _asked(
    said: list[TextPart | AudioPart], text: str | None = None, audio: str | None = None
) -> Asked:
    parts = [
        {"text": part.text} if isinstance(part, TextPart) else {"data": part.input_audio.data}
        for part in said
    ]
    return Asked(parts, hashlib.sha256(json.dumps(parts).encode()).hexdigest(), text, audio)


def _parts(content: str | list[Any]) -> list[TextPart | AudioPart]:
    return [TextPart(type="text", text=content)] if isinstance(content, str) else content


def _text(content: str | list[TextPart]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _laid_aside(
    parts: list[dict[str, Any]], sounds: list[dict[str, Any]], spool: Spool
) -> list[dict[str, Any]]:
    """Parts whose sounds are files."""
    result: list[dict[str, Any]] = []
    for part in parts:
        if "data" in part:
            name = f"input_audio {len(sounds)}"
            result.append({"sound": len(sounds)})
            sounds.append({"path": spool.keep(sound_of(part["data"])), "name": name})
        else:
            result.append(part)
    return result


def _exchange(
    service: Service, asked: Asked, sounds: list[dict[str, Any]], spool: Spool
) -> dict[str, Any]:
    """An earlier question, as it is gone through again if need be."""
    said = _laid_aside(asked.parts, sounds, spool)
    answer = service.threads.answer(asked.audio) if asked.audio else None
    if answer is not None:
        return {"said": said, "answer": answer}
    if asked.text or not asked.audio:
        return {"said": said, "text": asked.text or ""}
    what = f"messages: the sound {asked.audio} is not known any more; send its words as content"
    raise Fault(400, "invalid_request", what, "RequestError", parameter="messages")


# The answer


async def _items(
    service: Service, turn: Turn, frames: AsyncIterator[Frame]
) -> AsyncIterator[Words | Sound]:
    """What can be read and heard; the rest is written down in the turn."""
    async for frame in frames:
        turn.answer += frame.header.get("answer", [])
        match decode(frame):
            case Words() as words:
                turn.text += words.text
                yield words
            case Sound() as sound if turn.spoken:
                yield sound
            case EndOfTurn(reason):
                turn.reason = "stop" if reason == "end" else "length"
            case _:
                pass
    state = turn.job.options["becomes"]
    service.threads.remember(
        turn.thread, turn.asked, state, turn.answer, turn.text.strip(), turn.audio
    )


async def _whole(service: Service, turn: Turn) -> dict[str, Any]:
    encoder: Encoder | None = None
    sound = bytearray()
    async with aclosing(service.resident.events(turn.job)) as frames:
        async for item in _items(service, turn, frames):
            if isinstance(item, Sound):
                encoder = encoder or Encoder(turn.form, item.sample_rate)
                sound += encoder.push(item.samples)
    if encoder:
        sound += encoder.finish()
    message: dict[str, Any] = {"role": "assistant", "refusal": None, "content": turn.text.strip()}
    if turn.spoken and encoder:
        message |= {
            "content": None,
            "audio": {
                "id": turn.audio,
                "data": base64.b64encode(sound).decode(),
                "expires_at": turn.created + AUDIO_SECONDS,
                "transcript": turn.text.strip(),
            },
        }
    choice = {"message": message, "finish_reason": turn.reason}
    return {**turn.document("chat.completion", choice), "usage": turn.tokens}


async def _chunks(turn: Turn, items: AsyncIterator[Words | Sound]) -> AsyncIterator[bytes]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"delta": delta, "finish_reason": reason}
        return as_event(turn.document("chat.completion.chunk", choice))

    yield chunk({"role": "assistant", "content": ""})
    encoder: Encoder | None = None
    async for item in items:
        if isinstance(item, Sound):
            encoder = encoder or Encoder(turn.form, item.sample_rate)
            if piece := encoder.push(item.samples):
                yield chunk(_audio(turn, data=base64.b64encode(piece).decode()))
        elif item.text:
            spoken = turn.spoken
            yield chunk(_audio(turn, transcript=item.text) if spoken else {"content": item.text})
    if encoder and (piece := encoder.finish()):
        yield chunk(_audio(turn, data=base64.b64encode(piece).decode()))
    if turn.spoken:
        yield chunk(_audio(turn, expires_at=turn.created + AUDIO_SECONDS))
    yield chunk({}, turn.reason)
    if turn.usage:
        document = turn.document("chat.completion.chunk", {"delta": {}, "finish_reason": None})
        yield as_event({**document, "choices": [], "usage": turn.tokens})


def _audio(turn: Turn, **more: Any) -> dict[str, Any]:
    return {"audio": {"id": turn.audio, **more}}


ROUTES = [Route("/v1/chat/completions", completions, methods=["POST"])]
