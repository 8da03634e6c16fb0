"""Recordings that tests ask, and what the embedded checkpoint answers to the first.

It learnt one question at a time: what it answers later in a conversation hangs on the voice that
was drawn before, and no test may count on it.
"""

from pathlib import Path

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH = RECORDINGS / "seen_04.wav"
OTHER_SPEECH = RECORDINGS / "seen_09.flac"
ANSWER = "timer set for twenty one minutes"
