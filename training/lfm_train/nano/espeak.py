"""Speech by the espeak-ng library, in this process: sound, and where each word begins.

Its C interface is in `speak_lib.h` of https://github.com/espeak-ng/espeak-ng. It keeps one global
state: the sound goes to whoever asked last.
"""

import ctypes
import ctypes.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lfm2audio_mlx.errors import RequestError

__all__ = ["Espeak", "Manner"]

HOMEBREW = "/opt/homebrew/lib/libespeak-ng.dylib"
"""Where only Homebrew's own Python looks."""
SYNCHRONOUS = 2
UTF8, PHONEMES = 0x1, 0x100
WORD, LIST_END = 1, 0
RATE, PITCH, RANGE, GAP = 1, 3, 4, 7


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Manner:
    """Who speaks and how: a voice as `espeak-ng -v` names it, words a minute, pitch and its range
    from 0 to 99, the pause between words in 10 ms."""

    voice: str
    speed: int = 160
    pitch: int = 50
    range: int = 50
    gap: int = 0


class Espeak:
    """The library, ready to speak.

    Raises:
        RequestError: it is not installed, or only in part.
    """

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None and Path(HOMEBREW).exists():
            name = HOMEBREW
        if name is None:
            raise RequestError(
                "espeak-ng's library was not found: `apt install espeak-ng` or "
                "`brew install espeak-ng`"
            )
        self._library = ctypes.CDLL(name)
        self.rate: int = self._library.espeak_Initialize(SYNCHRONOUS, 0, None, 0)
        if self.rate <= 0:
            raise RequestError("espeak-ng's library has no data: install it again")
        self._callback = _CALLBACK(self._receive)  # kept, or it would be freed
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._blocks: list[np.ndarray] = []
        self._starts: list[int] = []

    def __call__(self, text: str, manner: Manner) -> tuple[np.ndarray, list[int]]:
        """Samples [N] float32 at `rate`, and the sample at which each word begins. Phonemes stand
        in double brackets.

        Raises:
            RequestError: there is no such voice.
        """
        self._set_voice(manner.voice)
        settings = {RATE: manner.speed, PITCH: manner.pitch, RANGE: manner.range, GAP: manner.gap}
        for parameter, value in settings.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        self._blocks, self._starts = [], []
        self._library.espeak_SetSynthCallback(self._callback)  # another object's may be there
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, UTF8 | PHONEMES, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.int16)
        return samples.astype(np.float32) / 32768, self._starts

    def phonemes(self, text: str, voice: str) -> str:
        """How a voice pronounces a text, in espeak-ng's own letters."""
        self._set_voice(voice)
        pointer = ctypes.c_char_p(text.encode())
        return self._library.espeak_TextToPhonemes(ctypes.byref(pointer), UTF8, 0).decode()

    def _set_voice(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise RequestError(f"espeak-ng has no voice '{voice}'")

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events and events[index].type != LIST_END:
            # A place of 0 in the text, where the first is 1, is its end.
            if events[index].type == WORD and events[index].text_position:
                self._starts.append(events[index].sample)
            index += 1
        return 0
