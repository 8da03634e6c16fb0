"""What a worker does: the engine's words and sounds, in which order, and its faults."""

from pathlib import Path
from typing import Any

import fed_worker
import numpy as np
import pytest
from fed_worker import Fed, events, items

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.results import Progress, Sound, Span

engine, mortal, worker = fed_worker.engine, fed_worker.mortal, fed_worker.worker
shared = fed_worker.shared

pytestmark = pytest.mark.usefixtures("no_worker_stays")


def test_its_words_and_sounds_are_the_engine_s(
    worker: Fed, engine: Engine, transcripts: dict[Path, str]
):
    path = next(iter(transcripts))
    spans = worker.job("spans", path)
    assert items(worker.until(spans), spans) == list(engine.spans(path))
    hear = worker.job("hear", path)
    assert items(worker.until(hear), hear) == [engine.hear(path)]
    say = worker.job("say", text="Hello", seed=7)
    sounds = [item for item in items(worker.until(say), say) if isinstance(item, Sound)]
    expected = np.concatenate([sound.samples for sound in engine.say("Hello", seed=7)])
    np.testing.assert_array_equal(np.concatenate([s.samples for s in sounds]), expected)
    labels = ["alarm", "weather"]
    classify = worker.job("classify", path, labels=labels)
    told = worker.until(classify)[1].frame.header
    assert told["shares"] == dict(engine.classify(path, labels))


def test_bare_samples_are_a_recording_too(worker: Fed, engine: Engine, tmp_path: Path):
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype("<f4")
    (tmp_path / "samples").write_bytes(sound.tobytes())
    sounds = [{"path": str(tmp_path / "samples"), "rate": 16_000}]
    worker.send(id=10_000, job="hear", batch=False, options={}, sounds=sounds)
    assert items(worker.until(10_000), 10_000) == [engine.hear((sound, 16_000))]


def test_a_recording_at_fault_is_called_by_the_name_that_its_sender_knows(worker: Fed):
    id = worker.job("spans", Path("/somewhere/secret"))
    told = worker.until(id)[-1].frame.header
    assert (told["event"], told["kind"]) == ("error", "AudioError")
    assert told["message"] == "the recording: no such file"


WORD = "Rumpelstilzchen"
FAULTS: dict[str, dict[str, Any]] = {
    "an option's type": {"kind": "say", "text": WORD, "seed": WORD},
    "an unknown option": {"kind": "say", "text": WORD, WORD: WORD},
    "a text that is none": {"kind": "say", "text": [WORD]},
    "a question that is none": {"kind": "chat", "parts": [{WORD: WORD}]},
    "an answer's length": {"kind": "chat", "parts": [{"text": WORD}], "max_tokens": WORD},
    "an answer that is none": {
        **{"kind": "chat", "parts": [{"text": "a"}]},
        "history": [{"said": [{"text": WORD}], "answer": [WORD]}],
    },
    "an unknown job": {"kind": WORD},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_logged_without_what_was_said(mortal: Fed, fault: str):
    """What kind of fault, and where; the next job is done."""
    options = dict(FAULTS[fault])
    if options["kind"] == "chat":
        options = {"history": [], "becomes": "a", **options}
    failing = mortal.job(options.pop("kind"), **options)
    told = mortal.until(failing)[-1].frame.header
    assert told["event"] == "fault" and told["kind"].endswith("Error")
    say = mortal.job("say", text="Hello")
    assert events(mortal.until(say), say)[-1] == "done"
    code, errors = mortal.end()
    assert code == 0 and errors.startswith(f"job 1: {told['kind']} at worker.py:")
    assert WORD not in errors and errors.count("\n") == 1


def test_jobs_are_done_in_order_of_arrival(worker: Fed):
    first, second = (worker.job("say", text=text) for text in ("One.", "Two."))
    told = worker.until(second)
    assert [each.id for each in told] == sorted(each.id or 0 for each in told)
    assert events(told, first)[-1] == events(told, second)[-1] == "done"


def test_interactive_jobs_overtake_batch_ones(
    worker: Fed, engine: Engine, long: Path, transcripts: dict[Path, str]
):
    """Which go on where they were, and find the same."""
    batch = worker.job("spans", long, batch=True)
    told = worker.until(batch, "span")
    say = worker.job("say", text="Hello")
    hear = worker.job("hear", next(iter(transcripts)))
    told += worker.until(batch)
    turns = [each.id for each in told if each.event == "turn"]
    assert turns == [batch, say, hear, batch]
    assert items(told, batch) == list(engine.spans(long))


def test_of_batch_jobs_the_first_is_done_first(worker: Fed, transcripts: dict[Path, str]):
    first, second = (worker.job("spans", path, batch=True) for path in list(transcripts)[:2])
    told = worker.until(second)
    assert [each.id for each in told if each.event == "turn"] == [first, second]


CUT_OFF = "One two three. " * 3


def test_notes_are_for_the_client_whose_job_it_is(worker: Fed, long: Path):
    batch = worker.job("spans", long, batch=True)
    told = worker.until(batch, "span")
    cut_off = worker.job("say", text=CUT_OFF, max_tokens=4, seed=1)
    fine = worker.job("say", text="Hello")
    told += worker.until(batch)
    notes = [(t.id, t.frame.header["message"]) for t in told if t.event == "note"]
    assert {id for id, _ in notes} == {cut_off} and "One two three." in notes[0][1]
    assert len(notes) <= 3
    assert events(told, fine)[-1] == "done"


def test_a_note_about_the_end_is_told_too(worker: Fed):
    """The engine knows that a sentence was cut off only after its last sound."""
    say = worker.job("say", text="Hello there", max_tokens=4, seed=1)
    assert events(worker.until(say), say)[-2:] == ["note", "done"]


def test_a_transcription_goes_on_after_what_is_known(worker: Fed, long: Path):
    id = worker.job("spans", long)
    spans = [item for item in items(worker.until(id), id) if isinstance(item, Span)]
    assert len(spans) >= 5
    id = worker.job("spans", long, after=spans[2].end)
    rest = items(worker.until(id), id)
    assert [item for item in rest if isinstance(item, Span)] == spans[3:]
    assert isinstance(rest[-1], Progress) and rest[-1].done == rest[-1].duration
