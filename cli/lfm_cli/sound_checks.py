"""Checks of `lfm doctor`: can speech be played, and does the microphone hear?"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

from lfm2audio_mlx.errors import AudioError
from lfm_cli.finding import Finding
from lfm_cli.program import from_homebrew

__all__ = ["judge_microphone", "loudspeaker", "microphone"]

LISTEN_SECONDS, PATIENCE_SECONDS = 0.3, 1.5
"""For how long the microphone is heard, and for how long while it gives nothing but zeros:
wireless ones do at first."""

SPEECH_RATE = 24_000
"""Of all published models, in Hz."""


def loudspeaker(_: str | None) -> Finding:
    return _device("output", _offer)


def microphone(_: str | None) -> Finding:
    return _device("input", _listen)


def _device(direction: str, attempt: Callable[[Any, int], Finding]) -> Finding:
    """Look for the default device and, if there is one, try it."""
    from lfm_cli.sound import library

    try:
        sound = library()
    except AudioError as error:
        return Finding("fault", str(error), _mend_library())
    try:
        device = sound.query_devices(None, direction)
    except (sound.PortAudioError, ValueError):
        told = "there is none; files can be used all the same"
        return Finding("note", told, "connect one, or choose it in the system's settings")
    name, rate = str(device["name"]), int(device["default_samplerate"])
    try:
        found = attempt(sound, rate)
    except (sound.PortAudioError, ValueError) as error:
        mend = "end what else uses it, or connect it anew"
        return Finding("fault", f"{name}: cannot be opened: {error}", mend)
    detail = ": ".join(part for part in (f"{name}, {rate:,} Hz", found.detail) if part)
    return Finding(found.state, detail, found.mend)


def _mend_library() -> str:
    """How to have PortAudio, which only the wheels for a Mac bring with them."""
    if platform.system() == "Linux":
        return "apt install libportaudio2"
    if from_homebrew():
        return "`brew reinstall portaudio`"
    return "pip install --force-reinstall sounddevice"


def _offer(sound: Any, _rate: int) -> Finding:
    """Ask whether speech could be played; nothing is heard."""
    sound.check_output_settings(channels=1, dtype="float32", samplerate=SPEECH_RATE)
    return Finding("ok", "")


def _listen(sound: Any, rate: int) -> Finding:
    """Hear the microphone for a moment."""
    samples, noise = 0, False

    def hear(block: Any, frames: int, _time: object, _status: object) -> None:
        nonlocal samples, noise
        samples, noise = samples + frames, noise or bool(block.any())

    with sound.InputStream(rate, channels=1, dtype="float32", callback=hear):
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end and (not noise or samples < LISTEN_SECONDS * rate):
            time.sleep(0.05)
    return judge_microphone(samples, noise, platform.system() == "Darwin")


def judge_microphone(samples: int, noise: bool, mac: bool) -> Finding:
    """How many samples came, and whether one was not zero: no room is that quiet."""
    if noise:
        return Finding("ok", "it hears")
    if not samples:
        return Finding("fault", "it gives nothing", "connect it anew")
    if not mac:
        return Finding("note", "it gives nothing but zeros", "is it muted?")
    mend = "allow the terminal in System Settings > Privacy & Security > Microphone"
    return Finding("fault", "it gives nothing but zeros, as without permission", mend)
