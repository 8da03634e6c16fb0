"""What the numbers in a stream mean: special tokens, codes and modalities, named once.

Ids of special text tokens are read from the checkpoint's tokenizer by name (`SpecialTokens`);
the audio side is fixed by the architecture: each codebook holds 2,048 codes, and one more row
that only codebook 0 may choose, to end the speech.
"""

from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "AUDIO_VOCABULARY",
    "CODEBOOK_SIZE",
    "CONTEXT_LENGTH",
    "END_OF_AUDIO",
    "SPECIAL_TOKEN_NAMES",
    "Modality",
    "SpecialTokens",
]

CODEBOOK_SIZE = 2048
END_OF_AUDIO = CODEBOOK_SIZE
AUDIO_VOCABULARY = CODEBOOK_SIZE + 1

CONTEXT_LENGTH = 32_768
"""Positions that the published models were made for (model card), whatever the config allows."""


class Modality(IntEnum):
    """What one position of the backbone carries; numbered as the reference's `LFMModality`."""

    TEXT = 1
    AUDIO_IN = 2
    AUDIO_OUT = 3


SPECIAL_TOKEN_NAMES = {
    "start_of_text": "<|startoftext|>",
    "turn_start": "<|im_start|>",
    "turn_end": "<|im_end|>",
    "audio_start": "<|audio_start|>",
    "text_end": "<|text_end|>",
}


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that steer a conversation."""

    start_of_text: int
    turn_start: int
    turn_end: int
    audio_start: int
    text_end: int
