"""What the goldens are made of, and what the tests ask again: clips, prompts, turns and counts."""

from typing import Literal, NamedTuple

SAMPLE_RATE = 16000


class Clip(NamedTuple):
    """`samples` of speech, after `skip` samples, at 16 kHz in ``tests/data/speech/NAME.flac``."""

    name: str
    samples: int
    voice: str
    speed: int
    text: str
    skip: int = 0


# Lengths off the frame grid; in mel frames 100, 390, 113 = 8 x 14 + 1, 240 = 8 x 30, and 3.
CLIPS = (
    Clip("light", 1999 * 8 + 3, "en-us+m3", 150, "Turn on the kitchen light."),
    Clip("volume", 62377, "en-gb+f2", 135, "Set the volume to sixty nine, please."),
    Clip("time", 18001, "en-gb-scotland+m7", 165, "What time is it?"),
    Clip("mom", 38399, "en-us+f4", 130, "Call mom, and then my brother."),
    Clip("blip", 450, "en-us+m3", 150, "Turn on the kitchen light.", skip=8000),
)
ENCODER_CLIPS = ("light", "volume", "time", "mom")  # the encoder needs at least nine mel frames

ASR_PROMPT = "Perform ASR."
ASR_CLIPS = ENCODER_CLIPS
ASR_TOKENS = 72

TTS_PROMPT = "Perform TTS. Use the US male voice."
TTS_TEXTS = ("Set a timer for twenty one minutes.", "It is nine thirty, call mom!")
TTS_TOKENS = 90

CHAT_PROMPT = "Respond with interleaved text and audio."
CHAT_TOKENS = 80


class Item(NamedTuple):
    """A part of a user's turn: a text, or a clip's name."""

    kind: Literal["text", "audio"]
    value: str


CHAT_TURNS: tuple[tuple[Item, ...], ...] = (
    (Item("audio", "time"),),
    (Item("text", "Turn off the bedroom fan.\nThen set the volume to 35%."),),
    (Item("audio", "volume"), Item("audio", "light")),
)
TEXT_LOGITS_STRIDE = 4  # of the chat's positions, every fourth has its logits kept

DEPTH_FRAMES = 24
MIMI_FRAMES = 23
MIMI_LONG_FRAMES = 140  # 280 steps, 30 beyond the context of "v1"
MIMI_TAIL_FRAMES = 6
ENCODING_FRAMES = 140  # of all clips one after the other, twice; 30 steps beyond "v1"'s context
DETOKENIZER_FRAMES = 21

NANO_ASR_TOKENS = 48
NANO_TTS_TOKENS = 120
NANO_CHAT_TOKENS = 200
NANO_VOICES = ("US male", "UK female")
NANO_TTS_TEXTS = ("what time is it", "alarm set for seven", "five five one")
NANO_QUESTIONS = ("seen_04", "unseen_12")  # of `../data/recordings`


def voice_prompt(voice: str) -> str:
    """The system prompt for speech in one of the named voices."""
    return f"Perform TTS. Use the {voice} voice."


class Line(NamedTuple):
    """One turn of a conversation to learn from: `texts` before `frames` of speech, or both
    `interleaved`, or a `clip`."""

    role: Literal["system", "user", "assistant"]
    text: str = ""
    clip: str = ""
    frames: int = 0
    interleaved: bool = False


TRAINING_FACTS = {"text_loss_multiplier": 1.5, "audio_loss_multiplier": 0.5}  # into config.json
TRAINING = (
    (
        Line("system", ASR_PROMPT),
        Line("user", clip="time"),
        Line("assistant", "What time is it?"),
    ),
    (
        Line("system", TTS_PROMPT),
        Line("user", TTS_TEXTS[1]),
        Line("assistant", frames=7),
    ),
    (
        Line("system", CHAT_PROMPT),
        Line("user", clip="light"),
        Line("assistant", "Turning on the kitchen light now.", frames=29, interleaved=True),
        Line("user", "Thank you.", clip="mom"),
        Line("assistant", "You are welcome!", frames=5, interleaved=True),
    ),
)
