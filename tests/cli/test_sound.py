"""The loudspeaker and the microphone for real: PulseAudio plays what `lfm` says into our ears, and
says what we want into its microphone."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pulse import MICROPHONE_RATE, SPEAKER_RATE, Pulse

from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.errors import AudioError
from lfm_cli import microphone

Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]

LFM = [sys.executable, "-m", "lfm_cli"]
RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
SPEECH = RECORDINGS / "seen_04.wav"
SAID = "set a timer for twenty one minutes"
OTHER = RECORDINGS / "seen_00.wav"
OTHER_SAID = "alarm set for five thirty"
TEXT = "Turn off the office fan. Set a timer for twenty one minutes."
PATIENCE = 60.0
"""Seconds after which something that should have happened will not."""
STEP = 2 / 32768
"""The file and the loudspeaker hold 16 bits, each rounded in its own way."""


@pytest.fixture(scope="module")
def server(pulse: Pulse) -> Pulse:
    """The sound server, if PortAudio finds its way to it."""
    found = subprocess.run(
        [sys.executable, "-m", "sounddevice"],
        env={**os.environ, **pulse.environment},
        capture_output=True,
        text=True,
    )
    if "pulse" not in found.stdout:
        pytest.skip("PortAudio or ALSA's plugin for PulseAudio is not installed")
    return pulse


class Running:
    """A command under way, and the lines that it has written so far."""

    def __init__(self, server: Pulse, folder: Path, *arguments: str):
        self.process = subprocess.Popen(
            [*LFM, *arguments],
            cwd=folder,
            env={**os.environ, **server.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out: list[str] = []
        self.errors: list[str] = []
        streams = ((self.process.stdout, self.out), (self.process.stderr, self.errors))
        self._readers = [threading.Thread(target=self._read, args=each) for each in streams]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        with stream:
            lines.extend(line.rstrip("\n") for line in stream)

    def until(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < deadline, (self.out, self.errors)
            time.sleep(0.01)

    def interrupt(self) -> int:
        """Sends ctrl-C; the exit code. Again after a while: MLX's CPU backend runs its compiler
        through system(), which ignores interrupts meanwhile."""
        for _ in range(10):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(6)
                break
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        return code


@pytest.fixture
def start(server: Pulse, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts `lfm ARGUMENTS...` in `tmp_path`; what still runs afterwards is killed."""
    running: list[Running] = []

    def run(*arguments: str) -> Running:
        running.append(Running(server, tmp_path, *arguments))
        return running[-1]

    yield run
    for each in running:
        each.process.kill()
        each.wait()


# The loudspeaker


def sounding(samples: np.ndarray) -> tuple[int, int]:
    """Where sound begins and ends."""
    (found,) = np.nonzero(np.abs(samples) > STEP)
    return (int(found[0]), int(found[-1]) + 1) if found.size else (0, 0)


def offset(heard: np.ndarray, said: np.ndarray) -> int:
    """Where in `heard` something like `said` begins, by correlation."""
    size = len(heard) + len(said)
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size))
    return int(np.fft.irfft(spectrum, size)[: len(heard)].argmax())


@pytest.fixture(scope="module")
def heard(server: Pulse, tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """A text as it is in a file, and as the loudspeaker said it, from its beginning on."""
    folder = tmp_path_factory.mktemp("heard")
    ours = {"LFM_MODEL": "nano", "LFM_HOME": str(folder), "LFM_DAEMON": "off"}
    environment = {**os.environ, **server.environment, **ours}
    command = [*LFM, "-q", "say", TEXT, "--seed", "1"]
    filed = folder / "a.wav"
    subprocess.run([*command, "-o", str(filed)], env=environment, check=True)
    said = read_audio(filed, SPEAKER_RATE)
    # What has been made already, for a machine that is busy makes speech too slowly.
    play = [sys.executable, "-c", PLAY, str(filed)]
    everything = said[:0]
    for _ in range(3):
        with server.heard() as so_far:
            result = subprocess.run(play, env=environment, capture_output=True, text=True)
            time.sleep(0.5)  # for what is on its way
            everything = so_far()
        assert result.returncode == 0, result.stderr
        if "underrun" not in result.stderr:  # which ALSA says when others took the processor
            break
    return said, everything[offset(everything, said) :]


PLAY = f"""
import sys
import numpy as np
from lfm2audio_mlx.audio.files import read_audio
from lfm_cli.sound import sound_sink
with sound_sink(None, {SPEAKER_RATE}, instead="") as play:
    for piece in np.array_split(read_audio(sys.argv[1], {SPEAKER_RATE}), 30):
        play(piece)
"""


def same(played: np.ndarray, said: np.ndarray) -> bool:
    """Does it begin with that?"""
    return len(played) >= len(said) and bool(np.abs(played[: len(said)] - said).max() <= STEP)


def test_speech_is_heard_sample_for_sample_without_a_gap(heard: tuple[np.ndarray, np.ndarray]):
    """All but the end, of which another test tells; a gap would shift all that follows."""
    said, played = heard
    assert len(said) > 2 * SPEAKER_RATE
    assert np.abs(said).max() > 0.1
    assert same(played, said[: -SPEAKER_RATE // 10])


def test_speech_is_heard_to_the_end(heard: tuple[np.ndarray, np.ndarray]):
    said, played = heard
    assert same(played, said)
    assert not np.abs(played[len(said) :]).max(initial=0.0) > STEP


def test_the_loudspeakers_are_listed(lfm: Run, server: Pulse, document: Document):
    listed = lfm("say", "-a", "?", env=server.environment)
    assert (listed.returncode, listed.stderr) == (0, "")
    names = [line.split()[1] for line in listed.stdout.splitlines()]
    assert "pulse" in names
    told = document(lfm("say", "-a", "?", "--json", env=server.environment).stdout)
    assert [device["name"] for device in told["devices"]] == names
    assert sum(device["default"] for device in told["devices"]) == 1


@pytest.mark.parametrize("device", ["pulse", "number"])
def test_a_loudspeaker_can_be_chosen(lfm: Run, server: Pulse, device: str):
    told = lfm("say", "-a", "?", "--json", env=server.environment).stdout
    numbers = {entry["name"]: str(entry["number"]) for entry in json.loads(told)["devices"]}
    wish = numbers["pulse"] if device == "number" else device
    with server.heard() as so_far:
        result = lfm("say", "hello", "-a", wish, env=server.environment)
        assert result.returncode == 0
        time.sleep(0.3)
        begin, end = sounding(so_far())
    assert end - begin > SPEAKER_RATE // 5


@pytest.mark.parametrize("device", ["nonsense", "99"])
def test_a_loudspeaker_that_is_none_gets_one_line(lfm: Run, server: Pulse, device: str):
    result = lfm("say", "hello", "-a", device, env=server.environment)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"lfm: no loudspeaker '{device}' (")
    assert "-a '?'" in line


@pytest.mark.parametrize("after", [0.5, 3.5])
def test_an_interrupt_stops_the_loudspeaker_at_once(
    server: Pulse, start: Callable[..., Running], after: float
):
    """In the first sentence, and in the last when all has been made and waits to be heard."""
    with server.heard() as so_far:
        running = start("-q", "say", TEXT + " Turn off the kitchen light.", "--seed", "1")
        running.until(lambda: sounding(so_far())[1])
        time.sleep(after)
        before = len(so_far())
        assert running.interrupt() == 130
        time.sleep(1)
        begin, end = sounding(so_far())
    assert end - before < SPEAKER_RATE / 2
    assert end - begin < (after + 1.5) * SPEAKER_RATE  # it was in the middle
    assert running.out == []
    assert [line for line in running.errors if "underrun" not in line] == []


# The microphone


def recording(path: Path) -> np.ndarray:
    return read_audio(path, MICROPHONE_RATE)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * MICROPHONE_RATE), np.float32)


def listening(running: Running) -> None:
    running.until(lambda: "lfm: listening; ctrl-C ends it" in running.errors)


def test_what_is_said_is_written_down_at_each_pause_and_at_the_end(
    server: Pulse, start: Callable[..., Running]
):
    running = start("transcribe", "--mic")
    listening(running)
    server.speak(np.concatenate([recording(SPEECH), silence(1)]))
    running.until(lambda: running.out)
    assert running.out == [SAID]
    samples, _ = soundfile.read(OTHER, dtype="float32")
    server.speak(samples)  # which ends without a pause
    time.sleep(0.3)
    assert running.interrupt() == 0
    assert running.out == [SAID, OTHER_SAID]
    assert not any("zeros" in line for line in running.errors)


def test_a_dictation_goes_into_files(
    server: Pulse, start: Callable[..., Running], tmp_path: Path, document: Document
):
    running = start("transcribe", "--mic", "-f", "all", "-o", "out", "--json")
    listening(running)
    server.speak(np.concatenate([silence(1), recording(SPEECH)]))
    time.sleep(0.3)
    assert running.interrupt() == 0
    (line,) = running.out
    told = document(line)
    assert (told["file"], told["text"]) == ("microphone", SAID)
    (segment,) = told["segments"]
    # The stream of PulseAudio may begin a little before or after the first sample.
    assert 0.5 <= segment["start"] < segment["end"] <= told["duration"] <= 5.5
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name.rsplit(".")[-1] for name in names] == ["json", "srt", "tsv", "txt", "vtt"]
    assert all(name.startswith("dictation-20") for name in names)
    assert (tmp_path / "out" / names[3]).read_text() == f"{SAID}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_dictation_that_is_ended_from_outside_is_not_lost(
    server: Pulse, start: Callable[..., Running], tmp_path: Path, number: signal.Signals
):
    running = start("transcribe", "--mic", "-o", "out")
    listening(running)
    server.speak(np.concatenate([silence(1), recording(SPEECH)]))
    time.sleep(0.3)
    running.process.send_signal(number)
    running.wait()
    (path,) = (tmp_path / "out").iterdir()
    assert path.read_text() == f"{SAID}\n"


def test_a_microphone_of_zeros_is_told_of(server: Pulse, start: Callable[..., Running]):
    """That is what a Mac gives to a program that may not listen."""
    running = start("transcribe", "--mic")
    listening(running)
    server.speak(silence(microphone.SILENT_SECONDS + 1))
    running.until(lambda: f"lfm: {microphone.MUTED}" in running.errors)
    assert running.interrupt() == 0
    assert running.out == []
    assert running.errors.count(f"lfm: {microphone.MUTED}") == 1
    assert running.errors[-1] == "lfm: microphone: nobody speaks in it"


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_said(
    start: Callable[..., Running], tmp_path: Path
):
    (tmp_path / "file").touch()
    running = start("transcribe", "--mic", "-o", "file")
    with contextlib.suppress(AssertionError):  # which says that it has ended
        listening(running)
    assert running.process.poll() == 1
    assert not any("listening" in line for line in running.errors)


def test_what_was_said_before_the_interrupt_counts():
    """While the model hears a sentence, the next one is spoken and waits."""
    waiting: queue.Queue[np.ndarray] = queue.Queue()
    stop = threading.Event()
    rate = MICROPHONE_RATE
    blocks = microphone._blocks(waiting, rate, rate, stop, threading.Event())
    for number in range(5):
        waiting.put(np.full(160, number + 1, np.float32))
    got = [next(blocks)]
    stop.set()
    got += blocks
    assert [block[0] for block in got] == [1, 2, 3, 4, 5]


def test_what_is_done_meanwhile_is_done_only_while_nothing_is_to_be_heard():
    """And what is said during it waits."""
    waiting: queue.Queue[np.ndarray] = queue.Queue()
    stop, rate, done = threading.Event(), MICROPHONE_RATE, []

    def say(*numbers: int) -> None:
        for number in numbers:
            waiting.put(np.full(160, number, np.float32))

    def meanwhile() -> bool:
        done.append(waiting.qsize())
        if len(done) == 3:
            say(3, 4)
        if len(done) == 4:
            say(5)
            stop.set()
        return len(done) < 4

    say(1, 2)
    got = list(microphone._blocks(waiting, rate, rate, stop, threading.Event(), meanwhile))
    assert [block[0] for block in got] == [1, 2, 3, 4, 5]
    assert done == [0, 0, 0, 0]


def test_a_microphone_that_goes_away_is_noticed_and_what_it_heard_counts():
    waiting: queue.Queue[np.ndarray] = queue.Queue()
    gone = threading.Event()
    rate = MICROPHONE_RATE
    blocks = microphone._blocks(waiting, rate, rate, threading.Event(), gone)
    waiting.put(np.ones(160, np.float32))
    assert len(next(blocks)) == 160
    waiting.put(np.ones(80, np.float32))
    gone.set()
    assert len(next(blocks)) == 80
    with pytest.raises(AudioError, match="unplugged"):
        next(blocks)


def test_an_interrupt_ends_listening_though_the_microphone_goes_on():
    waiting: queue.Queue[np.ndarray] = queue.Queue()
    stop, over = threading.Event(), threading.Event()

    def go_on() -> None:
        while not over.wait(0.005):
            waiting.put(np.ones(80, np.float32))

    talking = threading.Thread(target=go_on)
    talking.start()
    try:
        blocks = microphone._blocks(
            waiting, MICROPHONE_RATE, MICROPHONE_RATE, stop, threading.Event()
        )
        next(blocks)
        hearing = threading.Thread(target=lambda: list(blocks), daemon=True)
        hearing.start()
        stop.set()
        hearing.join(5)
        assert not hearing.is_alive()
    finally:
        over.set()
        talking.join()
