"""What a worker can do: each job takes a request and gives events, one after the other.

A request's header has `job`, its `options`, and `sounds`: each a file (`path`), and either the
`name` that messages call it by, or the `rate` of the bare float32 samples in it.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lfm2audio_mlx.audio.files import AudioSource
from lfm2audio_mlx.conversation import Chat
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import LfmError, RequestError
from lfm2audio_mlx.results import Exchange
from lfm2audio_mlx.sampling import GREEDY, Sampling
from lfm_daemon.values import answer_from_json, encode, parts_from_json
from lfm_daemon.wire import Frame

__all__ = ["Cancelled", "Jobs"]

CONVERSATION_BYTES = 256 << 20
"""Of states of conversations that are kept, so that a next turn goes on from them."""


class Cancelled(BaseException):
    """The job under way is not wanted any more. Not an `Exception`, so that no job swallows it."""


class Sounds:
    """The recordings of a request, each read when it is needed."""

    def __init__(self, files: list[dict[str, Any]]):
        self._files = files

    def __getitem__(self, number: int) -> AudioSource:
        file = self._files[number]
        if "rate" in file:
            return np.fromfile(file["path"], "<f4").astype(np.float32), file["rate"]
        return Path(file["path"])

    def renamed(self, message: str) -> str:
        """A message with the names that the recordings' sender knows."""
        for file in self._files:
            message = message.replace(file["path"], file.get("name", "samples"))
        return message


class Jobs:
    """The jobs of one engine, and the conversations that it remembers."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._words = engine.config.lfm.vocab_size
        self._chats: OrderedDict[str, Chat] = OrderedDict()
        self._kinds: dict[str, Callable[..., Iterator[Frame]]] = {
            "spans": self._spans,
            "hear": self._hear,
            "say": self._say,
            "chat": self._chat,
            "classify": self._classify,
        }

    def events(self, request: Frame) -> Generator[Frame]:
        """The events of a job.

        Raises (at any event):
            LfmError: the request or its recordings are at fault.
        """
        header = request.header
        sounds = Sounds(header["sounds"])
        try:
            yield from self._kinds[header["job"]](sounds, **header["options"])
        except LfmError as error:
            raise type(error)(sounds.renamed(str(error))) from error

    def _spans(self, sounds: Sounds, **options: Any) -> Iterator[Frame]:
        return map(encode, self._engine.spans(sounds[0], **options))

    def _hear(self, sounds: Sounds, **options: Any) -> Iterator[Frame]:
        yield encode(self._engine.hear(sounds[0], **options))

    def _say(self, sounds: Sounds, text: str, **options: Any) -> Iterator[Frame]:
        return map(encode, self._engine.say(text, **options))

    def _classify(self, sounds: Sounds, labels: list[str], **options: Any) -> Iterator[Frame]:
        shares = self._engine.classify(sounds[0], labels, **options)
        yield Frame({"event": "shares", "shares": dict(shares)})

    def _chat(
        self,
        sounds: Sounds,
        parts: list[dict[str, Any]],
        becomes: str,
        after: str | None = None,
        answered: int | None = None,
        history: list[dict[str, Any]] | None = None,
        max_tokens: int = 1024,
        temperature: float | None = None,
        **options: Any,
    ) -> Iterator[Frame]:
        """One turn of a conversation, which then is known as `becomes`.

        It goes on from the one that is known as `after`, if the last answer there has the length
        `answered`. Where there is none, the `history` is gone through again; without that the
        only event is `unknown`.
        """
        chat = self._known(after, answered)
        if chat is None and history is None:
            yield Frame({"event": "unknown"})
            return
        if chat is None:
            text = GREEDY if not temperature else Sampling(temperature=temperature)
            exchanges = [self._exchange(each, sounds) for each in history or ()]
            chat = self._engine.chat(history=exchanges, text=text, **options)
        told = 0
        reply = chat.reply(*parts_from_json(parts, sounds), max_tokens=max_tokens)
        try:
            for item in reply:
                event, fresh = encode(item), chat.answer[told:]
                yield Frame({**event.header, "answer": fresh}, event.blob)
                told += len(fresh)
        except Cancelled:
            if told:  # otherwise it was interrupted anywhere, even within a prefill
                self._remember(becomes, chat)
            raise
        self._remember(becomes, chat)

    def _known(self, name: str | None, answered: int | None) -> Chat | None:
        chat = self._chats.get(name or "")
        if chat is None or (answered is not None and len(chat.answer) != answered):
            return None
        self._chats.move_to_end(name or "")
        return chat.fork()

    def _remember(self, name: str, chat: Chat) -> None:
        self._chats[name] = chat
        while len(self._chats) > 1 and self._held() > CONVERSATION_BYTES:
            self._chats.popitem(last=False)

    def _held(self) -> int:
        return sum(chat.cursor.size for chat in self._chats.values())

    def _exchange(self, exchange: dict[str, Any], sounds: Sounds) -> Exchange:
        """An earlier exchange; of its answer maybe only the words are known."""
        said = tuple(parts_from_json(exchange["said"], sounds))
        if "text" in exchange:
            return Exchange(said, self._engine.tokenizer.encode(exchange["text"]))
        answer = answer_from_json(exchange["answer"])
        if any(isinstance(item, int) and item >= self._words for item in answer):
            raise RequestError("history: has a token that this model has not")
        return Exchange(said, answer)
