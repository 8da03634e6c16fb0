"""The façade speaks: in voices of the checkpoint, sentence by sentence, frame by frame."""

from collections.abc import Iterator

import numpy as np
import pytest
from answering import heard

from lfm2audio_mlx.engine import CHAT_VOICE, SAY_VOICE, Engine
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.generation.decode import AudioFrame, EndOfTurn, Event
from lfm2audio_mlx.results import Sound
from lfm2audio_mlx.sampling import GREEDY
from lfm2audio_mlx.tokens import END_OF_AUDIO


def test_speech_streams_and_a_seed_repeats_it(nano: Engine):
    first = list(nano.say("turn on the kitchen light", seed=3))
    assert len(first) > 5
    assert all(piece.sample_rate == 24_000 for piece in first)
    samples = np.concatenate([piece.samples for piece in first])
    assert np.isfinite(samples).all()
    assert samples.std() > 0.01
    again = np.concatenate([p.samples for p in nano.say("turn on the kitchen light", seed=3)])
    assert np.array_equal(samples, again)
    other = np.concatenate([p.samples for p in nano.say("turn on the kitchen light", seed=4)])
    assert not np.array_equal(samples, other)


def test_voices_are_prompts_of_the_checkpoint(nano: Engine, engines: dict[str, Engine]):
    assert nano.voices == ("us-male", "uk-female")
    assert nano._voice_prompt("uk-female") == "Perform TTS. Use the UK female voice."
    described = engines["v1"]._voice_prompt("An old man whispers.")
    assert described == "Perform TTS.\nUse the following voice: An old man whispers."


@pytest.mark.parametrize("voice", ["nobody", "An old man whispers.", ""])
def test_an_unknown_voice_is_refused_at_once(nano: Engine, voice: str):
    with pytest.raises(RequestError, match="us-male, uk-female"):
        nano.say("hello", voice=voice)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_nothing_to_say_is_refused_at_once(nano: Engine, text: str):
    with pytest.raises(RequestError, match="empty"):
        nano.say(text)


def sound_of(pieces: Iterator[Sound]) -> np.ndarray:
    return np.concatenate([piece.samples for piece in pieces])


def test_a_text_is_spoken_sentence_by_sentence_in_one_seamless_stream(nano: Engine):
    """The sound of the sentences' frames, put one after the other, through one codec stream: so no
    gap, no click, and not a sample more or less."""
    text = "Turn on the kitchen light. Set the volume to thirty nine. Alarm set for seven."
    pieces = list(nano.say(text, seed=3))
    assert sorted({piece.sentence for piece in pieces}) == [0, 1, 2]
    assert [piece.sentence for piece in pieces] == sorted(piece.sentence for piece in pieces)
    whole = sound_of(iter(pieces))
    assert len(whole) % 1920 == 0
    # No step at a seam is larger than the largest within a sentence.
    ends = np.cumsum([len(piece.samples) for piece in pieces])
    seams = [
        ends[i] for i in range(len(pieces) - 1) if pieces[i].sentence != pieces[i + 1].sentence
    ]
    steps = np.abs(np.diff(whole))
    assert max(steps[seam - 2 : seam + 2].max() for seam in seams) < 0.5 * steps.max()


def test_the_first_sound_comes_before_the_second_sentence_is_begun(nano: Engine):
    first = next(iter(nano.say("Turn on the light. " * 50, seed=1)))
    assert first.sentence == 0


def test_numbers_and_markdown_are_read_unless_raw(nano: Engine):
    said = sound_of(nano.say("alarm set for **7**", seed=3))
    assert np.array_equal(said, sound_of(nano.say("alarm set for seven", seed=3)))
    raw = sound_of(nano.say("alarm set for **7**", seed=3, raw=True))
    assert not np.array_equal(said[: len(raw)], raw[: len(said)])


def test_the_detokenizer_gives_whole_frames_at_the_end(engines: dict[str, Engine]):
    engine = engines["v25"]
    frames = [AudioFrame((5, 6, 7, 8, 9, 10, 11, 12))] * 4
    events: list[Event] = [*frames, EndOfTurn("end")]
    pieces = [item for item in heard(engine, events) if isinstance(item, Sound)]
    assert sum(len(piece.samples) for piece in pieces) == 4 * 1920


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_no_frame_is_lost_when_a_limit_ends_the_speech(engines: dict[str, Engine], name: str):
    """Only a frame of 2048s ends the audio; the last frame before a limit is sound."""
    chat = engines[name].chat(audio=GREEDY)
    events = list(chat.events("hello", max_tokens=30))
    spoken = sum(isinstance(e, AudioFrame) and not e.ends_audio for e in events)
    sounds = [item for item in heard(engines[name], events) if isinstance(item, Sound)]
    assert sum(len(sound.samples) for sound in sounds) == 1920 * spoken


def test_cut_off_speech_is_logged(engines: dict[str, Engine], caplog: pytest.LogCaptureFixture):
    list(engines["v1"].say("hello", max_tokens=5))
    assert "cut off: its length is used up" in caplog.text


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_that_is_none_is_refused(nano: Engine, seed: int):
    with pytest.raises(RequestError, match="seed"):
        nano.say("hello", seed=seed)


def test_speech_is_sampled_as_the_model_card_says():
    assert (SAY_VOICE.temperature, SAY_VOICE.top_k) == (0.8, 64)
    assert (CHAT_VOICE.temperature, CHAT_VOICE.top_k) == (1.0, 4)


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_speech_after_the_end_of_speech_begins_anew(engines: dict[str, Engine], name: str):
    engine = engines[name]
    frames: list[Event] = [AudioFrame((5, 6, 7, 8, 9, 10, 11, 12))] * 2
    end = AudioFrame((END_OF_AUDIO,) * 8)

    def sound(events: list[Event]) -> np.ndarray:
        items = heard(engine, [*events, EndOfTurn("end")])
        return np.concatenate([item.samples for item in items if isinstance(item, Sound)])

    twice = sound([*frames, end, *frames])
    assert np.array_equal(twice, np.concatenate([sound(frames), sound(frames)]))
