"""`lfm pull`, `list`, `show`, `rm`, and `--model NAME`, with a small hub on loopback."""

import contextlib
import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from hub import Hub
from lfm2audio_mlx import installed
from lfm2audio_mlx.installed import EMBEDDED
from lfm_cli.terminal import megabytes
from lfm_convert import store

Run = Callable[..., subprocess.CompletedProcess[str]]

REPOSITORY = "somebody/Commands"
"""The embedded checkpoint in full precision, as a repository: it can be heard with."""

LFM = [sys.executable, "-m", "lfm_cli"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LFM_MODEL", "LFM_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LFM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    return tmp_path / "home"


@pytest.fixture
def hub(
    originals: dict[str, Path], unrounded: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Hub]:
    repositories = {REPOSITORY: unrounded, "LiquidAI/LFM2.5-Audio-1.5B": originals["v25"]}
    with Hub(repositories) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def closed_port() -> int:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return closed.getsockname()[1]


def one_line(result: subprocess.CompletedProcess[str], *parts: str, code: int = 1) -> None:
    assert result.returncode == code, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("lfm: ")
    for part in parts:
        assert part in line


def rows(result: subprocess.CompletedProcess[str]) -> list[list[str]]:
    assert (result.returncode, result.stderr) == (0, "")
    return [line.split() for line in result.stdout.splitlines()]


# pull


def test_what_was_pulled_hears_without_any_connection(
    lfm: Run, hub: Hub, home: Path, transcripts: dict[Path, str], monkeypatch: pytest.MonkeyPatch
):
    """Not even an attempt: Python reports each to the audit hook."""
    result = lfm("pull", REPOSITORY, "--recipe", "bf16")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].startswith("commands: ")
    hub.stop()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    path, text = next(iter(transcripts.items()))
    code = f"""
import sys
def forbid(event, arguments):
    if event.startswith("socket."):
        raise SystemExit(f"network: {{event}} {{arguments}}")
sys.addaudithook(forbid)
sys.argv = ["lfm", "transcribe", {str(path)!r}, "--model", "commands"]
from lfm_cli.app import main
main()
"""
    command = [sys.executable, "-c", code]
    heard = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (heard.returncode, heard.stdout, heard.stderr) == (0, f"{text}\n", "")


def test_a_model_comes_goes_and_is_told_of(lfm: Run, hub: Hub, home: Path, tmp_path: Path):
    result = lfm("pull")  # the default
    assert (result.returncode, result.stderr) == (0, "")
    names = [line[:1] for line in rows(lfm("list"))]
    assert names == [["NAME"], ["nano"], ["lfm2.5-audio-1.5b"]]
    shown = lfm("show", "lfm2.5-audio-1.5b").stdout
    for text in ("LiquidAI/LFM2.5-Audio-1.5B", hub.commit, "4bit", "LFM Open License v1.0"):
        assert text in shown
    assert "detokenizer at" in shown
    assert "model.lfm" in shown
    again = subprocess.run([*LFM, "pull"], capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (0, result.stdout)
    assert again.stderr.startswith("lfm: lfm2.5-audio-1.5b: installed already")
    gone = lfm("rm", "lfm2.5-audio-1.5b", "--yes")
    assert (gone.returncode, gone.stdout, gone.stderr) == (0, "lfm2.5-audio-1.5b: removed\n", "")
    assert len(rows(lfm("list"))) == 2
    assert not any(path.is_file() and path.stat().st_size for path in home.rglob("*"))
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "hf"}


def test_a_recipe_a_name_and_the_original_as_asked(lfm: Run, hub: Hub, unrounded: Path):
    arguments = ("--recipe", "bf16", "--name", "mine", "--keep-original")
    command = [*LFM, "pull", f"{REPOSITORY}@{hub.commit}", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith("mine: ")
    (kept,) = store.originals_folder().iterdir()
    assert str(kept) in result.stderr
    assert (kept / "model.safetensors").read_bytes() == (
        unrounded / "model.safetensors"
    ).read_bytes()
    listed = lfm("list").stdout
    size = megabytes(sum(path.stat().st_size for path in unrounded.iterdir()))
    assert f"bf16    {REPOSITORY}@{hub.commit[:12]}\n" in listed
    assert f"{size} of originals and unfinished downloads in {kept.parent}\n" in listed


def test_an_interrupted_download_goes_on_where_it_was(lfm: Run, hub: Hub):
    hub.stall["model.safetensors"] = 15_000_000
    process = subprocess.Popen([*LFM, "pull", REPOSITORY], stderr=subprocess.PIPE, text=True)
    assert hub.stalled.wait(30)
    (part,) = [path for path in store.originals_folder().rglob("*.part") if wait_for(path)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert installed.models() == []
    kept = part.stat().st_size
    hub.released.set()
    hub.stall.clear()
    assert lfm("pull", REPOSITORY, "--recipe", "f32").returncode == 0
    assert hub.asked("model.safetensors")[-1].range == f"bytes={kept}-"
    assert kept == 10 * 1024 * 1024  # as much as the client hands over at a time


def wait_for(path: Path) -> bool:
    """Until the client has written its first piece."""
    for _ in range(500):
        if path.name.startswith("model.") and path.stat().st_size:
            return True
        time.sleep(0.01)
    return False


def test_a_terminal_gets_progress(hub: Hub):
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [*LFM, "pull", REPOSITORY, "--recipe", "f32"]
    process = subprocess.Popen(command, stderr=terminal, stdout=terminal)
    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while piece := os.read(main, 1 << 16):
            seen += piece
    os.close(main)
    assert process.wait(30) == 0
    assert b"model.safetensors" in seen
    assert b"100%" in seen
    assert b"converting" in seen


REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "repository": (("a/b",), ("a/b: there is no such repository",)),
    "revision": ((f"{REPOSITORY}@x",), ("no revision 'x'", REPOSITORY)),
    "name": ((REPOSITORY, "--name", "../a"), ("'../a' cannot be a model's name",)),
    "embedded": ((REPOSITORY, "--name", "nano"), ("'nano' is the embedded",)),
    "nonsense": (("nonsense",), ("'nonsense' is no folder", "lfm2.5-audio-1.5b")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_pull_that_cannot_be_gets_one_line(lfm: Run, hub: Hub, name: str):
    arguments, parts = REFUSED[name]
    one_line(lfm("pull", *arguments), *parts)
    assert installed.models() == []


def test_offline_or_cut_off_gets_one_line(lfm: Run, monkeypatch: pytest.MonkeyPatch):
    one_line(lfm("pull"), "no connection to 127.0.0.1:", "refused")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    one_line(lfm("pull"), "HF_HUB_OFFLINE=1 forbids the network")
    monkeypatch.setenv("LFM_OFFLINE", "true")
    one_line(lfm("pull"), "LFM_OFFLINE=true forbids the network")


def test_a_hub_that_goes_away_gets_one_line_and_is_gone_on_from(lfm: Run, hub: Hub):
    """Cut in the middle, and then not there for as long as the client tries."""
    hub.cut["model.safetensors"] = 15_000_000
    process = subprocess.Popen([*LFM, "-q", "pull", REPOSITORY], stderr=subprocess.PIPE, text=True)
    while not any("/cdn/" in r.path and r.path.endswith("model.safetensors") for r in hub.requests):
        assert process.poll() is None
    hub.refuse[f"{hub.commit}/model.safetensors"] = (502, "")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert "model.safetensors" in line
    hub.refuse.clear()
    assert lfm("pull", REPOSITORY, "--recipe", "f32").returncode == 0
    assert hub.asked("model.safetensors")[-1].range == f"bytes={10 * 1024 * 1024}-"


# list, show, rm


def install(name: str, copy_of: Callable[[Path], Path]) -> Path:
    folder = installed.models_folder() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    return copy_of(EMBEDDED).rename(folder)


def test_a_broken_model_is_listed_and_named(
    lfm: Run, copy_of: Callable[[Path], Path], transcripts: dict[Path, str]
):
    folder = install("bad", copy_of)
    (folder / "mimi.safetensors").write_bytes(b"")
    listed = lfm("list")
    assert listed.returncode == 0
    assert "bad" in listed.stdout
    assert "broken: " in listed.stdout
    assert "mimi.safetensors: damaged" in listed.stdout
    assert "broken: " in lfm("show", "bad").stdout
    heard = lfm("transcribe", next(iter(transcripts)), "-m", "bad")
    one_line(heard, "mimi.safetensors", code=3)
    assert lfm("rm", "bad", "--yes").returncode == 0


def test_the_embedded_checkpoint_is_shown(lfm: Run):
    listed = rows(lfm("list"))
    size = megabytes(sum(path.stat().st_size for path in EMBEDDED.iterdir()))
    assert listed[1][:3] == ["nano", *size.split()]
    shown = lfm("show", "nano")
    assert "6 layers of 192 (3 conv, 3 attention)" in shown.stdout
    assert "us-male, uk-female" in shown.stdout
    assert lfm("show", EMBEDDED).stdout == shown.stdout
    one_line(lfm("rm", "nano", "--yes"), "'nano' ships with the package")


def test_bits_are_told_part_by_part(lfm: Run):
    assert lfm("convert", EMBEDDED, "four", "--recipe", "4bit").returncode == 0
    bits = {row[0]: row[1:] for row in rows(lfm("show", "four")) if row}
    assert bits["model.lfm"][0] == "4"
    assert "6" in bits["model.lfm"]
    assert bits["all"] == ["else", "bfloat16"]


def test_what_is_not_there_gets_one_line_and_nothing_is_removed(
    lfm: Run, copy_of: Callable[[Path], Path]
):
    folder = install("good", copy_of)
    shown = lfm("show", "a")
    one_line(shown, "'a' is neither a folder nor an installed model", "lfm list", code=3)
    one_line(lfm("rm", "good", "a", "--yes"), "no model 'a'", "lfm list")
    one_line(lfm("rm", "../home", "--yes"), "cannot be a model's name")
    one_line(lfm("rm", "good"), "--yes")
    assert folder.is_dir()
    assert lfm("rm", "good", "good", "--yes").stdout == "good: removed\n"


@pytest.mark.parametrize(("answer", "left"), [("n\n", True), ("\n", True), ("y\n", False)])
def test_removal_asks_on_a_terminal(copy_of: Callable[[Path], Path], answer: str, left: bool):
    folder = install("good", copy_of)
    main, terminal = pty.openpty()
    command = [*LFM, "rm", "good"]
    process = subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    os.write(main, answer.encode())
    output, _ = process.communicate(timeout=30)
    os.close(main)
    os.close(terminal)
    assert "Delete good?" in output
    assert "Traceback" not in output
    assert folder.is_dir() == left
    assert (process.returncode != 0) == left


# --model


def test_a_model_is_found_by_name_or_folder(
    lfm: Run,
    copy_of: Callable[[Path], Path],
    tmp_path: Path,
    transcripts: dict[Path, str],
    monkeypatch: pytest.MonkeyPatch,
):
    path, text = next(iter(transcripts.items()))
    install("mine", copy_of)
    for model in ("mine", "nano"):
        assert lfm("transcribe", path, "--model", model).stdout == f"{text}\n"
    monkeypatch.setenv("LFM_MODEL", "mine")
    assert lfm("transcribe", path).stdout == f"{text}\n"
    (tmp_path / "mine").mkdir()  # a folder that is there comes first
    one_line(lfm("transcribe", path), "mine/config.json", code=3)


@pytest.mark.parametrize("model", ["nothing", "../nothing", "", "lfm2-audio-1.5b"])
def test_a_model_that_is_none_gets_one_line(lfm: Run, transcripts: dict[Path, str], model: str):
    result = lfm("transcribe", next(iter(transcripts)), "--model", model)
    one_line(result, f"'{model}' is neither", "lfm pull", "lfm list", code=3)


# usage


def test_wrong_usage_exits_with_2(lfm: Run):
    for arguments in (["pull", "a", "b"], ["pull", "--recipe", "5bit"], ["show"], ["rm"]):
        assert lfm(*arguments).returncode == 2


@pytest.mark.parametrize("command", ["pull", "list", "show", "rm"])
def test_help_has_an_example(lfm: Run, command: str):
    result = lfm(command, "--help")
    assert result.returncode == 0
    assert f"Example: lfm {command}" in result.stdout


def test_starting_up_loads_nothing_heavy():
    heavy = ("mlx", "numpy", "soundfile", "huggingface_hub", "httpx", "lfm_convert.pull")
    code = (
        "import sys, lfm_cli.app; from lfm2audio_mlx import installed; installed.models()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
