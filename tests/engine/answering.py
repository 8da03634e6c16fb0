"""What tests of the façade ask, and what comes of it as events, words and sound."""

from collections.abc import Iterator
from typing import Any

import mlx.core as mx

import parity
from lfm2audio_mlx.engine import Chat, Engine
from lfm2audio_mlx.generation.decode import AudioFrame, Event
from lfm2audio_mlx.generation.render import render

SHORT, LONG = parity.speech("time"), parity.speech("volume")


def answer(chat: Chat, *parts: object, limit: int = 40) -> list[Event]:
    return list(chat.events(*parts, max_tokens=limit))  # type: ignore[arg-type]


def heard(engine: Engine, events: list[Event]) -> Iterator[Any]:
    """What plain tokens and frames are as words and sound."""
    voice = engine.voice()

    def voiced() -> Iterator[Event]:
        for event in events:
            yield event
            if isinstance(event, AudioFrame) and not event.ends_audio:
                voice.push(mx.array([event.codes]))
                yield from voice.confirm(ended=False)

    return render(voiced(), engine.tokenizer, voice)
