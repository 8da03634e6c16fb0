"""The façade hears: recordings of any length are written down, and nothing where nobody speaks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import AudioError, ContextError
from lfm2audio_mlx.generation.decode import Event, TextToken
from lfm2audio_mlx.results import Progress, Span, Transcript


def test_recordings_are_written_down(nano: Engine, transcripts: dict[Path, str]):
    """29 of the 30, as the reference; which ones is asserted by the parity rows. Spans without
    the silence around them are heard as well as whole recordings."""
    heard = {path: nano.transcribe(path) for path in transcripts}
    assert sum(heard[path].text == text for path, text in transcripts.items()) >= 29
    assert all(transcript.complete for transcript in heard.values())
    assert all(len(transcript.spans) == 1 for transcript in heard.values())
    whole = {path: nano.hear(path) for path in transcripts}
    assert sum(whole[path].text == text for path, text in transcripts.items()) >= 29


def test_a_file_its_bytes_and_its_samples_say_the_same(nano: Engine, transcripts: dict[Path, str]):
    import soundfile

    path = next(iter(transcripts))
    samples, rate = soundfile.read(path, dtype="float32")
    heard = [
        nano.transcribe(source) for source in (path, str(path), path.read_bytes(), (samples, rate))
    ]
    assert {transcript.text for transcript in heard} == {transcripts[path]}
    assert heard[0].duration == pytest.approx(len(samples) / rate, abs=0.01)


def test_a_cut_off_text_is_marked(nano: Engine, transcripts: dict[Path, str]):
    path, text = next(iter(transcripts.items()))
    span = nano.hear(path, max_tokens=2)
    assert not span.complete
    assert not span.loop
    assert text.startswith(span.text)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_where_nobody_speaks_there_is_no_text(nano: Engine, level: float):
    noise = np.random.default_rng(0).normal(0, 1, 160_000) * level
    transcript = nano.transcribe((noise.astype(np.float32), 16_000))
    assert (transcript.text, transcript.spans, transcript.duration) == ("", (), 10.0)


@pytest.fixture(scope="module")
def talk(transcripts: dict[Path, str]) -> tuple[np.ndarray, list[str]]:
    """Six sentences with pauses, and the words of each."""
    from lfm2audio_mlx.audio.files import read_audio

    some = [path for path in transcripts if path.stem.startswith("seen")][:6]
    pause = np.zeros(12_000, np.float32)
    parts = [part for path in some for part in (pause, read_audio(path, 16_000))]
    return np.concatenate([*parts, pause]), [transcripts[path] for path in some]


def test_a_long_recording_is_heard_span_by_span(nano: Engine, talk: tuple[np.ndarray, list[str]]):
    samples, texts = talk
    items = list(nano.spans((samples, 16_000)))
    spans = [item for item in items if isinstance(item, Span)]
    told = [(item.done, item.duration) for item in items if isinstance(item, Progress)]
    duration = len(samples) / 16_000
    assert [span.text for span in spans] == texts
    times = [time for span in spans for time in (span.start, span.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= duration
    assert told[0] == (0.0, duration)
    assert told[-1] == (duration, duration)
    assert told == sorted(told)
    assert nano.transcribe((samples, 16_000)).text == " ".join(texts)


def test_spans_that_are_known_are_passed_over(nano: Engine, talk: tuple[np.ndarray, list[str]]):
    sound = (talk[0], 16_000)
    spans = nano.transcribe(sound).spans
    for known in range(len(spans) + 1):
        after = spans[known - 1].end if known else 0.0
        assert Transcript.of(nano.spans(sound, after=after)).spans == spans[known:]


def test_a_loop_is_cut_and_marked(
    nano: Engine, transcripts: dict[Path, str], monkeypatch: pytest.MonkeyPatch
):
    """The words are forced, the rest is real: a trained model does not loop on request."""
    import lfm2audio_mlx.engine as module

    phrase = nano.tokenizer.encode("turn on the kitchen light")
    loop: list[Event] = [TextToken(id) for id in phrase * 100]
    pulled = 0

    def forced(*_: object, **__: object) -> Iterator[Event]:
        nonlocal pulled
        for event in loop:
            pulled += 1
            yield event

    monkeypatch.setattr(module, "generate", forced)
    span = nano.hear(next(iter(transcripts)))
    assert span.loop
    assert not span.complete
    assert span.text == "turn on the kitchen light"
    assert pulled < 40  # it was not let run on


def test_too_short_a_recording_is_refused_by_name(nano: Engine):
    with pytest.raises(AudioError, match="too short"):
        list(nano.spans((np.zeros(100, np.float32), 16_000)))


def test_too_long_a_recording_is_refused_before_any_work(nano: Engine):
    hour = (np.zeros(16_000 * 60 * 45, np.float32), 16_000)
    with pytest.raises(ContextError, match=r"2,700 s of sound, .* holds 2,621 s"):
        nano.hear(hour)
