"""`lfm say`: texts from anywhere, speech into files of every ending, at any pace."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pexpect
import pytest
import soundfile

from lfm2audio_mlx.audio.files import WRITABLE, read_audio
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import AudioError
from lfm2audio_mlx.results import Sound
from lfm_cli.pace import FACTORS, paced
from lfm_cli.sound import sound_sink

Run = Callable[..., subprocess.CompletedProcess[str]]
Document = Callable[[str], dict[str, Any]]

LFM = [sys.executable, "-m", "lfm_cli"]
PATIENCE = 60.0
"""Seconds after which something that should have happened will not."""
RATE = 24_000
LONG = "Set a timer for twenty one minutes. " * 20
"""Most of a minute, so that there is a middle to be interrupted in."""

needs_encoder = pytest.mark.skipif(
    not (shutil.which("/usr/bin/afconvert") or shutil.which("ffmpeg")),
    reason="neither afconvert nor ffmpeg is here",
)


def spoken(lfm: Run, path: Path, *arguments: object, **more: Any) -> np.ndarray:
    """What the command speaks into a wav file, always with the same seed."""
    result = lfm("say", *arguments, "-o", path, "--seed", 1, **more)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    samples, rate = soundfile.read(path)
    assert rate == RATE
    return samples


def one_line(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("lfm: ")
    for part in parts:
        assert part in line


def start(folder: Path, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LFM, "-q", "say", *arguments],
        cwd=folder,
        stdin=more.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def ended(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    """Sends a signal until the process has ended: MLX's CPU backend runs its compiler through
    system(), which ignores interrupts meanwhile. Its exit code, stdout and stderr."""
    for _ in range(20):
        process.send_signal(number)
        try:
            out, errors = process.communicate(timeout=3)
        except subprocess.TimeoutExpired:
            continue
        return process.returncode, out, errors
    raise AssertionError("it does not end")


def typing(folder: Path, *arguments: str) -> "pexpect.spawn[str]":
    """The same at a terminal."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "lfm_cli", "say", *arguments],
        cwd=str(folder),
        env={**os.environ, "TERM": "xterm"},
        encoding="utf-8",
        timeout=PATIENCE,
    )


def until(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def unfinished(folder: Path) -> list[Path]:
    """The files that are being written, of which there is something already."""
    return [path for path in folder.iterdir() if path.name[0] == "." and path.stat().st_size > 5000]


# Files


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(f"a{suffix}", marks=[needs_encoder] if suffix == ".m4a" else [])
        for suffix in sorted({*WRITABLE, ".WAV"})
    ],
)
def test_the_ending_chooses_the_format(nano: Engine, tmp_path: Path, name: str):
    said = 0
    with sound_sink(tmp_path / name, nano.sample_rate, instead="") as play:
        for sound in nano.say("turn off the fan", seed=1):
            said += len(sound.samples)
            play(sound.samples)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    head = (tmp_path / name).read_bytes()[:12]
    marks = {
        "wav": b"RIFF",
        "flac": b"fLaC",
        "ogg": b"OggS",
        "opus": b"OggS",
        "aif": b"FORM",
        "aiff": b"FORM",
        "m4a": b"ftyp",
        "mp3": b"\xff",
    }
    assert marks[name[2:].lower()] in head
    heard = read_audio(tmp_path / name, RATE)
    # An encoder's frames and delay: at most 0.1 s at either end.
    assert abs(len(heard) - said) <= 0.2 * RATE
    assert heard.std() > 0.01


@needs_encoder
def test_a_file_is_told_of_in_json(lfm: Run, tmp_path: Path, document: Document):
    result = lfm("say", "turn off the fan", "-v", "us-male", "-o", "a.m4a", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    told = document(result.stdout)
    assert (told["kind"], told["file"], told["voice"]) == ("speech", "a.m4a", "us-male")
    heard = len(read_audio(tmp_path / "a.m4a", RATE)) / RATE
    assert told["seconds"] == pytest.approx(heard, abs=0.2)


def test_words_need_no_quotes_and_a_seed_makes_the_same_sound(lfm: Run, tmp_path: Path):
    one = spoken(lfm, tmp_path / "a.wav", "alarm", "set", "for", "seven")
    assert np.array_equal(one, spoken(lfm, tmp_path / "b.wav", "alarm set for seven"))
    assert 0.5 < len(one) / RATE < 10
    assert one.std() > 0.01


REFUSED: dict[str, tuple[list[object], list[str]]] = {
    "empty": ([" "], ["empty"]),
    "ending": (["hello", "-o", "a.xyz"], ["a.xyz", "cannot write"]),
    "no folder": (["hello", "-o", "no/a.wav"], ["no/a.wav", "does not exist"]),
    "folder": (["hello", "-o", ".wav"], [".wav"]),
    "voice": (["hello", "-v", "nobody"], ["nobody", "us-male, uk-female"]),
    "seed": (["hello", "--seed", 1 << 64], ["seed"]),
    "no text": (["-f", "missing.txt"], ["missing.txt: cannot be read: No such file"]),
    "folder as text": (["-f", "."], [".: cannot be read: Is a directory"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_said_gets_one_line_and_leaves_nothing(lfm: Run, tmp_path: Path, case: str):
    arguments, parts = REFUSED[case]
    one_line(lfm("say", "-o", "a.wav", *arguments), *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["hello", "-f", "a.txt"], ["-i", "hello"], ["-i", "-f", "a.txt"], ["-r", "10"]]
)
def test_two_things_at_once_are_wrong_usage(lfm: Run, tmp_path: Path, arguments: list[str]):
    result = lfm("say", *arguments, "-o", "a.wav")
    assert (result.returncode, result.stdout) == (2, "")
    assert list(tmp_path.iterdir()) == []


# Where the text comes from


def test_a_text_is_the_same_from_wherever_it_comes(lfm: Run, tmp_path: Path):
    text = "turn off the fan"
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())  # as Windows writes it
    out = tmp_path / "a.wav"
    expected = spoken(lfm, out, text)
    for arguments, stdin in (
        (["-f", "a.txt"], None),
        (["-f", "-"], text),
        (["-"], text),
        ([], text),
        (["-i"], text),
    ):
        assert np.array_equal(spoken(lfm, out, *arguments, input=stdin or ""), expected), arguments


def test_a_file_that_holds_no_text_gets_one_line(lfm: Run, tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    one_line(lfm("say", "-f", "a.txt", "-o", "a.wav"), "a.txt: is no text in UTF-8")
    (tmp_path / "a.txt").write_bytes(b" \n")
    one_line(lfm("say", "-f", "a.txt", "-o", "a.wav"), "empty")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("option", ["-", "-i"])
def test_stdin_that_holds_no_text_gets_one_line(tmp_path: Path, option: str):
    """Where stdin is strict, as in the UTF-8 locales of a Mac."""
    result = subprocess.run(
        [*LFM, "-q", "say", option, "-o", "a.wav"],
        cwd=tmp_path,
        capture_output=True,
        input=b"caf\xe9\n",
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert result.returncode == 1
    assert b"fault of lfm" not in result.stderr
    assert b"UTF-8" in result.stderr


def test_without_a_text_on_a_terminal_it_asks_for_one(tmp_path: Path):
    child = typing(tmp_path)
    shown = child.read()
    child.close()
    assert child.exitstatus == 2
    assert "what should be said?" in shown


def test_each_line_is_said_as_it_comes(tmp_path: Path):
    """The second line comes after the first was spoken; both are in the file."""
    process = start(tmp_path, "-i", "-o", "a.wav", stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write("turn off the fan\n\n  \n")
    process.stdin.flush()
    until(lambda: unfinished(tmp_path), process)
    (growing,) = unfinished(tmp_path)
    time.sleep(0.5)
    first = growing.stat().st_size
    process.stdin.write("alarm set for seven")
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, errors) == (0, "", "")
    assert (tmp_path / "a.wav").stat().st_size > first + RATE  # half a second more


def test_a_line_without_words_does_not_end_the_session(lfm: Run, tmp_path: Path):
    result = lfm("say", "-i", "-o", "a.wav", input="\N{SLIGHTLY SMILING FACE}\nturn off the fan\n")
    assert (result.returncode, result.stdout) == (0, "")
    (line,) = result.stderr.splitlines()
    assert "nothing to say" in line
    assert soundfile.info(tmp_path / "a.wav").duration > 0.5


def test_a_prompt_is_shown_where_somebody_types(tmp_path: Path):
    child = typing(tmp_path, "-i", "-o", "a.wav")
    child.expect_exact("> ")
    child.sendline("turn off the fan")
    child.expect_exact("> ")
    child.sendeof()
    child.read()
    child.close()
    assert child.exitstatus == 0
    assert soundfile.info(tmp_path / "a.wav").duration > 0.5


def test_numbers_are_read_as_people_say_them_unless_raw(lfm: Run, tmp_path: Path):
    out = tmp_path / "a.wav"
    words = spoken(lfm, out, "seven")
    assert np.array_equal(spoken(lfm, out, "7"), words)
    assert not np.array_equal(spoken(lfm, out, "7", "--raw"), words)


# Lists


def test_voices_are_listed(lfm: Run, document: Document):
    listed = lfm("say", "-v", "?")
    assert (listed.returncode, listed.stdout, listed.stderr) == (0, "us-male\nuk-female\n", "")
    told = document(lfm("say", "-v", "?", "--json").stdout)
    assert (told["voices"], told["described"]) == (["us-male", "uk-female"], False)


def test_loudspeakers_are_listed_or_there_are_none(lfm: Run, document: Document):
    result = lfm("say", "-a", "?", "--json")
    if "apt install libportaudio2" in result.stderr:
        pytest.skip("PortAudio is not installed")
    told = document(result.stdout)
    listed = lfm("say", "-a", "?").stdout.splitlines()
    assert len(listed) == len(told["devices"])
    for line, device in zip(listed, told["devices"], strict=True):
        assert line.split()[0] == str(device["number"])
        assert device["name"] in line
        assert line.endswith("default") == device["default"]


# Pace


@pytest.mark.parametrize("wanted", [110, 200])
def test_words_a_minute_are_as_wished_for(
    lfm: Run, tmp_path: Path, document: Document, wanted: int
):
    """Numbers count as the words that are said: eleven here."""
    text = "Set a timer for 21 minutes. Alarm set for seven."
    result = lfm("say", text, "-o", "a.wav", "--rate", wanted, "--seed", 1, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    seconds = document(result.stdout)["seconds"]
    assert seconds == pytest.approx(11 / wanted * 60, rel=0.03)  # as documented
    assert soundfile.info(tmp_path / "a.wav").duration == pytest.approx(seconds, abs=0.001)


def tone(frequency: float, seconds: float) -> np.ndarray:
    times = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def pieces(samples: np.ndarray, sentence: int, text: str = "one two") -> list[Sound]:
    """Speech as it comes from the codec, 80 ms at a time."""
    return [
        Sound(samples[at : at + 1920], RATE, sentence, 2, text)
        for at in range(0, len(samples), 1920)
    ]


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_the_pitch_stays(factor: float):
    """Of a tone of a second; its strongest frequency is found to the nearest 1 / seconds Hz."""
    (sound,) = paced(pieces(tone(440, 1.0), 0), 120 * factor)
    assert len(sound.samples) == pytest.approx(RATE / factor, abs=1)
    strength = np.abs(np.fft.rfft(sound.samples))
    assert strength.argmax() * RATE / len(sound.samples) == pytest.approx(440, abs=1.5 * factor)
    assert sound.samples.std() == pytest.approx(0.3 / 2**0.5, rel=0.1)  # and the loudness


def test_each_sentence_has_its_own_pace_and_comes_when_it_is_made():
    made: list[int] = []

    def speaking() -> Any:
        for number, seconds in enumerate((1.0, 4.0)):
            made.append(number)
            yield from pieces(tone(220, seconds), number, "one two three")

    sounds = paced(speaking(), 90)
    first = next(sounds)
    assert made == [0, 1]  # the second has begun, not ended
    second = next(sounds)
    assert [first.sentence, second.sentence] == [0, 1]
    for sound in (first, second):  # three words at 90 a minute
        assert len(sound.samples) / RATE == pytest.approx(2.0, abs=0.001)


def test_a_pace_that_nobody_understands_is_not_reached():
    (slow,) = paced(pieces(tone(220, 1.0), 0), 1)
    (fast,) = paced(pieces(tone(220, 1.0), 0), 10_000)
    assert len(slow.samples) == pytest.approx(RATE / FACTORS[0], abs=1)
    assert len(fast.samples) == pytest.approx(RATE / FACTORS[1], abs=1)


def test_no_seam_clicks():
    """A sentence that begins and ends in full swing is faded in and out."""
    for sound in paced([*pieces(tone(440, 0.5), 0), *pieces(tone(440, 0.5), 1)], 180):
        assert sound.samples[0] == sound.samples[-1] == 0
        assert np.abs(sound.samples[:12]).max() < 0.1
        assert np.abs(np.diff(sound.samples)).max() < 0.06  # the tone's own steps: 0.035


# Progress


@pytest.mark.parametrize("quiet", [True, False])
def test_progress_writes_nothing_into_a_pipe(tmp_path: Path, quiet: bool):
    command = [*LFM, *(["-q"] if quiet else []), "say", "turn off the fan", "-o", "a.wav"]
    result = subprocess.run([*command, "--progress"], cwd=tmp_path, capture_output=True)
    without = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert (result.returncode, result.stdout) == (0, b"")
    assert result.stderr == without.stderr
    assert b"speaking" not in result.stderr


def test_progress_is_shown_on_a_terminal_and_only_when_asked_for(tmp_path: Path):
    for options in (["--progress"], []):
        child = typing(tmp_path, "turn off the fan", "-o", "a.wav", *options)
        shown = child.read()
        child.close()
        assert child.exitstatus == 0
        assert ("speaking" in shown) == bool(options)


# Interruptions


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("name", ["a.wav", pytest.param("a.m4a", marks=needs_encoder)])
def test_a_file_holds_what_was_spoken_until_the_interruption(
    tmp_path: Path, number: signal.Signals, code: int, name: str
):
    process = start(tmp_path, LONG, "-o", name)
    until(lambda: unfinished(tmp_path), process)
    (growing,) = unfinished(tmp_path)
    begun = (growing.stat().st_size - 44) / 2 / RATE
    assert ended(process, number) == (code, "", "")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    heard = read_audio(tmp_path / name, RATE)  # which refuses files that are not whole
    assert begun <= len(heard) / RATE < 40
    assert heard.std() > 0.01


def test_a_file_of_before_is_replaced_only_by_speech(tmp_path: Path):
    """Interrupted while it waits for the first line: nothing was spoken."""
    (tmp_path / "a.wav").write_bytes(b"before")
    child = typing(tmp_path, "-i", "-o", "a.wav")
    child.expect_exact("> ")
    child.timeout = 3
    for _ in range(20):
        child.sendintr()  # lost if it comes between the prompt and the waiting for a line
        if child.expect([pexpect.EOF, pexpect.TIMEOUT]) == 0:
            break
    child.close()
    assert child.exitstatus == 130
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == b"before"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, AudioError])
def test_before_the_first_sound_there_is_no_file(tmp_path: Path, interruption: type[BaseException]):
    with pytest.raises(interruption), sound_sink(tmp_path / "a.wav", RATE, instead=""):
        raise interruption
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_middle_is_no_interruption(tmp_path: Path):
    """Half an answer must not pass for a whole one."""
    with pytest.raises(AudioError), sound_sink(tmp_path / "a.wav", RATE, instead="") as play:
        play(tone(440, 0.5))
        raise AudioError("something else")
    assert list(tmp_path.iterdir()) == []


def test_text_without_blanks_has_words_too():
    """Two characters are about a word: ten of them in two seconds are 150 a minute."""
    (sound,) = paced(pieces(tone(220, 2.0), 0, "今日は良い天気ですね"), 150)
    assert len(sound.samples) / RATE == pytest.approx(2.0, abs=0.01)
