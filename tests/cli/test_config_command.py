"""`lfm config` shows and sets options, keeps what a person wrote, and refuses before it writes."""

import json
import os
import resource
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from lfm2audio_mlx.errors import ConfigError, LfmError, RequestError
from lfm_cli.app import app

Run = Callable[..., subprocess.CompletedProcess[str]]
Config = Callable[..., Result]

WRITTEN = """# mine

model = 'nano'  # the toy

[transcribe]
# subtitles
output-format = "srt"
max-line-width = 36   # narrow

[say]
voice = "us-male"
"""


@pytest.fixture
def file(home: Path) -> Path:
    """Where the configuration is to be; its folder does not exist yet."""
    home.rmdir()
    return home / "config.toml"


@pytest.fixture
def written(file: Path) -> Path:
    file.parent.mkdir()
    file.write_text(WRITTEN)
    return file


@pytest.fixture
def config(file: Path) -> Config:
    """Runs `lfm config` in this process; an error of ours is raised."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["config", *arguments], catch_exceptions=False)

    return run


def refused(config: Config, *arguments: str) -> str:
    """A refusal as wrong usage, in words that may be broken into lines."""
    result = config(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    return " ".join(result.stderr.split())


# Showing


def test_what_is_set_is_listed(config: Config, written: Path):
    assert config().stdout.splitlines() == [
        "KEY                        VALUE",
        "model                      nano",
        "transcribe.output-format   srt",
        "transcribe.max-line-width  36",
        "say.voice                  us-male",
    ]


def test_nothing_set_says_where_it_would_be(file: Path):
    # The tests' `lfm` is quiet.
    command = [sys.executable, "-m", "lfm_cli", "config"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")
    assert str(file) in result.stderr
    assert not file.parent.exists()


def test_one_value_is_printed_bare(config: Config, written: Path):
    assert config("say.voice").stdout == "us-male\n"
    assert config("model").stdout == "nano\n"
    assert config("transcribe.max-line-width").stdout == "36\n"


def test_what_is_not_set_exits_with_1(lfm: Run, written: Path):
    for key in ("say.seed", "say", "nonsense", "transcribe.nonsense", ""):
        result = lfm("config", key)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == f"lfm: {key} is not set in {written}\n"


def test_the_path_is_printed(config: Config, file: Path):
    assert config("--path").stdout == f"{file}\n"


def test_all_of_it_as_json(
    config: Config, written: Path, document: Callable[[str], dict[str, Any]]
):
    written.write_text(f"{WRITTEN}since = 2020-01-01\nspeed = nan\n")
    found = document(config("--json").stdout)
    assert found["path"] == str(written)
    assert found["settings"] == {
        "model": "nano",
        "transcribe.output-format": "srt",
        "transcribe.max-line-width": 36,
        "say.voice": "us-male",
        "say.since": "2020-01-01",
        "say.speed": "nan",
    }
    one = document(config("transcribe.max-line-width", "--json").stdout)
    assert one["settings"] == {"transcribe.max-line-width": 36}
    new = document(config("say.voice", "uk-female", "--json").stdout)
    assert new["settings"] == {"say.voice": "uk-female"}
    assert document(config("--unset", "say.voice", "--json").stdout)["settings"] == {}
    assert document(config("--path", "--json").stdout)["path"] == str(written)


# Setting


def test_a_value_is_set_in_a_new_file(config: Config, file: Path):
    result = config("say.voice", "uk-female")
    assert (result.exit_code, result.stdout) == (0, "")
    assert file.read_text() == '[say]\nvoice = "uk-female"\n'
    assert os.listdir(file.parent) == ["config.toml"]


def test_comments_and_order_survive(config: Config, written: Path):
    config("transcribe.output-format", "vtt")
    assert written.read_text() == WRITTEN.replace('"srt"', '"vtt"')
    config("transcribe.output-format", "srt")
    config("transcribe.resume", "true")
    added = WRITTEN.replace("# narrow\n", "# narrow\nresume = true\n")
    assert written.read_text() == added
    config("--unset", "transcribe.resume")
    assert written.read_text() == WRITTEN
    config("ask.model", "nano")
    assert written.read_text() == f'{WRITTEN}\n[ask]\nmodel = "nano"\n'
    config("--unset", "model")
    assert written.read_text().startswith("# mine\n")
    assert "model = 'nano'" not in written.read_text()


def test_a_model_for_all_stands_before_the_sections(config: Config, file: Path):
    config("say.voice", "uk-female")
    config("model", "nano")
    assert tomllib.loads(file.read_text()) == {"model": "nano", "say": {"voice": "uk-female"}}


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        ("say.seed", "7", 7),
        ("transcribe.recursive", "true", True),
        ("transcribe.recursive", "false", False),
        ("transcribe.recursive", "1", True),
        # Where a text is wanted it stays as it was typed.
        ("say.voice", "007", "007"),
        ("model", "true", "true"),
        ("model", "1e3", "1e3"),
        ("say.output", "5", "5"),
        ("say.voice", "", ""),
        ("say.voice", "\u00fc \"'\\ \t\n#", "\u00fc \"'\\ \t\n#"),
    ],
)
def test_a_value_has_its_option_s_type(
    config: Config, file: Path, key: str, value: str, stored: Any
):
    config(key, value)
    found: Any = tomllib.loads(file.read_text())
    for name in key.split("."):
        found = found[name]
    assert (found, type(found)) == (stored, type(stored))


REFUSED = {
    "unknown command": (("sing.voice", "a"), "'sing.voice' is neither 'model' nor"),
    "unknown option": (("say.voise", "a"), "'say' has no option 'voise' to set; it has "),
    "short option": (("say.v", "a"), "no option 'v'"),
    "an argument": (("say.text", "a"), "no option 'text'"),
    "shared": (("say.quiet", "true"), "no option 'quiet'"),
    "a command": (("say", "a"), "'say' has no option ''"),
    "its own": (("config.json", "true"), "'config.json' is neither"),
    "no number": (("say.seed", "abc"), "say.seed 'abc': 'abc' is not a valid int"),
    "out of range": (("say.seed", "-1"), "say.seed '-1'"),
    "no switch": (("transcribe.recursive", "perhaps"), "transcribe.recursive 'perhaps'"),
    "none of its names": (
        ("transcribe.output-format", "doc"),
        "transcribe.output-format 'doc': 'doc' is none of txt, srt",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_option_refuses_is_not_written(config: Config, written: Path, name: str):
    arguments, part = REFUSED[name]
    assert part in refused(config, "--", *arguments)
    assert written.read_text() == WRITTEN


@pytest.mark.parametrize(
    "arguments",
    [("--unset",), ("--unset", "say.voice", "a"), ("--path", "say.voice"), ("--path", "--unset")],
)
def test_a_contradiction_is_refused(config: Config, written: Path, arguments: tuple[str, ...]):
    refused(config, *arguments)
    assert written.read_text() == WRITTEN


# Forgetting


def test_a_value_is_forgotten_and_with_the_last_its_section(config: Config, written: Path):
    config("--unset", "say.voice")
    assert "say" not in tomllib.loads(written.read_text())
    with pytest.raises(RequestError, match=r"say\.voice is not set"):
        config("--unset", "say.voice")


def test_what_no_command_has_can_be_forgotten(config: Config, written: Path):
    """Or else a file from a newer `lfm` could not be mended."""
    written.write_text(f"{WRITTEN}\n[sing]\nvoice = 1\n")
    config("--unset", "sing.voice")
    assert tomllib.loads(written.read_text()) == tomllib.loads(WRITTEN)


def test_a_comment_in_an_emptied_section_is_kept(config: Config, written: Path):
    written.write_text("[say]\n# loud\nvoice = 'a'\n")
    config("--unset", "say.voice")
    assert written.read_text() == "[say]\n# loud\n"


# The file


@pytest.mark.parametrize("content", [b"[say\n", b"\xff", b'model = "a"\nmodel = "b"\n'])
def test_a_damaged_file_is_reported_and_left_alone(config: Config, written: Path, content: bytes):
    written.write_bytes(content)
    for arguments in ((), ("say.voice",), ("say.voice", "a"), ("--unset", "say.voice")):
        with pytest.raises(ConfigError, match=r"config\.toml: not a TOML file"):
            config(*arguments)
    assert written.read_bytes() == content
    assert os.listdir(written.parent) == ["config.toml"]


def test_what_should_be_a_section_and_is_none_is_left_alone(config: Config, written: Path):
    for content in ("say = 5\n", "[[say]]\nvoice = 1\n"):
        written.write_text(content)
        with pytest.raises(ConfigError, match="'say' is no section"):
            config("say.voice", "a")
        assert written.read_text() == content


def test_what_the_editor_would_break_is_left_alone(config: Config, written: Path):
    """tomlkit puts the new line so that the file is no TOML any more."""
    content = "[say]\n# a\nsay.deep.x = 1"
    written.write_text(content)
    with pytest.raises(ConfigError, match="cannot be changed without harm"):
        config("say.voice", "a")
    assert written.read_text() == content


def test_a_full_disk_leaves_the_file_as_it_was(config: Config, written: Path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(ConfigError, match="cannot be written: File too large"):
            config("say.voice", "uk-female")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert written.read_text() == WRITTEN
    assert os.listdir(written.parent) == ["config.toml"]


def test_a_link_stays_and_the_mode_too(config: Config, file: Path, tmp_path: Path):
    target = tmp_path / "dotfiles.toml"
    target.write_text(WRITTEN)
    target.chmod(0o640)
    file.parent.mkdir()
    file.symlink_to(target)
    config("say.voice", "uk-female")
    assert file.is_symlink()
    assert 'voice = "uk-female"' in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_line_ends_of_another_system_are_kept(config: Config, written: Path):
    written.write_bytes(WRITTEN.replace("\n", "\r\n").encode())
    config("say.voice", "uk-female")
    expected = WRITTEN.replace("us-male", "uk-female").replace("\n", "\r\n")
    assert written.read_bytes() == expected.encode()


def test_what_cannot_be_written_is_told_and_nothing_is_left(config: Config, home: Path, file: Path):
    home.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        config("say.voice", "a")
    home.unlink()
    # A link to where nothing can be.
    file.parent.mkdir()
    file.symlink_to("/proc/nowhere/config.toml")
    with pytest.raises(ConfigError, match="cannot be written"):
        config("say.voice", "a")
    assert os.listdir(file.parent) == ["config.toml"]


lines = st.sampled_from(
    [
        *("# a comment", "", "model = 'm'", "[say]", "[transcribe]", "[say.deep]", "voice = 'v'"),
        *(
            "seed = 1  # one",
            "say.seed = 1",
            "say.voice = 'x'",
            "transcribe = {max-line-width = 9, }",
        ),
        *(
            "transcribe = {max-line-width = 9}",
            "transcribe = {}",
            "[[say]]",
            "'model' = ''",
            "  seed=0x1",
            "[ say ]",
        ),
    ]
)


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.lists(lines, max_size=8).map("\n".join),
    change=st.sampled_from(
        [("model", "n"), ("say.voice", "w"), ("say.seed", "2"), ("transcribe.max-line-width", "20")]
    ),
    unset=st.booleans(),
)
def test_a_change_changes_that_and_nothing_else(
    config: Config, file: Path, content: str, change: tuple[str, str], unset: bool
):
    """Whatever the file looks like; or it is refused, and left as it was."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    key, value = change
    before = json.loads(config("--json").stdout)["settings"] if parses(content) else {}
    try:
        assert config(*(("--unset", key) if unset else change)).exit_code == 0
    except LfmError:
        assert file.read_text() == content
        return
    if unset:
        del before[key]
    else:
        before[key] = int(value) if value.isdigit() else value
    assert json.loads(config("--json").stdout)["settings"] == before
    comments = [line for line in content.splitlines() if line == "# a comment"]
    assert file.read_text().count("# a comment") == len(comments)


def parses(content: str) -> bool:
    try:
        tomllib.loads(content)
    except tomllib.TOMLDecodeError:
        return False
    return True


def test_starting_up_loads_neither_the_editor_nor_anything_heavy():
    heavy = ("tomlkit", "rich.console", "mlx", "numpy", "sounddevice")
    code = (
        "import sys, lfm_cli.config, lfm_cli.doctor, lfm_cli.bench\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr
