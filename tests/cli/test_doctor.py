"""`lfm doctor` finds what is wrong and only that, and its exit code says whether anything is."""

import json
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lfm2audio_mlx.installed import EMBEDDED
from lfm_cli import doctor as module
from lfm_cli.app import app
from lfm_cli.doctor import judge_memory, judge_system, judge_weights
from lfm_cli.sound_checks import judge_microphone, loudspeaker

Doctor = Callable[..., Result]
Document = Callable[[str], dict[str, Any]]
Examined = Callable[[Result], dict[str, dict[str, str]]]


class FakeSounddevice:
    """Stands in for a loudspeaker and a microphone that this machine may not have."""

    class PortAudioError(Exception):
        """As the library's."""

    def __init__(self, heard: Any = 0.1, devices: bool = True, fault: str = ""):
        self.heard, self.devices, self.fault = heard, devices, fault
        self.open = 0

    def query_devices(self, device: None, kind: str) -> dict[str, Any]:
        if not self.devices:
            raise self.PortAudioError("Error querying device -1")
        return {"name": f"fake {kind}", "default_samplerate": 48000.0}

    def check_output_settings(self, **settings: Any) -> None:
        if self.fault:
            raise self.PortAudioError(self.fault)

    def InputStream(self, rate: int, *, callback: Any, **settings: Any) -> "FakeSounddevice":
        if self.fault:
            raise self.PortAudioError(self.fault)
        self.callback = callback
        return self

    def __enter__(self) -> None:
        self.open += 1
        if isinstance(self.heard, BaseException):
            raise self.heard
        for _ in range(100 if self.heard is not None else 0):
            block = np.zeros((480, 1), np.float32)
            block[-1] = self.heard
            self.callback(block, 480, None, None)

    def __exit__(self, *error: object) -> None:
        self.open -= 1


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeSounddevice]:
    """Puts a `FakeSounddevice` in place of the library."""

    def put(**attributes: Any) -> FakeSounddevice:
        fake = FakeSounddevice(**attributes)
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        return fake

    put()
    return put


@pytest.fixture
def doctor(
    home: Path, sound: Callable[..., FakeSounddevice], monkeypatch: pytest.MonkeyPatch
) -> Doctor:
    """Runs `lfm doctor` in this process; no model is wished for."""
    monkeypatch.delenv("LFM_MODEL")
    return lambda *arguments: CliRunner().invoke(app, ["doctor", *arguments])


@pytest.fixture
def examined(document: Document) -> Examined:
    """Reads the checks by name, and holds the exit code against them."""

    def read(result: Result) -> dict[str, dict[str, str]]:
        found = document(result.stdout)
        checks = {check.pop("name"): check for check in found["checks"]}
        assert list(checks) == list(module.CHECKS)
        faults = [name for name, check in checks.items() if check["state"] == "fault"]
        assert found["healthy"] == (not faults)
        assert result.exit_code == (0 if not faults else 3 if faults == ["model"] else 1)
        return checks

    return read


@pytest.fixture
def keg(tmp_path: Path) -> Path:
    """Where Homebrew has lfm's environment, with the link of Homebrew's that leads there."""
    made = tmp_path / "Cellar" / "lfm" / "1.0" / "libexec"
    made.mkdir(parents=True)
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "lfm").symlink_to(made)
    return made


def test_a_machine_that_works_is_healthy(doctor: Doctor, examined: Examined):
    result = doctor("-m", "nano", "--json")
    assert result.exit_code == 0
    checks = examined(result)
    for name in ("Python", "MLX", "memory", "model", "loudspeaker", "microphone", "folder"):
        assert checks[name]["state"] == "ok", name
    assert checks["model"]["detail"].startswith(f"{EMBEDDED}: 7 files")
    assert checks["microphone"]["detail"] == "fake input, 48,000 Hz: it hears"


def test_people_get_a_line_for_each_check(doctor: Doctor):
    result = doctor("-m", "nano")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["CHECK", "STATE", "FOUND", "TO", "MEND", "IT"]
    assert [line.split()[0] for line in lines[1:]] == list(module.CHECKS)


# The model


def test_no_model_exits_with_3_and_says_how_to_get_one(doctor: Doctor, examined: Examined):
    result = doctor("--json")
    assert result.exit_code == 3
    check = examined(result)["model"]
    assert (check["detail"], check["mend"]) == ("no model is installed", "`lfm pull`")
    assert "'nobody' is neither" in examined(doctor("-m", "nobody", "--json"))["model"]["detail"]


def test_a_flipped_byte_is_found_and_the_file_named(
    doctor: Doctor, examined: Examined, home: Path, copy_of: Callable[[Path], Path]
):
    (home / "models").mkdir()
    folder = copy_of(EMBEDDED).rename(home / "models" / "mine")
    assert examined(doctor("--json"))["model"]["state"] == "ok"
    path = folder / "mimi.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = doctor("--json")
    assert result.exit_code == 3
    check = examined(result)["model"]
    assert "mimi.safetensors: damaged: its sha256" in check["detail"]
    assert check["mend"] == "`lfm rm mine`, then `lfm pull`"


@pytest.mark.parametrize(
    ("damage", "state", "part"),
    [
        (lambda folder: (folder / "config.json").unlink(), "fault", "config.json: not there"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "fault", "manifest.json"),
        (lambda folder: (folder / "manifest.json").unlink(), "note", "has no manifest"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "fault", "tokenizer.json: not"),
    ],
)
def test_a_damaged_model_is_told_of(
    doctor: Doctor,
    examined: Examined,
    copy_of: Callable[[Path], Path],
    damage: Any,
    state: str,
    part: str,
):
    folder = copy_of(EMBEDDED)
    damage(folder)
    check = examined(doctor("-m", str(folder), "--json"))["model"]
    assert check["state"] == state
    assert part in check["detail"]


@pytest.mark.usefixtures("unprivileged")
def test_a_file_that_may_not_be_read_is_a_fault(
    doctor: Doctor, examined: Examined, copy_of: Callable[[Path], Path]
):
    folder = copy_of(EMBEDDED)
    (folder / "model.safetensors").chmod(0)
    check = examined(doctor("-m", str(folder), "--json"))["model"]
    assert "Permission denied" in check["detail"]


# Sound


def test_no_devices_are_a_note(
    doctor: Doctor, examined: Examined, sound: Callable[..., FakeSounddevice]
):
    sound(devices=False)
    checks = examined(doctor("-m", "nano", "--json"))
    for name in ("loudspeaker", "microphone"):
        assert checks[name]["state"] == "note"
        assert "there is none" in checks[name]["detail"]


def test_a_device_that_cannot_be_opened_is_a_fault(
    doctor: Doctor, examined: Examined, sound: Callable[..., FakeSounddevice]
):
    sound(fault="Device unavailable")
    result = doctor("-m", "nano", "--json")
    assert result.exit_code == 1
    checks = examined(result)
    assert checks["loudspeaker"]["detail"].startswith("fake output: cannot be opened: Device un")
    assert checks["microphone"]["detail"].startswith("fake input: cannot be opened: Device un")


def test_zeros_and_nothing_at_all_are_told_apart(
    doctor: Doctor, examined: Examined, sound: Callable[..., FakeSounddevice]
):
    fake = sound(heard=0.0)
    check = examined(doctor("-m", "nano", "--json"))["microphone"]
    assert "nothing but zeros" in check["detail"]
    assert check["state"] == ("fault" if platform.system() == "Darwin" else "note")
    assert fake.open == 0
    sound(heard=None)
    check = examined(doctor("-m", "nano", "--json"))["microphone"]
    assert check["detail"].endswith("it gives nothing")
    assert check["state"] == "fault"


def test_silence_on_a_mac_points_to_the_permission():
    found = judge_microphone(14_400, noise=False, mac=True)
    assert found.state == "fault"
    assert "Privacy & Security > Microphone" in found.mend
    assert judge_microphone(14_400, noise=True, mac=True).state == "ok"


def test_without_portaudio_it_says_what_to_install(
    doctor: Doctor, examined: Examined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keg: Path
):
    """A library that cannot be loaded, as sounddevice is where PortAudio is missing."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.syspath_prepend(str(tmp_path))
    checks = examined(doctor("-m", "nano", "--json"))
    for name in ("loudspeaker", "microphone"):
        assert checks[name]["state"] == "fault"
        assert "PortAudio library not found" in checks[name]["detail"]
        if platform.system() == "Linux":
            assert checks[name]["mend"] == "apt install libportaudio2"
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert "pip install" in loudspeaker(None).mend
    monkeypatch.setattr(sys, "prefix", str(keg))
    assert loudspeaker(None).mend == "`brew reinstall portaudio`"


def test_mlx_is_mended_by_what_installed_it(keg: Path, monkeypatch: pytest.MonkeyPatch):
    """Too old, or not to be loaded."""
    monkeypatch.setattr(metadata, "version", lambda name: "0.1.0")
    monkeypatch.setitem(sys.modules, "mlx.core", None)
    assert module.CHECKS["MLX"](None).mend.startswith("pip install -U 'mlx>=")
    for prefix in (keg, keg.parents[3] / "opt" / "lfm"):
        monkeypatch.setattr(sys, "prefix", str(prefix))
        assert module.CHECKS["MLX"](None).mend == "`brew upgrade mlx`"
    monkeypatch.undo()
    monkeypatch.setattr(metadata, "version", lambda name: "0.1.0")
    assert module.CHECKS["MLX"](None).detail.startswith("0.1.0, not >=")


def test_an_interrupt_while_it_listens_ends_it(
    doctor: Doctor, sound: Callable[..., FakeSounddevice]
):
    sound(heard=KeyboardInterrupt())
    result = doctor("-m", "nano", "--json")
    assert (result.exit_code, result.stdout) == (130, "")


@pytest.mark.skipif(platform.system() == "Darwin", reason="a Mac always has afconvert")
def test_no_converter_is_a_note(
    doctor: Doctor, examined: Examined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    check = examined(doctor("-m", "nano", "--json"))["m4a"]
    assert (check["state"], check["mend"]) == ("note", "apt install ffmpeg")
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    assert examined(doctor("-m", "nano", "--json"))["m4a"]["state"] == "ok"


# The machine


@pytest.mark.parametrize(
    ("mode", "state", "who"), [(0o700, "ok", ""), (0o770, "note", "group"), (0o777, "fault", "oth")]
)
def test_who_may_change_the_models(
    doctor: Doctor, examined: Examined, home: Path, mode: int, state: str, who: str
):
    home.chmod(mode)
    (home / "models").mkdir(mode=0o700)
    result = doctor("-m", "nano", "--json")
    assert result.exit_code == (state == "fault")
    check = examined(result)["folder"]
    assert check["state"] == state
    assert who in check["detail"]
    if state != "ok":
        assert check["mend"] == f"chmod go-w {home}"
    home.chmod(0o700)
    (home / "models").chmod(mode)
    assert examined(doctor("-m", "nano", "--json"))["folder"]["state"] == state


def test_a_second_fault_beside_the_model_exits_with_1(doctor: Doctor, home: Path):
    home.chmod(0o777)
    assert doctor("--json").exit_code == 1


def test_what_cannot_be_looked_at_is_a_fault_and_the_rest_is_told(
    doctor: Doctor, examined: Examined, home: Path, monkeypatch: pytest.MonkeyPatch
):
    (home / "models").symlink_to(home / "models")
    checks = examined(doctor("--json"))
    assert "cannot be read: Too many levels" in checks["model"]["detail"]
    monkeypatch.setitem(module.CHECKS, "disk", lambda _: Path("/nowhere").stat() and None)
    checks = examined(doctor("--json"))
    assert checks["disk"]["state"] == "fault"
    assert "/nowhere" in checks["disk"]["detail"]


def test_machines_that_mlx_does_not_run_on_are_told():
    assert judge_system("", "Darwin", "arm64", "15.1").state == "ok"
    assert judge_system("", "Darwin", "arm64", "14.0").state == "ok"
    old = judge_system("", "Darwin", "arm64", "13.6.1")
    assert (old.state, old.mend) == ("fault", "update macOS")
    assert "Intel" in judge_system("", "Darwin", "x86_64", "15.1").detail
    assert judge_system("", "Linux", "x86_64", "").state == "note"


def test_it_says_in_what_form_weights_are(doctor: Doctor, examined: Examined):
    found = examined(doctor("-m", "nano", "--json"))["weights"]
    on_cpu = mx.default_device() == mx.Device(mx.cpu)
    told = "unpacked to 44.4 MB of float32, fastest on a CPU"
    expected = told if on_cpu else "as they are stored, on the GPU"
    assert (found["state"], found["detail"]) == ("ok", expected)
    assert judge_weights(6_000_000_000, unpacked=True).detail.startswith("unpacked to 6.0 GB")
    assert judge_weights(6_000_000_000, unpacked=True).state == "ok"
    assert judge_weights(6_000_000_000, unpacked=False).state == "note"
    assert judge_weights(0, unpacked=True).detail == "not quantised, on the CPU"


def test_a_model_needs_memory_for_itself_and_half_a_gigabyte():
    assert judge_memory(8_000_000_000, 7_500_000_000).state == "ok"
    assert judge_memory(8_000_000_000, 7_500_000_001).state == "fault"
    assert judge_memory(400_000_000, 0).state == "ok"


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("0.32.4", ">=0.32", True),
        ("0.32", ">=0.32.0", True),
        ("0.9", ">=0.32", False),
        ("0.31.9", ">=0.32", False),
        ("0.40.0", ">=0.32,<0.40", False),
        ("0.39.2.dev20260101+abc", ">=0.32,<0.40", True),
        ("1.0", "!=1.0.0", False),
        ("3.11.7", ">=3.11", True),
        ("3.9.1", ">=3.11", False),
        ("1", "", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, wanted: str, fits: bool):
    assert module._fits(version, wanted) is fits


def test_what_is_wanted_of_a_package_is_found_in_the_metadata():
    found = [
        module._spec_of("mlx", entry)
        for entry in (
            "mlx>=0.32; sys_platform == 'darwin'",
            "mlx[cpu]>=0.32,<1; sys_platform == 'linux'",
            "mlx (>=0.32)",
            "mlx-lm>=0.30",
            "numpy>=2.0",
            "mlx",
        )
    ]
    assert found == [">=0.32", "<1,>=0.32", ">=0.32", "", "", ""]


def test_a_configuration_that_no_command_takes_is_a_fault(home: Path):
    """A command that there is not, or an option."""
    for text in ("[nosuch]\na = 1\n", "[say]\nvoise = 1\n"):
        (home / "config.toml").write_text(text)
        result = CliRunner().invoke(app, ["doctor", "--json"])
        (found,) = [c for c in json.loads(result.stdout)["checks"] if c["name"] == "configuration"]
        assert found["state"] == "fault"
        assert result.exit_code == 1
