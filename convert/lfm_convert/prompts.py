"""System prompts that each family of checkpoints was trained with (model cards), as data."""

from typing import Any

__all__ = ["PROMPTS"]

_ACCENTS, _SEXES = ("US", "UK"), ("male", "female")

_DESCRIBED = "Perform TTS.\nUse the following voice: {description}"

PROMPTS: dict[str, dict[str, Any]] = {
    # LFM2-Audio-1.5B: a voice is described freely, so a named one is a description too.
    "v1": {
        "transcribe": "Perform ASR.",
        "speak": "Perform TTS.",
        "chat": "Respond with interleaved text and audio.",
        "voices": {
            f"{accent.lower()}-{sex}": _DESCRIBED.format(
                description=f"A {sex} speaker with a {accent} accent speaks clearly and evenly."
            )
            for accent in _ACCENTS
            for sex in _SEXES
        },
        "described_voice": _DESCRIBED,
    },
    # LFM2.5-Audio-1.5B: four voices and no other.
    "v2.5": {
        "transcribe": "Perform ASR.",
        "speak": "Perform TTS. Use the US male voice.",
        "chat": "Respond with interleaved text and audio.",
        "voices": {
            f"{accent.lower()}-{sex}": f"Perform TTS. Use the {accent} {sex} voice."
            for accent in _ACCENTS
            for sex in _SEXES
        },
        "described_voice": "",
    },
    # The embedded checkpoint: prompts as v2.5, trained with two of the voices.
    "nano": {
        "transcribe": "Perform ASR.",
        "speak": "Perform TTS. Use the US male voice.",
        "chat": "Respond with interleaved text and audio.",
        "voices": {
            "us-male": "Perform TTS. Use the US male voice.",
            "uk-female": "Perform TTS. Use the UK female voice.",
        },
        "described_voice": "",
    },
    # LFM2.5-Audio-1.5B-JP.
    "v2.5-jp": {
        "transcribe": "Perform ASR in japanese.",
        "speak": "Perform TTS in japanese.",
        "chat": "Respond with interleaved text and audio.",
        "voices": {},
        "described_voice": "",
    },
}
