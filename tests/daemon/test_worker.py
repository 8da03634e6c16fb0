"""The process that owns MLX, fed with frames as the supervisor feeds it."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest
from workbench import recording

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.results import Progress, Sound, Span
from lfm_daemon.jobs import Jobs
from lfm_daemon.values import Item, decode
from lfm_daemon.wire import Frame, read

pytestmark = pytest.mark.usefixtures("no_worker_stays")

COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", "lfm_daemon.worker")
LAST = ("done", "cancelled", "error", "fault")
SOON = 2.0
"""Seconds that it may take to end."""
TEXT = "Good morning, how are you today? " * 2
"""About 3 s of speech, which take about a second."""
LONG_QUESTION = {"parts": [{"text": "word " * 700}], "history": [], "becomes": "long"}
"""Takes some 3 s to be understood."""


class Told(NamedTuple):
    """What has come out, and when."""

    at: float
    frame: Frame

    @property
    def event(self) -> str:
        return self.frame.header["event"]

    @property
    def id(self) -> int | None:
        return self.frame.header.get("id")


class Fed:
    """A worker process, what is sent to it, and what it has said so far."""

    def __init__(self, folder: Path = EMBEDDED):
        self.process = subprocess.Popen(
            (*COMMAND, folder, "nano", tempfile.gettempdir()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.said: list[Told] = []
        self._new: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._number = 0

    def _listen(self) -> None:
        assert self.process.stdout
        while frame := read(self.process.stdout):
            self._new.put(Told(time.monotonic(), frame))
        self._new.put(None)

    def send(self, **header: Any) -> None:
        self.write(Frame(header).encode())

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def job(self, kind: str, *sounds: Path, batch: bool = False, **options: Any) -> int:
        self._number += 1
        named = [{"path": str(path), "name": "the recording"} for path in sounds]
        self.send(id=self._number, job=kind, batch=batch, options=options, sounds=named)
        return self._number

    def next(self) -> Told | None:
        """What it says next; None at its end."""
        told = self._new.get(timeout=30)
        if told:
            self.said.append(told)
        return told

    def until(self, id: int | None, *events: str) -> list[Told]:
        """All that it says, up to one of these events of a job."""
        found: list[Told] = []
        while told := self.next():
            found.append(told)
            if told.id == id and told.event in (events or LAST):
                return found
        raise AssertionError(f"it ended: {self.end()}")

    def has_said(self) -> list[Told]:
        """What has come meanwhile."""
        found: list[Told] = []
        while not self._new.empty() and (told := self.next()):
            found.append(told)
        return found

    def end(self) -> tuple[int, str]:
        """How it has ended, and what it has written to stderr."""
        assert self.process.stdin and self.process.stderr
        self.process.stdin.close()
        errors = self.process.stderr.read().decode()
        return self.process.wait(SOON), errors


def events(told: list[Told], id: int) -> list[str]:
    return [each.event for each in told if each.id == id]


def items(told: list[Told], id: int) -> list[Item]:
    return [item for each in told if each.id == id and (item := decode(each.frame))]


@contextlib.contextmanager
def started(folder: Path = EMBEDDED) -> Iterator[Fed]:
    """A worker, for a while."""
    fed = Fed(folder)
    yield fed
    fed.process.kill()
    fed.process.wait()
    for pipe in (fed.process.stdin, fed.process.stdout, fed.process.stderr):
        assert pipe
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


@pytest.fixture
def mortal() -> Iterator[Fed]:
    """A worker of a test's own, which it may bring to its end."""
    with started() as worker:
        worker.until(None, "ready")
        yield worker


@pytest.fixture(scope="module")
def shared() -> Iterator[Fed]:
    with started() as worker:
        worker.until(None, "ready")
        yield worker
        assert worker.end() == (0, "")


@pytest.fixture
def worker(shared: Fed) -> Iterator[Fed]:
    """A worker that lives on, and has nothing left to do when a test is over."""
    yield shared
    last = shared.job("say", text="")
    assert shared.until(last)[-1].event == "error"


@pytest.fixture(scope="module")
def engine() -> Engine:
    """What it should do is done here too."""
    return Engine.load()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some recordings with pauses between them."""
    return recording(tmp_path_factory.mktemp("long") / "long.wav", count=5)


# How it begins and ends


def test_it_tells_of_its_model(worker: Fed, engine: Engine):
    ready = worker.said[0].frame.header
    assert ready["sample_rate"] == engine.sample_rate
    assert ready["voices"] == list(engine.voices)
    assert ready["device"] in ("cpu", "gpu") and ready["seconds"] > 0


def test_a_damaged_model_is_told_and_is_its_end(copy_of: Callable[[Path], Path]):
    folder = copy_of(EMBEDDED)
    (folder / "model.safetensors").write_bytes(b"rubbish")
    with started(folder) as worker:
        (told,) = worker.until(None, "error")
        assert told.frame.header["kind"] == "CheckpointError"
        assert "model.safetensors" in told.frame.header["message"]
        assert worker.end() == (1, "")


@pytest.mark.parametrize("data", [b"garbage" * 10, b"\xff" * 8, b"\0\0\0\2\0\0\0\0[]"])
def test_garbage_is_its_end(mortal: Fed, data: bytes):
    mortal.write(data)
    assert mortal.next() is None
    code, errors = mortal.end()
    assert code == 0 and "frame" in errors and "Traceback" not in errors


BUSY: dict[str, Callable[[Fed, Path], int | None]] = {
    "idle": lambda worker, long: None,
    "in speech": lambda worker, long: worker.job("say", text=TEXT * 9),
    "in a transcription": lambda worker, long: worker.job("spans", long),
    "in a prefill": lambda worker, long: worker.job("chat", **LONG_QUESTION),
}


@pytest.mark.parametrize("busy", BUSY)
def test_the_end_of_its_stdin_is_its_end(mortal: Fed, long: Path, busy: str):
    if id := BUSY[busy](mortal, long):
        mortal.until(id, "turn")
        time.sleep(0.1)
    begun = time.monotonic()
    assert mortal.end() == (0, "")
    assert time.monotonic() - begun < SOON


SUPERVISOR = """
import subprocess, sys, time
from lfm_daemon.wire import Frame, read
worker = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
read(worker.stdout)
say = {"id": 1, "job": "say", "batch": False, "options": {"text": sys.argv[1]}, "sounds": []}
worker.stdin.write(Frame(say).encode())
worker.stdin.flush()
read(worker.stdout)
print(worker.pid, flush=True)
time.sleep(60)
"""


def test_the_death_of_its_supervisor_is_its_end():
    command = (
        sys.executable,
        "-c",
        SUPERVISOR,
        TEXT * 9,
        *COMMAND,
        EMBEDDED,
        "nano",
        tempfile.gettempdir(),
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        worker = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.send_signal(signal.SIGKILL)
        begun = time.monotonic()
        supervisor.wait()
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - begun < SOON
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")
def test_what_libraries_print_does_not_end_up_between_its_events(worker: Fed):
    places = [os.readlink(f"/proc/{worker.process.pid}/fd/{number}") for number in (1, 2)]
    assert places[0] == places[1]


# Jobs


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


# Cancelling


def test_speech_ends_within_a_frame(worker: Fed):
    say = worker.job("say", text=TEXT * 3)
    worker.until(say, "sound")
    worker.until(say, "sound")
    worker.send(cancel=say)
    assert events(worker.until(say), say).count("sound") <= 2
    assert worker.said[-1].event == "cancelled"


@pytest.mark.parametrize("busy", ["in a transcription", "in a prefill"])
def test_what_takes_long_is_interrupted(worker: Fed, long: Path, busy: str):
    id = BUSY[busy](worker, long)
    assert id
    worker.until(id, "turn")
    time.sleep(0.3)
    worker.send(cancel=id)
    begun = time.monotonic()
    told = worker.until(id)
    assert told[-1].event == "cancelled" and told[-1].at - begun < SOON
    say = worker.job("say", text="Hello")
    assert events(worker.until(say), say)[-1] == "done"


def test_a_job_that_waits_is_cancelled_in_its_turn(worker: Fed):
    first, second, third = (worker.job("say", text="One.") for _ in range(3))
    worker.send(cancel=second)
    told = worker.until(third)
    assert [events(told, id)[-1] for id in (first, second, third)] == ["done", "cancelled", "done"]
    assert "sound" not in events(told, second)


def test_a_batch_job_that_was_overtaken_is_cancelled(worker: Fed, long: Path):
    batch = worker.job("spans", long, batch=True)
    worker.until(batch, "span")
    say = worker.job("say", text="Hello")
    worker.until(say, "sound")
    worker.send(cancel=batch)
    assert events(worker.until(batch), batch) == ["cancelled"]
    assert events(worker.until(say), say)[-1] == "done"


def test_what_is_said_of_jobs_that_are_over_is_passed_over(worker: Fed):
    say = worker.job("say", text="One.")
    worker.until(say)
    for word in ("cancel", "pause", "resume"):
        worker.send(**{word: say})
        worker.send(**{word: 99})
    say = worker.job("say", text="One.")
    assert events(worker.until(say), say)[-1] == "done"


def test_a_job_can_be_cancelled_at_any_moment(worker: Fed):
    """Before it, in its prefill, in its speech, after it."""
    for number in range(60):
        say = worker.job("say", text="Hello")
        time.sleep(0.001 * number)
        worker.send(cancel=say)
        found = events(worker.until(say), say)
        assert found[-1] in ("cancelled", "done") and not {"fault", "error"} & set(found)


# Pausing


def test_a_paused_job_waits_and_others_do_not(worker: Fed, engine: Engine):
    first = worker.job("say", text=TEXT, seed=1)
    told = worker.until(first, "sound")
    worker.send(pause=first)
    second = worker.job("say", text="Hello")
    told += worker.until(second)
    time.sleep(0.3)
    assert worker.has_said() == []
    worker.send(resume=first)
    told += worker.until(first)
    found = [item.samples for item in items(told, first) if isinstance(item, Sound)]
    expected = [sound.samples for sound in engine.say(TEXT, seed=1)]
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


@pytest.mark.parametrize("again", [False, True])
def test_a_paused_job_can_be_cancelled(worker: Fed, again: bool):
    """And is not held up by another pause that was on its way."""
    say = worker.job("say", text=TEXT)
    worker.until(say, "sound")
    worker.send(pause=say)
    time.sleep(0.2)
    worker.has_said()
    worker.send(cancel=say)
    if again:
        worker.send(pause=say)
    assert events(worker.until(say), say)[-1] == "cancelled"


# Conversations


def answer(told: list[Told], id: int) -> list[Any]:
    return [each for t in told if t.id == id for each in t.frame.header.get("answer", [])]


def chat(worker: Fed, text: str, **options: Any) -> tuple[list[str], list[Any]]:
    """One turn: its events, and the tokens and codes of its answer."""
    question = {"parts": [{"text": text}], "mode": "sequential", "seed": 1}
    id = worker.job("chat", **{**question, "becomes": "next", **options})
    told = worker.until(id)
    return events(told, id), answer(told, id)


def test_a_conversation_goes_on_from_its_state_or_from_its_history(worker: Fed):
    """With the same answer."""
    _, first = chat(worker, "Say something.", history=[], becomes="first")
    assert len(first) > 3
    history = [{"said": [{"text": "Say something."}], "answer": first}]
    found = [
        chat(worker, "And more.", after="first", becomes="second"),
        chat(worker, "And more.", after="first", answered=len(first), history=[]),
        chat(worker, "And more.", history=history),
        chat(worker, "And more.", after="unheard of", history=history),
        chat(worker, "And more.", after="first", answered=len(first) - 1, history=history),
    ]
    assert all(each == found[0] for each in found) and found[0][0][-1] == "done"
    assert chat(worker, "And more.", history=[]) != found[0]


def test_a_state_that_is_not_known_is_told(worker: Fed):
    assert chat(worker, "Hello", after="unheard of")[0] == ["turn", "unknown", "done"]
    chat(worker, "Hello", history=[], becomes="first")
    assert chat(worker, "Hello", after="first", answered=99)[0] == ["turn", "unknown", "done"]


def test_only_so_much_of_states_is_kept(nano: Engine, monkeypatch: pytest.MonkeyPatch):
    """And those that were gone on from most recently."""
    jobs = Jobs(nano)

    def turn(becomes: str, **more: object) -> list[str]:
        options = {"parts": [{"text": "Hi"}], "becomes": becomes, "max_tokens": 1, **more}
        request = Frame({"job": "chat", "options": options, "sounds": []})
        return [frame.header["event"] for frame in jobs.events(request)]

    turn("0", history=[])
    (size,) = (chat.cursor.size for chat in jobs._chats.values())
    assert size > 0
    monkeypatch.setattr("lfm_daemon.jobs.CONVERSATION_BYTES", 3 * size)
    turn("1", history=[])
    turn("2", after="0")
    turn("3", history=[])
    assert [turn("", after=name) == ["unknown"] for name in ("1", "0")] == [True, False]


def test_an_answer_that_was_cut_short_is_remembered_as_it_was_told(worker: Fed):
    """Whoever interrupts goes on from what they heard, at whatever moment that was."""
    options = {"parts": [{"text": "Say something."}], "mode": "sequential", "seed": 1}
    for number in range(10):
        id = worker.job("chat", **options, history=[], becomes="cut")
        told = worker.until(id, "sound")
        time.sleep(0.003 * number)
        worker.send(cancel=id)
        told += worker.until(id)
        assert told[-1].event == "cancelled"
        heard = answer(told, id)
        history = [{"said": [{"text": "Say something."}], "answer": heard}]
        found = chat(worker, "More.", after="cut", answered=len(heard), max_tokens=3)
        assert found == chat(worker, "More.", history=history, max_tokens=3)


def test_a_question_that_was_interrupted_is_not_remembered(worker: Fed):
    id = worker.job("chat", **LONG_QUESTION)
    worker.until(id, "turn")
    time.sleep(0.2)
    worker.send(cancel=id)
    assert worker.until(id)[-1].event == "cancelled"
    assert chat(worker, "Hello", after="long")[0] == ["turn", "unknown", "done"]


def test_a_transcription_goes_on_after_what_is_known(worker: Fed, long: Path):
    id = worker.job("spans", long)
    spans = [item for item in items(worker.until(id), id) if isinstance(item, Span)]
    assert len(spans) >= 5
    id = worker.job("spans", long, after=spans[2].end)
    rest = items(worker.until(id), id)
    assert [item for item in rest if isinstance(item, Span)] == spans[3:]
    assert isinstance(rest[-1], Progress) and rest[-1].done == rest[-1].duration
