"""The client against a real daemon: it gives what the engine gives, and ends what is not wanted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lfm2audio_mlx.ahead import ITEMS, Ahead
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import AudioError, ContextError, DaemonError, ModelError, RequestError
from lfm2audio_mlx.installed import EMBEDDED, NANO
from lfm2audio_mlx.results import EndOfTurn, Exchange, Progress, Sound, Span, Transcript, Words
from lfm_daemon.client import Daemon, ask
from lfm_daemon.instance import running
from lfm_daemon.launch import start, stop
from lfm_daemon.paths import spool_folder

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH, OTHER = RECORDINGS / "seen_04.wav", RECORDINGS / "seen_10.flac"
SERVE = [sys.executable, "-P", "-m", "lfm_cli", "serve", "--detached"]


@pytest.fixture(scope="module")
def engine() -> Engine:
    """As the daemon loads it."""
    return Engine.load(EMBEDDED, name=NANO)


@pytest.fixture
def daemon(home: Path) -> Iterator[Daemon]:
    start(SERVE, os.environ)
    yield Daemon(EMBEDDED, NANO)
    stop()


def samples(sounds: Iterator[Sound]) -> np.ndarray:
    return np.concatenate([sound.samples for sound in sounds])


def test_everything_is_what_the_engine_gives(daemon: Daemon, engine: Engine):
    assert (daemon.name, daemon.sample_rate) == (engine.name, engine.sample_rate)
    for source in (SPEECH, str(OTHER), SPEECH.read_bytes(), (np.zeros(16_000, np.float32), 16_000)):
        assert list(daemon.spans(source)) == list(engine.spans(source))
    assert daemon.hear(SPEECH) == engine.hear(SPEECH)
    labels = ["alarm set", "light on"]
    assert daemon.classify(SPEECH, labels) == engine.classify(SPEECH, labels)
    theirs = list(daemon.say("alarm set. lights off", seed=3))
    ours = list(engine.say("alarm set. lights off", seed=3))
    assert np.array_equal(samples(iter(theirs)), samples(iter(ours)))
    told = [(sound.sentence, sound.sentences, sound.text) for sound in theirs]
    assert told == [(sound.sentence, sound.sentences, sound.text) for sound in ours]


def test_options_reach_the_engine(daemon: Daemon, engine: Engine):
    assert list(daemon.spans(SPEECH, prompt="Other.")) == list(
        engine.spans(SPEECH, prompt="Other.")
    )
    assert not [item for item in daemon.spans(SPEECH, after=60.0) if isinstance(item, Span)]
    asked = {"labels": ["a", "b"], "question": "Which?"}
    assert daemon.classify(SPEECH, **asked) == engine.classify(SPEECH, **asked)  # type: ignore[arg-type]
    uk = samples(daemon.say("lights off", voice="uk-female", seed=1))
    assert np.array_equal(uk, samples(engine.say("lights off", voice="uk-female", seed=1)))
    raw = samples(daemon.say("7", raw=True, seed=1))
    assert np.array_equal(raw, samples(engine.say("7", raw=True, seed=1)))


def test_a_conversation_is_what_the_engine_gives(daemon: Daemon, engine: Engine):
    theirs, ours = daemon.chat(seed=5), engine.chat(seed=5)
    for question in (SPEECH, OTHER, SPEECH):
        pairs = zip(theirs.reply(question), ours.reply(question), strict=True)
        for mine, own in pairs:
            assert type(mine) is type(own)
            if isinstance(mine, Sound) and isinstance(own, Sound):
                assert np.array_equal(mine.samples, own.samples)
            else:
                assert mine == own
    assert theirs.exchanges == ours.exchanges
    again = daemon.chat(seed=5, history=theirs.exchanges)
    anew = engine.chat(seed=5, history=ours.exchanges)
    for chat in (again, anew):
        list(chat.reply(OTHER))
    assert again.exchanges == anew.exchanges


def test_a_conversation_goes_on_when_the_daemon_has_forgotten_it(daemon: Daemon, engine: Engine):
    theirs, ours = daemon.chat(seed=5), engine.chat(seed=5)
    for question in (SPEECH, OTHER):
        for chat in (theirs, ours):
            list(chat.reply(question))
        ask("POST", "/api/unload", {})
    assert theirs.exchanges == ours.exchanges


def test_an_answer_is_begun_early_and_a_wrong_guess_leaves_nothing(daemon: Daemon, engine: Engine):
    theirs, ours = daemon.chat(seed=5), engine.chat(seed=5)
    for chat in (theirs, ours):
        list(chat.reply(SPEECH))
    expected = list(ours.reply(OTHER))
    ahead = Ahead(theirs)
    ahead.guess(SPEECH)
    for _ in range(5):
        assert ahead.step()
    ahead.guess(OTHER)
    assert [ahead.step() for _ in range(20)].count(True) == len(ahead.made) == ITEMS
    assert len(theirs.exchanges) == 1
    confirmed, reply = ahead.confirm(OTHER)
    assert [type(item) for item in reply] == [type(item) for item in expected]
    assert confirmed.exchanges == ours.exchanges
    for chat in (confirmed, ours):
        list(chat.reply(SPEECH))
    assert confirmed.exchanges == ours.exchanges
    assert len(theirs.exchanges) == 1 and ask("GET", "/health")["state"] == "ready"


@pytest.mark.parametrize("taken", [1, 7])
def test_an_answer_that_is_left_is_remembered_as_far_as_it_came(
    daemon: Daemon, engine: Engine, taken: int
):
    theirs = daemon.chat(seed=5)
    with closing(theirs.reply(SPEECH)) as reply:
        for _ in range(taken):
            next(reply)
    (left,) = theirs.exchanges
    assert taken <= len(left.answer)
    list(theirs.reply(OTHER))
    ours = engine.chat(seed=5, history=[Exchange(left.said, left.answer)])
    list(ours.reply(OTHER))
    assert theirs.exchanges == ours.exchanges


def test_leaving_a_stream_frees_the_daemon(daemon: Daemon):
    sounds = daemon.say("turn on the kitchen light. " * 50)
    next(sounds)
    assert ask("GET", "/health")["state"] == "busy"
    sounds.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 5
    while ask("GET", "/health")["state"] != "ready":
        assert time.monotonic() < end
    assert not any(spool_folder().iterdir())


def test_faults_are_those_of_the_engine(daemon: Daemon, tmp_path: Path, engine: Engine):
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    with pytest.raises(AudioError) as theirs:
        list(daemon.spans(text))
    with pytest.raises(AudioError) as own:
        list(engine.spans(text))
    assert str(theirs.value) == str(own.value)
    with pytest.raises(AudioError, match=r"nothing\.wav"):
        daemon.hear(tmp_path / "nothing.wav")
    with pytest.raises(RequestError, match="nobody"):
        list(daemon.say("hello", voice="nobody"))
    with pytest.raises(RequestError, match="labels"):
        daemon.classify(SPEECH, ["one"])
    chat = daemon.chat()
    with pytest.raises(ContextError, match="start a new one"):
        list(chat.reply("word " * 40_000))
    with pytest.raises(RequestError, match="empty"):
        list(chat.reply(" "))
    assert chat.exchanges == ()
    with pytest.raises(ModelError, match="nothing"):
        Daemon(tmp_path / "nothing", "nothing")


def test_notes_of_the_engine_are_told_here(daemon: Daemon, caplog: pytest.LogCaptureFixture):
    """What the engine warns of goes to who asked, not to the daemon's log."""
    list(daemon.say("zxqv", seed=1))
    told = [record.getMessage() for record in caplog.records]
    engine = Engine.load(EMBEDDED, name=NANO)
    caplog.clear()
    list(engine.say("zxqv", seed=1))
    assert told == [record.getMessage() for record in caplog.records]


def test_a_daemon_that_ends_is_told_as_such(daemon: Daemon):
    sounds = daemon.say("turn on the kitchen light. " * 50)
    next(sounds)
    os.kill(running() or 0, signal.SIGKILL)
    with pytest.raises(DaemonError, match="ended in the middle"):
        list(sounds)
    while running():
        time.sleep(0.01)
    with pytest.raises(DaemonError, match="no daemon runs"):
        list(daemon.say("lights off"))


def test_progress_and_order_of_a_long_recording(daemon: Daemon):
    import soundfile

    pieces = [soundfile.read(path, dtype="float32")[0] for path in (SPEECH, OTHER)] * 3
    quiet = np.zeros(16_000, np.float32)
    sound = np.concatenate([part for piece in pieces for part in (piece, quiet)])
    items = list(daemon.spans((sound, 16_000)))
    done = [item.done for item in items if isinstance(item, Progress)]
    assert done == sorted(done)
    assert done[0] == 0.0
    assert done[-1] == pytest.approx(len(sound) / 16_000)  # float seconds
    assert len(Transcript.of(items).spans) == 6


def test_loading_the_client_loads_neither_mlx_nor_numpy():
    heavy = ("mlx", "numpy", "soundfile", "starlette", "uvicorn", "pydantic", "asyncio")
    code = (
        "import sys, lfm_daemon.client, lfm_daemon.launch, lfm_daemon.paths, lfm_daemon.keepalive\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


def test_the_supervisor_never_loads_mlx():
    code = "import sys, lfm_daemon.server; print('mlx' in sys.modules, 'mlx.core' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False False\n", result.stderr


def test_words_and_ends_are_of_the_kinds_that_are_told(daemon: Daemon):
    kinds = {type(item) for item in daemon.chat(seed=1).reply(SPEECH)}
    assert kinds == {Words, Sound, EndOfTurn}


def test_a_model_that_was_made_anew_is_loaded_anew(
    daemon: Daemon, tmp_path: Path, converted: dict[str, Path]
):
    """In the same place; weights that are open already would go on unseen."""
    shutil.copytree(EMBEDDED, tmp_path / "real")
    real = Daemon(tmp_path / "real", "real")
    words = real.hear(SPEECH).text
    shutil.rmtree(tmp_path / "real")
    shutil.copytree(converted["v1"], tmp_path / "real")
    assert Daemon(tmp_path / "real", "real").hear(SPEECH).text != words


def test_another_model_interrupts_a_long_transcription_which_loses_nothing(
    daemon: Daemon, engine: Engine, converted: dict[str, Path]
):
    import soundfile

    pieces = [soundfile.read(path, dtype="float32")[0] for path in (SPEECH, OTHER)] * 4
    quiet = np.zeros(16_000, np.float32)
    sound = np.concatenate([part for piece in pieces for part in (piece, quiet)]), 16_000
    items = daemon.spans(sound)
    heard = [next(items)]
    other = Daemon(converted["v1"], "other")
    (resident,) = ask("GET", "/api/ps")["models"]
    assert resident["name"] == str(converted["v1"].resolve())
    assert other.hear(SPEECH).text != engine.hear(SPEECH).text
    heard += items
    assert Transcript.of(heard) == engine.transcribe(sound)
