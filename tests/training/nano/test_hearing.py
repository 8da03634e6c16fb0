"""What is heard: the same words again for the same step, clips that are encoded together, and where
their words are."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest

from lfm_train.nano.grammar import is_held_out, vocabulary
from lfm_train.nano.hearing import FRAME, Heard, Listener, Recorded, placed, roughened
from lfm_train.nano.sounds import RATE
from lfm_train.nano.voices import SPEAKERS

WORDS = set(vocabulary())
MANNER = SPEAKERS["us-male"]
SIZE, GROUP = 5, 3


@pytest.fixture(scope="module")
def drawn(listener: Listener) -> list[list[Recorded]]:
    return listener.batches(8, SIZE, GROUP)


# Batches


def test_a_group_has_its_batches(drawn: list[list[Recorded]]):
    assert [len(batch) for batch in drawn] == [SIZE] * GROUP


def test_clips_of_a_batch_have_one_length_in_whole_positions(drawn: list[list[Recorded]]):
    """80 ms each, which are eight frames of 10 ms, and one more frame at the end."""
    for batch in drawn:
        (shape,) = {item.mel.shape for item in batch}
        assert shape[1] == 128
        assert (shape[0] - 1) % 8 == 0
        assert {len(item.words) for item in batch} == {-(-shape[0] // 8)}
        assert all(np.isfinite(item.mel).all() for item in batch)


def test_clips_of_like_length_stand_together(drawn: list[list[Recorded]], listener: Listener):
    """Else every batch would be as long as the longest of all."""
    lengths = {item.mel.shape[0] for batch in drawn for item in batch}
    assert len(lengths) == GROUP


def test_a_step_s_words_are_the_same_when_drawn_again(
    drawn: list[list[Recorded]], listener: Listener
):
    def said(group: list[list[Recorded]]) -> list[str]:
        return sorted(item.text for batch in group for item in batch)

    assert said(listener.batches(8, SIZE, GROUP)) == said(drawn)
    assert said(listener.batches(12, SIZE, GROUP)) != said(drawn)


DIGEST = """
import hashlib
from lfm2audio_mlx.config import read_config
from lfm2audio_mlx.installed import EMBEDDED
from lfm_train.nano.hearing import Listener

found = Listener(read_config(EMBEDDED).features).batches(4, 4, 2)
total = hashlib.sha256()
for item in [item for batch in found for item in batch]:
    total.update(item.text.encode() + item.mel.tobytes() + item.words.tobytes())
print(total.hexdigest())
"""


def test_a_training_from_the_beginning_hears_the_same_to_the_bit(listener: Listener):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", DIGEST]
    runs = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (run.communicate()[0] for run in runs)
    assert first == second and len(first) == 65


def test_what_is_said_is_of_the_vocabulary_and_not_held_out(listener: Listener):
    """Halves of two sentences and words without sense, too, might be one."""
    draw = random.Random(0)
    found = [listener.draw(draw).text for _ in range(400)]
    assert WORDS.issuperset(word for text in found for word in text.split())
    assert len(set(found)) > 200
    assert not any(map(is_held_out, found))


# Recordings


def test_what_has_no_words_has_no_text(listener: Listener):
    """Silence, noise, music, other languages: at most about 3.5 s of them."""
    draw = random.Random(2)
    heard = [listener.draw(draw) for _ in range(150)]
    wordless = [one for one in heard if not one.text]
    assert 10 < len(wordless) < 40  # 15 %
    for one in wordless:
        assert one.word_at(len(one.samples) // 2) == -1
        assert len(one.samples) <= 3.5 * RATE
    assert all(np.isfinite(one.samples).all() for one in heard)
    assert all(one.samples.size for one in heard)


def test_speech_is_cut_to_what_is_said(listener: Listener):
    samples = listener.speak("turn on the light", MANNER).samples
    assert min(abs(samples[0]), abs(samples[-1])) > 0.004
    assert 0.5 < len(samples) / RATE < 3


def test_it_is_known_where_words_are(listener: Listener):
    heard = listener.speak("seven four two", MANNER)
    at = np.array([heard.word_at(n) for n in range(len(heard.samples))])
    assert np.array_equal(at, np.sort(at)) and set(at.tolist()) >= {0, 1, 2}
    shares = np.bincount(at)[:3] / len(at)
    assert min(shares) > 0.15


def test_before_and_after_there_is_silence(listener: Listener):
    heard = listener.speak("seven four two", MANNER)
    assert heard.word_at(-1) == heard.word_at(len(heard.samples)) == -1


def test_where_words_run_together_their_places_are_not_known():
    assert Heard(np.ones(10), "on the light").word_at(5) is None
    assert Heard(np.ones(10), "", (0,)).word_at(5) == -1


def test_positions_of_words_follow_the_recording(drawn: list[list[Recorded]]):
    """In order, silence around them, and the index of no word that is not there."""
    known = 0
    for item in (item for batch in drawn for item in batch):
        said = item.words[item.words >= 0]
        assert np.array_equal(said, np.sort(said))
        if not item.text:
            assert set(item.words.tolist()) == {-1}
        known += bool(said.size)
    assert known > SIZE


def test_a_recording_with_its_words_has_them_where_it_is_loud(listener: Listener):
    """Its log-mel is above its mean in the positions of words, below in those of none."""
    heard = listener.speak("seven four two", MANNER)
    frames = len(heard.samples) // FRAME + 12
    item = listener._recorded(heard, frames, random.Random(3))
    energy = np.array([piece.mean() for piece in np.array_split(item.mel[:-1], frames)])
    words = item.words[:frames]
    assert energy[words >= 0].mean() > energy[words < 0].mean() + 0.5


# Rooms and microphones


def test_a_clip_is_placed_whole():
    samples = np.arange(1, 6, dtype=np.float32)
    assert placed(samples, 10, 3).tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 0, 0]


def test_a_microphone_changes_the_sound_and_not_its_length():
    samples = np.sin(np.arange(RATE) / 10).astype(np.float32)
    made = [roughened(samples, random.Random(seed)) for seed in range(20)]
    for one in made:
        assert one.shape == samples.shape and one.dtype == np.float32
        assert np.isfinite(one).all()
    levels = [float(np.sqrt(np.mean(one**2))) for one in made]
    assert max(levels) > 3 * min(levels)
    assert np.array_equal(made[0], roughened(samples, random.Random(0)))


def test_silence_stays_silent():
    """There is nothing to be louder than."""
    for seed in range(10):
        assert np.abs(roughened(np.zeros(RATE, np.float32), random.Random(seed))).max() < 1e-3
