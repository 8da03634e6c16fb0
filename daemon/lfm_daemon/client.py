"""The daemon's client: a backend for `lfm` that speaks through the private socket.

Its values are the engine's own (`lfm2audio_mlx.results`). Leaving a stream early ends the job.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import secrets
import socket
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lfm2audio_mlx.errors import AudioError, DaemonError, LfmError, named
from lfm2audio_mlx.results import EndOfTurn, Exchange, Part, Progress, Sound, Span, Words
from lfm_daemon.instance import connected
from lfm_daemon.values import (
    answer_from_json,
    decode,
    exchange_as_json,
    parts_as_json,
    sample_bytes,
)
from lfm_daemon.wire import CONTENT_TYPE, Frame, WireError, read

if TYPE_CHECKING:
    import numpy as np

    from lfm2audio_mlx.audio.files import AudioSource

__all__ = ["Conversation", "Daemon", "ask"]

log = logging.getLogger("lfm2audio_mlx.daemon")

PIECE = 1 << 18
ANSWER_SECONDS = 30.0
"""For an answer that takes no computing."""
CANCEL_SECONDS = 2.0


class Connection(http.client.HTTPConnection):
    """HTTP through the daemon's socket. Without a `timeout` it waits as long as it takes."""

    def __init__(self, timeout: float | None = None):
        super().__init__("localhost", timeout=timeout)

    def connect(self) -> None:
        self.sock: socket.socket = connected(timeout=ANSWER_SECONDS)
        self.sock.settimeout(self.timeout)


def ask(
    method: str, path: str, value: Mapping[str, Any] | None = None, timeout: float = ANSWER_SECONDS
) -> Any:
    """One answer of the daemon, decoded.

    Raises:
        DaemonError: none runs, or it does not answer.
        LfmError: what the daemon says is wrong.
    """
    with closing(Connection(timeout)) as connection:
        try:
            connection.request(method, path, None if value is None else json.dumps(value))
            return json.loads(_checked(connection.getresponse()).read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DaemonError(f"the daemon gives no answer: {error}") from error


class Daemon:
    """One model, resident in the daemon; see `lfm2audio_mlx.engine.Engine` for what it does."""

    def __init__(self, folder: Path, name: str):
        """Have the daemon load a model, if it is not there already.

        Raises:
            DaemonError: no daemon runs, or it cannot serve.
            LfmError: the model cannot be used.
        """
        self.name, self._folder = name, folder
        wanted = {"model": str(folder)}
        self.sample_rate: int = ask("POST", "/api/load", wanted, 600.0)["sample_rate"]

    def spans(
        self, audio: AudioSource, *, prompt: str | None = None, after: float = 0.0
    ) -> Iterator[Span | Progress]:
        options = {"prompt": prompt, "after": after}
        items = (decode(frame) for frame in self._events("spans", options, [audio]))
        return (item for item in items if isinstance(item, Span | Progress))

    def hear(self, audio: AudioSource, *, prompt: str | None = None) -> Span:
        frames = self._events("hear", {"prompt": prompt}, [audio])
        (span,) = (item for item in map(decode, frames) if isinstance(item, Span))
        return span

    def say(
        self, text: str, *, voice: str | None = None, raw: bool = False, seed: int | None = None
    ) -> Iterator[Sound]:
        options = {"text": text, "voice": voice, "raw": raw, "seed": seed}
        items = (decode(frame) for frame in self._events("say", options))
        return (item for item in items if isinstance(item, Sound))

    def classify(
        self, audio: AudioSource, labels: Sequence[str], *, question: str | None = None
    ) -> Mapping[str, float]:
        options = {"labels": list(labels), "question": question}
        frames = self._events("classify", options, [audio])
        (shares,) = (f.header["shares"] for f in frames if f.header["event"] == "shares")
        return shares

    def chat(
        self,
        *,
        system: str | None = None,
        mode: Literal["interleaved", "sequential"] = "interleaved",
        history: Sequence[Exchange] = (),
        seed: int | None = None,
    ) -> Conversation:
        return Conversation(self._events, {"system": system, "mode": mode, "seed": seed}, history)

    def _events(
        self, job: str, options: Mapping[str, Any], sounds: Sequence[AudioSource] = ()
    ) -> Generator[Frame]:
        """The events of a job, the first of which tells its number.

        Raises:
            LfmError: see the engine's methods.
            DaemonError: the daemon gave the job up, or ended.
        """
        packed = [Packed(sound) for sound in sounds]
        header = {
            "job": job,
            "model": str(self._folder),
            "options": {name: value for name, value in options.items() if value is not None},
            "sounds": [each.header for each in packed],
        }
        with closing(Connection()) as connection:
            try:
                response = self._sent(connection, Frame(header), packed)
                yield from _told(response)
            except (OSError, http.client.HTTPException, WireError) as error:
                raise DaemonError("the daemon ended in the middle of the work") from error

    def _sent(
        self, connection: Connection, head: Frame, sounds: Sequence[Packed]
    ) -> http.client.HTTPResponse:
        first = head.encode()
        length = len(first) + sum(sound.size for sound in sounds)

        def pieces() -> Iterator[bytes]:
            yield first
            for sound in sounds:
                yield from sound.pieces()

        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(length)}
        # What is refused early is answered before all of it was sent.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", "/api/jobs", pieces(), headers)
        return _checked(connection.getresponse())


class Conversation:
    """A chat that goes on in the daemon. All of it is known here too: a daemon that has forgotten
    it is told again."""

    def __init__(self, events: Any, settings: Mapping[str, Any], history: Sequence[Exchange]):
        self._events, self._settings = events, settings
        self._said: list[tuple[tuple[Part, ...], list[Any]]] = []
        self._said += [(exchange.said, list(exchange.answer)) for exchange in history]
        self._state: str | None = None
        """What the daemon calls the conversation as it stands."""
        self._reply: Generator[Words | Sound | EndOfTurn] | None = None

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All questions and answers, one that is still being given as far as it has come."""
        return tuple(Exchange(said, answer_from_json(answer)) for said, answer in self._said)

    def fork(self) -> Conversation:
        """The same conversation, from here on its own; both go on from what the daemon knows."""
        other = Conversation(self._events, self._settings, ())
        other._said = [(said, list(answer)) for said, answer in self._said]
        other._state = self._state
        return other

    def reply(self, *parts: Part, max_tokens: int = 1024) -> Generator[Words | Sound | EndOfTurn]:
        """Say something and stream the answer; see `lfm2audio_mlx.conversation.Chat`."""
        if self._reply:
            self._reply.close()
        self._reply = self._turn(parts, max_tokens)
        return self._reply

    def _turn(
        self, parts: tuple[Part, ...], max_tokens: int
    ) -> Generator[Words | Sound | EndOfTurn]:
        becomes = secrets.token_hex(12)
        answer: list[Any] = []
        said = False
        # Only a turn that comes to its end, or is ended, is one that can be gone on from.
        state, self._state = self._state, None
        for after in (state, None):
            events: Generator[Frame] = self._events(*self._asked(parts, max_tokens, becomes, after))
            number, missing = 0, False
            try:
                for frame in events:
                    event = frame.header["event"]
                    number = frame.header.get("number", number)
                    missing = missing or event == "unknown"
                    if event in ("job", "unknown", "cancelled"):
                        continue
                    if not said:
                        self._said.append((parts, answer))
                        said = True
                    answer += frame.header.get("answer", [])
                    item = decode(frame)
                    if isinstance(item, Words | Sound | EndOfTurn):
                        yield item
            except (GeneratorExit, KeyboardInterrupt):
                if said:
                    self._finish(number, events, answer, becomes)
                raise
            if not missing:
                break
        self._state = becomes

    def _asked(
        self, parts: tuple[Part, ...], max_tokens: int, becomes: str, after: str | None
    ) -> tuple[str, dict[str, Any], list[Any]]:
        """A job: the question alone `after` what the daemon knows, or all that was said."""
        sounds: list[Any] = []
        options = {"parts": parts_as_json(parts, sounds), "becomes": becomes}
        options |= {"max_tokens": max_tokens, **self._settings}
        if after:
            options |= {"after": after, "answered": len(self._said[-1][1])}
        else:
            earlier = self.exchanges
            options["history"] = [exchange_as_json(each, sounds) for each in earlier]
        return "chat", options, sounds

    def _finish(
        self, number: int, events: Iterator[Frame], answer: list[Any], becomes: str
    ) -> None:
        """The answer is not wanted any further; what came of it is what both sides remember."""
        with suppress(LfmError):
            ask("POST", f"/api/jobs/{number}/cancel", timeout=CANCEL_SECONDS)
            for frame in events:
                answer += frame.header.get("answer", [])
            self._state = becomes


class Packed:
    """A sound as it is sent: a file as it is, anything else as samples or bytes."""

    def __init__(self, source: AudioSource):
        self._source: Path | bytes
        if isinstance(source, tuple):
            samples, rate = source
            self._source = sample_bytes(_mono(samples))
            self.header: dict[str, Any] = {"rate": rate, "size": len(self._source)}
        elif isinstance(source, bytes):
            self._source = source
            self.header = {"name": "audio", "size": len(source)}
        else:
            path = Path(source)
            # A pipe can be read only once, and nobody knows its length.
            try:
                self._source = path if path.is_file() else path.read_bytes()
                size = (
                    len(self._source) if isinstance(self._source, bytes) else os.stat(path).st_size
                )
            except OSError as error:
                raise AudioError(f"{path}: cannot be read: {error.strerror}") from error
            self.header = {"name": str(path), "size": size}

    @property
    def size(self) -> int:
        return self.header["size"]

    def pieces(self) -> Iterator[bytes]:
        if isinstance(self._source, bytes):
            yield self._source
            return
        left = self.size
        try:
            with self._source.open("rb") as file:
                while left and (piece := file.read(min(PIECE, left))):
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise AudioError(f"{self._source}: cannot be read: {error.strerror}") from error
        if left:
            raise AudioError(f"{self._source}: became shorter while it was read")


def _mono(samples: np.ndarray) -> np.ndarray:
    return samples if samples.ndim == 1 else samples.mean(axis=1)


def _checked(response: http.client.HTTPResponse) -> http.client.HTTPResponse:
    """The response itself, if it is none of a fault.

    Raises:
        LfmError: what the daemon says is wrong.
    """
    if response.status < 400:
        return response
    try:
        found = json.loads(response.read())
        kind, message = found["kind"], found["error"]["message"]
    except (ValueError, LookupError) as error:
        raise DaemonError(f"the daemon answers with status {response.status}") from error
    raise named(kind)(message)


def _told(response: http.client.HTTPResponse) -> Iterator[Frame]:
    """The frames of a job; its notes are told as the engine tells them.

    Raises:
        LfmError: the job failed.
        DaemonError: it came to no end.
    """
    while frame := read(response):
        match frame.header:
            case {"event": "error", "kind": kind, "message": message}:
                raise named(kind)(message)
            case {"event": "done"}:
                return
            case {"event": "note", "message": message}:
                log.warning("%s", message)
            case _:
                yield frame
    raise DaemonError("the daemon ended in the middle of the work")
