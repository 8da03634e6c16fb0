"""Tokens to words and frames to sound, as they come."""

from collections.abc import Generator, Iterable

from lfm2audio_mlx.generation.decode import AudioFrame, Event, TextToken
from lfm2audio_mlx.generation.voice import Voice
from lfm2audio_mlx.results import EndOfTurn, Sound, Words
from lfm2audio_mlx.text.tokenizer import Tokenizer

__all__ = ["render"]


def render(
    events: Iterable[Event], tokenizer: Tokenizer, voice: Voice
) -> Generator[Words | Sound | EndOfTurn]:
    """An answer to be read and heard; speech that begins again is a new stream of the codec."""
    words = tokenizer.stream()
    for event in events:
        match event:
            case TextToken(id):
                yield Words(words.push(id), id)
            case AudioFrame():
                yield from voice.finish() if event.ends_audio else []
            case Sound():
                yield event
            case EndOfTurn():
                yield from voice.finish()
                yield event
