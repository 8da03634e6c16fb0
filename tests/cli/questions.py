"""Recordings that tests ask, and what the embedded checkpoint answers to the first."""

from pathlib import Path

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH = RECORDINGS / "seen_04.wav"
OTHER_SPEECH = RECORDINGS / "seen_10.flac"
ANSWER = "timer set for twenty one minutes"
