"""The commands do their jobs, and bad input gets one line, a failing exit code, nothing else."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lfm2audio_mlx.installed import EMBEDDED

Run = Callable[..., subprocess.CompletedProcess[str]]


def one_line(result: subprocess.CompletedProcess[str], *parts: str, code: int = 1) -> None:
    """A failure as it should be: one line on stderr that has all of `parts`, and no more."""
    assert result.returncode == code, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("lfm: ")
    for part in parts:
        assert part in line
    assert "Traceback" not in result.stderr


# transcribe


def wav(path: Path, samples: np.ndarray, rate: int = 16_000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    shape = (int(16_000 * seconds), channels)
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.wav": (lambda p: p.write_bytes(b""), "is empty"),
    "text.wav": (lambda p: p.write_text("not a sound"), "not a sound file"),
    "short.wav": (lambda p: wav(p, noise(0.01)), "of sound, too short"),
    "silent.wav": (lambda p: wav(p, noise(0)), "too short"),
    "nan.wav": (lambda p: wav(p, noise(1) * np.nan, subtype="FLOAT"), "not finite"),
    "inf.wav": (lambda p: wav(p, noise(1) * np.inf, subtype="FLOAT"), "not finite"),
    "cut.wav": (lambda p: wav(p, noise(1)).write_bytes(p.read_bytes()[:9000]), "truncated"),
    "folder.wav": (lambda p: p.mkdir(), "is a folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recording_gets_one_line(lfm: Run, tmp_path: Path, name: str):
    make, message = BAD[name]
    make(tmp_path / name)
    for command in (["transcribe", name], ["chat", "--once", name, "-o", "out.wav"]):
        result = lfm(*command)
        one_line(result, name, message)
        assert result.stdout == ""
        assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.wav/inside.wav", "x" * 300 + ".wav"])
def test_an_unreadable_recording_gets_one_line(lfm: Run, tmp_path: Path, name: str):
    wav(tmp_path / "a.wav", noise(1))
    one_line(lfm("transcribe", name), name, "cannot be opened")


@pytest.mark.parametrize(
    ("rate", "channels"), [(192_000, 1), (48_000, 2), (16_000, 8), (22_050, 1)]
)
def test_any_rate_and_number_of_channels_is_heard(
    lfm: Run, tmp_path: Path, transcripts: dict[Path, str], rate: int, channels: int
):
    """A recorder's file is no bad input: channels are averaged, the rate is changed."""
    import soxr

    path, text = next(iter(transcripts.items()))
    samples, original = soundfile.read(path, dtype="float32")
    resampled = soxr.resample(samples, original, rate)
    wav(tmp_path / "odd.wav", np.tile(resampled[:, None], (1, channels)), rate)
    result = lfm("transcribe", "odd.wav")
    assert (result.returncode, result.stdout) == (0, f"{text}\n")


def test_the_name_of_a_file_does_not_matter(lfm: Run, tmp_path: Path, transcripts: dict[Path, str]):
    path, text = next((p, t) for p, t in transcripts.items() if p.suffix == ".flac")
    (tmp_path / "misnamed.wav").write_bytes(path.read_bytes())
    assert lfm("transcribe", "misnamed.wav").stdout == f"{text}\n"


# models


def test_a_folder_that_is_no_model_gets_one_line(
    lfm: Run, tmp_path: Path, transcripts: dict[Path, str]
):
    (tmp_path / "nothing").mkdir()
    path = next(iter(transcripts))
    result = lfm("transcribe", path, "--model", "nothing")
    one_line(result, "nothing/config.json", "lfm convert", code=3)
    result = lfm("say", "hello", "-o", "a.wav", "--model", "nothing")
    one_line(result, "nothing/config.json", code=3)
    assert not (tmp_path / "a.wav").exists()


def test_an_original_checkpoint_is_told_to_be_converted(
    lfm: Run, originals: dict[str, Path], transcripts: dict[Path, str]
):
    result = lfm("transcribe", next(iter(transcripts)), "--model", originals["v1"])
    one_line(result, "config.json", "lfm convert SRC DST", code=3)


def test_a_damaged_weight_file_is_named(
    lfm: Run, copy_of: Callable[[Path], Path], transcripts: dict[Path, str]
):
    folder = copy_of(EMBEDDED)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    result = lfm("transcribe", next(iter(transcripts)), "--model", folder)
    one_line(result, "model.safetensors", "damaged", code=3)


# chat


def test_a_spoken_question_is_answered(lfm: Run, tmp_path: Path, transcripts: dict[Path, str]):
    question = next(path for path in transcripts if path.stem == "seen_04")
    result = lfm("chat", "--once", question, "-o", "answer.wav", "--seed", 1)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "timer set for twenty one minutes\n"
    assert soundfile.info(tmp_path / "answer.wav").duration > 1


def test_an_answer_can_do_without_a_loudspeaker(lfm: Run, transcripts: dict[Path, str]):
    question = next(path for path in transcripts if path.stem == "seen_04")
    result = lfm("chat", "--once", question, "--no-audio")
    assert (result.returncode, result.stderr) == (0, "")


def test_no_answer_is_a_failure_that_says_so(lfm: Run, silence: Path, tmp_path: Path):
    one_line(lfm("chat", "--once", silence, "-o", "a.wav"), "gave no answer")
    assert list(tmp_path.iterdir()) == []


def test_a_question_that_looks_like_a_file_must_be_one(lfm: Run):
    one_line(lfm("chat", "--once", "question.wav", "--no-audio"), "question.wav", "no such file")


# convert


@pytest.mark.parametrize("bits", [4, 32])
def test_a_converted_checkpoint_hears_and_speaks(
    lfm: Run, tmp_path: Path, transcripts: dict[Path, str], bits: int
):
    result = lfm("convert", EMBEDDED, "model", "--bits", bits)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("model: ")
    path, text = next(iter(transcripts.items()))
    assert lfm("transcribe", path, "--model", "model").stdout == f"{text}\n"
    assert lfm("say", "hello", "-o", "a.wav", "--model", "model").returncode == 0
    assert soundfile.info(tmp_path / "a.wav").frames > 0


def test_a_checkpoint_that_is_none_gets_one_line(lfm: Run, tmp_path: Path):
    one_line(lfm("convert", "nothing", "model"), "nothing", "is not a folder")
    (tmp_path / "empty").mkdir()
    one_line(lfm("convert", "empty", "model"), "empty/config.json", "not there")
    one_line(lfm("convert", EMBEDDED, "empty"), "empty", "exists already")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_report_shows_each_part_beside_plain_rounding(lfm: Run, tmp_path: Path):
    result = lfm("convert", EMBEDDED, "model", "--recipe", "4bit", "--report")
    assert (result.returncode, result.stderr) == (0, "")
    for part in ("encoder", "text embedding", "backbone", "depthformer", "codec"):
        assert part in result.stdout
    assert "plain rounding" in result.stdout


def test_calibration_uses_recordings_and_reports_what_changes(
    lfm: Run, tmp_path: Path, transcripts: dict[Path, str]
):
    (tmp_path / "speech").mkdir()
    for path in list(transcripts)[:2]:
        (tmp_path / "speech" / path.name).symlink_to(path)
    command = ["convert", EMBEDDED, "model", "--calibrate", "speech", "--report"]
    result = lfm(*command)
    assert (result.returncode, result.stderr) == (0, "")
    assert "on 2 recordings: KL of the text logits" in result.stdout
    one_line(lfm("convert", EMBEDDED, "b", "--calibrate", "nothing"), "nothing", "not a folder")


# verify


def test_a_model_is_verified_and_one_flipped_byte_is_named(lfm: Run, tmp_path: Path):
    assert lfm("convert", EMBEDDED, "model").returncode == 0
    result = lfm("verify", "model")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "self-test: ok"
    path = tmp_path / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = lfm("verify", "model")
    one_line(result, "model", "1 of its checks failed")
    assert "model.safetensors: is damaged" in result.stdout
    assert "mimi.safetensors: ok" in result.stdout


def test_the_embedded_checkpoint_verifies(lfm: Run):
    assert lfm("verify", "nano").returncode == 0


# usage


def test_wrong_usage_exits_with_2(lfm: Run):
    for arguments in (["transcribe"], ["convert", "a"], ["nonsense"]):
        assert lfm(*arguments).returncode == 2


@pytest.mark.parametrize("command", ["transcribe", "say", "chat", "convert", "verify"])
def test_help_has_an_example(lfm: Run, command: str):
    result = lfm(command, "--help")
    assert result.returncode == 0
    assert f"Example: lfm {command}" in result.stdout


def test_a_pipe_can_be_heard(transcripts: dict[Path, str]):
    path, text = next(iter(transcripts.items()))
    shell = f"cat {path} | {sys.executable} -m lfm_cli -q transcribe /dev/stdin"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{text}\n", "")


@pytest.mark.parametrize("surroundings", ["<&-", ">/dev/full"])
def test_odd_surroundings_get_no_traceback(transcripts: dict[Path, str], surroundings: str):
    path, text = next(iter(transcripts.items()))
    shell = f"{sys.executable} -m lfm_cli -q transcribe {path} {surroundings}"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=120)
    if surroundings == "<&-":
        assert (result.returncode, result.stdout) == (0, f"{text}\n")
    else:
        assert result.returncode == 1
        assert result.stderr == "lfm: [Errno 28] No space left on device\n"


def test_a_reader_that_goes_away_gets_no_traceback(transcripts: dict[Path, str]):
    files = " ".join(str(path) for path in list(transcripts)[:3])
    shell = f"{sys.executable} -m lfm_cli -q transcribe {files} | true"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=120)
    assert result.stderr == ""


def test_starting_up_loads_neither_mlx_nor_numpy(tmp_path: Path):
    heavy = "[name for name in ('mlx', 'numpy', 'soundfile') if name in sys.modules]"
    code = f"import sys, lfm_cli.app; print({heavy})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
