"""What a session wants of the worker: answers, to a conversation as it stands, and the like."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from lfm_daemon.realtime.conversation import Asked, Sound
from lfm_daemon.realtime.schemas import ResponseParams, SessionConfig
from lfm_daemon.realtime.sound import Heard

__all__ = [
    "FORESEEN_SECONDS",
    "Begin",
    "Foresee",
    "Foreseen",
    "Forget",
    "Hear",
    "Plan",
    "State",
    "Stop",
    "Wake",
]

FORESEEN_SECONDS = 30.0
"""A longer turn is not answered before its end: each of its pauses would cost as much."""


@dataclass(frozen=True)
class Begin:
    """The worker is to answer: a `chat` job."""

    options: dict[str, Any]
    sounds: list[dict[str, Any]]


@dataclass(frozen=True)
class Foresee:
    """The worker may begin already; whether this is wanted comes later, as the same `Begin` or as
    `Forget`."""

    begin: Begin


@dataclass(frozen=True)
class Forget:
    """What was foreseen is not wanted; nobody needs this file then."""

    path: str | None


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


@dataclass(frozen=True)
class State:
    """Where the worker's memory stands."""

    name: str
    settings: dict[str, Any]
    asked: Asked


@dataclass(frozen=True)
class Plan:
    """An answer that could be begun now."""

    settings: dict[str, Any]
    options: dict[str, Any]
    asked: Asked

    @classmethod
    def of(
        cls, asked: Asked, wanted: ResponseParams, config: SessionConfig, state: State | None
    ) -> Plan:
        """What `wanted` leaves open is as in `config`; it goes on from `state`, if that is of the
        same conversation."""
        spoken = (wanted.output_modalities or config.output_modalities) == ["audio"]
        limit = wanted.max_output_tokens or config.max_output_tokens
        instructions = config.instructions if wanted.instructions is None else wanted.instructions
        temperature = config.temperature if wanted.temperature is None else wanted.temperature
        settings = {
            "system": "\n".join(text for text in (instructions, *asked.notes) if text) or None,
            "mode": "interleaved" if spoken else "sequential",
            "temperature": temperature,
        }
        options: dict[str, Any] = {
            **settings,
            "parts": asked.parts,
            # For a worker that has no such state, or not any more.
            "history": asked.history,
            "max_tokens": None if limit == "inf" else limit,
        }
        if state and state.settings == settings and asked.follows(state.asked):
            options |= {"after": state.name, "answered": len(asked.history[-1]["answer"])}
        return cls(settings, options, asked)

    def begin(self) -> Begin:
        """The job, which leaves the worker with a state of a new name."""
        return Begin({**self.options, "becomes": secrets.token_hex(12)}, self.asked.sounds)


@dataclass
class Foreseen:
    """An answer to what may be all of a turn, begun before that is certain."""

    heard: Heard
    sound: Sound
    plan: Plan
    begin: Begin
    asked: bool = False
    """Is the sound part of the conversation by now?"""
