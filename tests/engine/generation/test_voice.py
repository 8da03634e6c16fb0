"""Sound beside generation: groups of frames, and frames that turn out to be none."""

import mlx.core as mx
import numpy as np
import pytest

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.generation.voice import Voice
from lfm2audio_mlx.results import Sound
from lfm2audio_mlx.tokens import END_OF_AUDIO

FRAMES = np.random.default_rng(0).integers(0, 500, (11, 8)).tolist()
END = [END_OF_AUDIO] * 8
TOLERANCE = 1e-5  # of the largest sample; float32 in tensors of other shapes


def whole(sounds: list[Sound]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *(sound.samples for sound in sounds)])


def speak(voice: Voice, frame: list[int]) -> list[Sound]:
    """The sound that is ready with a frame of speech."""
    voice.push(mx.array([frame]))
    return voice.confirm(ended=False)


def spoken(voice: Voice, frames: list[list[int]]) -> list[Sound]:
    return [sound for frame in frames for sound in speak(voice, frame)]


def at_once(engine: Engine, frames: list[list[int]]) -> np.ndarray:
    samples, state = engine.codec.decode(mx.array(frames).T[None])
    return np.concatenate([np.array(samples)[0], np.array(engine.codec.flush(state))[0]])


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.abs(one - other).max() < TOLERANCE * np.abs(other).max()


@pytest.mark.parametrize("groups", [(1,), (1, 1, 2, 4), (3,), (1, 8)])
@pytest.mark.parametrize("name", ["v1", "v25"])
def test_groups_make_the_same_sound(engines: dict[str, Engine], name: str, groups: tuple[int, ...]):
    voice = Voice(engines[name].codec, groups)
    sounds = [*spoken(voice, FRAMES), *voice.finish()]
    assert alike(whole(sounds), at_once(engines[name], FRAMES))


def test_the_first_frame_is_heard_at_once_and_groups_grow(engines: dict[str, Engine]):
    voice = Voice(engines["v1"].codec, (1, 1, 2, 4))
    counts = [sum(len(s.samples) // 1920 for s in speak(voice, frame)) for frame in FRAMES]
    assert counts == [1, 1, 0, 2, 0, 0, 0, 4, 0, 0, 0]
    assert len(whole(voice.finish())) == 3 * 1920


@pytest.mark.parametrize("groups", [(1,), (2,), (4,)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("name", ["v1", "v25"])
def test_a_frame_that_ends_the_speech_leaves_no_trace(
    engines: dict[str, Engine], name: str, count: int, groups: tuple[int, ...]
):
    voice = Voice(engines[name].codec, groups)
    sounds = spoken(voice, FRAMES[:count])
    voice.push(mx.array([END]))
    sounds += voice.confirm(ended=True)
    sounds += voice.finish()
    assert alike(whole(sounds), at_once(engines[name], FRAMES[:count]))
    # And the next speech is a new stream.
    again = [*spoken(voice, FRAMES[:count]), *voice.finish()]
    assert alike(whole(again), whole(sounds))


def test_speech_without_a_frame_is_silent(engines: dict[str, Engine]):
    voice = Voice(engines["v1"].codec)
    assert voice.finish() == []
    voice.push(mx.array([END]))
    assert voice.confirm(ended=True) == []
    assert voice.finish() == []
