"""Fine-tuning as a user runs it: it learns, goes on where it was, and what it writes is a
checkpoint like the one that it read."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest
from safetensors import safe_open

from lfm2audio_mlx.engine import Engine
from lfm_convert.convert import convert
from lfm_train.finetune import Tuning

ROOT = Path(__file__).parents[2]
SPEECH = ROOT / "tests" / "data" / "speech"
CONVERSATIONS = [
    [
        {"role": "system", "text": "Perform ASR."},
        {"role": "user", "audio": str(SPEECH / "time.flac")},
        {"role": "assistant", "text": "what time is it"},
    ],
    [
        {"role": "system", "text": "Perform TTS."},
        {"role": "user", "text": "what time is it"},
        {"role": "assistant", "audio": str(SPEECH / "time.flac")},
    ],
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps({"messages": m}) for m in CONVERSATIONS))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lfm_train", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "training")}
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=env, timeout=300)


def losses(work: Path) -> list[float]:
    with (work / "losses.csv").open() as file:
        return [float(row[1].removeprefix("loss=")) for row in csv.reader(file)]


def tensors(folder: Path) -> dict[str, mx.array]:
    loaded = mx.load(str(folder / "model.safetensors"))
    assert isinstance(loaded, dict)
    return loaded


def test_adapters_learn_and_are_merged(originals: dict[str, Path], data: Path, tmp_path: Path):
    source, target = originals["v1"], tmp_path / "tuned"
    options = ("--steps", 12, "--batch", 2, "--learning-rate", 5e-3, "--warmup", 2)
    result = run(source, data, target, *options)
    assert result.returncode == 0, result.stderr
    seen = losses(tmp_path / "tuned.work")
    assert seen[-1] < 0.8 * seen[0]
    before, after = tensors(source), tensors(target)
    assert before.keys() == after.keys()
    changed = {name for name in before if not mx.array_equal(before[name], after[name])}
    backbone = re.compile(r"lfm\.layers\.\d+\..*(proj|w[123])\.weight")
    assert changed == {name for name in before if backbone.fullmatch(name)}
    assert all(before[name].dtype == after[name].dtype for name in before)
    # And it is a checkpoint that converts and runs.
    Engine.load(convert(target, tmp_path / "converted", "f32")).hear(SPEECH / "light.flac")


def test_the_whole_model_learns_but_not_the_statistics_of_batch_norms(
    originals: dict[str, Path], data: Path, tmp_path: Path
):
    source, target = originals["v1"], tmp_path / "tuned"
    options = ("--steps", 2, "--batch", 2, "--learning-rate", 1e-3, "--warmup", 0)
    assert run(source, data, target, *options, "--rank", 0).returncode == 0
    before, after = tensors(source), tensors(target)
    same = {name for name in before if mx.array_equal(before[name], after[name])}
    buffers = r"codebook_offsets|audio_loss_weights|.*(running_(mean|var)|num_batches_tracked)"
    unread = r"audio_embedding\.(embedding_norm|to_logits)\.weight"
    assert all(re.fullmatch(f"{buffers}|{unread}", name) for name in same), same
    assert {name for name in before if "running_mean" in name} <= same


def test_ctrl_c_leaves_no_output_and_the_same_command_goes_on(
    originals: dict[str, Path], data: Path, tmp_path: Path
):
    target, work = tmp_path / "tuned", tmp_path / "work"
    arguments = (originals["v1"], data, target, "--work", work, "--batch", 1, "--save-every", 4)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "training")}
    long = command(*arguments, "--steps", 100_000)
    with subprocess.Popen(
        long, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env
    ) as going:
        while not list(work.glob("state-*")) and going.poll() is None:
            pass
        going.send_signal(signal.SIGINT)
        _, told = going.communicate(timeout=60)
    assert going.returncode == 130
    assert b"goes on from" in told and b"Traceback" not in told
    assert not target.exists()
    (first, *_) = sorted(int(path.stem[6:]) for path in work.glob("state-*"))
    result = run(*arguments, "--steps", first + 8)
    assert result.returncode == 0, result.stderr
    assert target.is_dir()


@pytest.mark.parametrize("fault", ["target", "data", "checkpoint", "converted"])
def test_faults_are_told_in_a_line(
    fault: str, originals: dict[str, Path], converted: dict[str, Path], data: Path, tmp_path: Path
):
    source, target = originals["v1"], tmp_path / "tuned"
    if fault == "target":
        target.mkdir()
    if fault == "data":
        data = tmp_path / "gone.jsonl"
    if fault == "checkpoint":
        source = tmp_path / "gone"
    if fault == "converted":
        source = converted["v1"]
    result = run(source, data, target)
    assert result.returncode == 1
    assert result.stderr.startswith("lfm_train: ") and result.stderr.count("\n") == 1
    assert fault == "target" or not target.exists()


def test_what_is_written_says_what_it_was(originals: dict[str, Path], data: Path, tmp_path: Path):
    target = tmp_path / "tuned"
    assert run(originals["v1"], data, target, "--steps", 1, "--batch", 1).returncode == 0
    with safe_open(target / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_page_has_every_option_and_no_other():
    """With its usual value, as the help has it."""
    page = (ROOT / "docs" / "training.md").read_text("utf-8")
    told = set(re.findall(r"^\| `(--[a-z-]+)` \|", page, re.MULTILINE))
    offered = set(re.findall(r"(--[a-z-]+) ", run("--help").stdout)) - {"--help"}
    warmup = {"--warmup"}  # told with the learning rate
    assert told | warmup == offered
    for name, value in re.findall(r"^\| `(--[a-z-]+)` \| ([\d.e-]+) \|", page, re.MULTILINE):
        field = name.removeprefix("--").replace("-", "_")
        assert float(value) == getattr(Tuning(), field)
