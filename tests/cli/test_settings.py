"""The configuration file stands in for options that are not given, and a bad one is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from lfm2audio_mlx.errors import ConfigError
from lfm_cli.app import app
from lfm_cli.settings import config_path, defaults, read_settings

Options = dict[str, dict[str, str]]
OPTIONS: Options = {
    "say": {"voice": "voice", "output": "output", "model": "model"},
    "transcribe": {"output-format": "output_format", "model": "chosen"},
    "list": {},
}


def apply(path: Path, options: Options) -> dict[str, dict[str, Any]]:
    """What each command gets, where it gets anything."""
    found = {name: defaults(name, known, path, options) for name, known in options.items()}
    return {name: values for name, values in found.items() if values}


@pytest.fixture
def file(home: Path) -> Path:
    return home / "config.toml"


def test_the_file_is_in_the_home_that_is_wished_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LFM_HOME", "/somewhere")
    assert config_path() == Path("/somewhere/config.toml")
    monkeypatch.setenv("LFM_HOME", "~/lfm")
    assert config_path() == Path.home() / "lfm" / "config.toml"
    monkeypatch.delenv("LFM_HOME")
    assert config_path() == platformdirs.user_config_path("lfm2audio-mlx") / "config.toml"


def test_no_file_sets_nothing(file: Path):
    assert read_settings(file) == {}
    assert apply(file, OPTIONS) == {}


def test_values_go_to_the_parameters_of_their_options(file: Path):
    file.write_text('[transcribe]\noutput-format = "srt"\n[say]\nvoice = "uk-female"\n')
    assert apply(file, OPTIONS) == {
        "transcribe": {"output_format": "srt"},
        "say": {"voice": "uk-female"},
    }


def test_a_model_for_all_reaches_each_that_has_one_and_a_section_wins(file: Path):
    file.write_text('model = "a"\n[say]\nmodel = "b"\n')
    assert apply(file, OPTIONS) == {"say": {"model": "b"}, "transcribe": {"chosen": "a"}}


def test_what_is_set_for_all_may_have_the_name_of_a_command(file: Path):
    known = {"daemon": "daemon"}
    file.write_text("daemon = false\n")
    assert defaults("say", known, file, ["say", "daemon"]) == {"daemon": False}
    file.write_text("[daemon]\ndaemon = false\n")
    assert defaults("daemon", known, file, ["say", "daemon"]) == {"daemon": False}
    assert defaults("say", known, file, ["say", "daemon"]) == {}


BAD = {
    "section": ("[sing]\nvoice = 1\n", "'sing' is neither"),
    "option": ("[say]\nvoise = 1\n", "[say] has no 'voise'"),
    "top": ('voice = "a"\n', "'voice' is neither"),
    "list": ('[say]\nvoice = ["a"]\n', "say.voice must be"),
    "date": ("[say]\nvoice = 2020-01-01\n", "say.voice must be"),
    "table": ("[model]\na = 1\n", "model must be"),
    "array of tables": ("[[say]]\nvoice = 1\n", "'say' is neither"),
    "no section": ("say = 1\n", "'say' is neither"),
    "line break": ('"a\\nb" = 1\n', "'a\\nb' is neither"),
    "syntax": ("[say\n", "not a TOML file"),
    "encoding": (b"\xff\xfe", "not a TOML file"),
    "carriage return": (b'model = "a"\r[say]\r', "not a TOML file"),
    "depth": ("x = " + "[" * 100_000, "nested too deeply"),
    "digits": ("x = " + "1" * 5000, "not a TOML file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_in_one_line(file: Path, name: str):
    content, part = BAD[name]
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        apply(file, OPTIONS)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert part in message
    assert len(message.splitlines()) == 1


def test_a_file_that_cannot_be_read_is_named(file: Path):
    file.mkdir()
    with pytest.raises(ConfigError, match=r"config\.toml: cannot be read: "):
        read_settings(file)
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        read_settings(Path(__file__) / "config.toml")


names = st.sampled_from(["say", "transcribe", "list", "model", "voice", "output-format"]) | st.text(
    st.characters(exclude_categories=("Cs",)), max_size=8
)
scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
    | st.dates()
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(names, v, max_size=3), max_leaves=6
)
anything = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def checked(file: Path) -> None:
    try:
        found = apply(file, OPTIONS)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
        return
    for command, given_values in found.items():
        assert given_values.keys() <= set(OPTIONS[command].values())
        assert all(isinstance(v, str | int | float | bool) for v in given_values.values())


@anything
@given(settings=st.dictionaries(names, values, max_size=4))
def test_odd_settings_are_taken_or_refused(file: Path, settings: dict[str, Any]):
    file.write_bytes(tomlkit.dumps(settings).encode())
    checked(file)


@anything
@given(content=st.binary() | st.text("[]{}=.\"'#\n1atsymodel ").map(str.encode))
def test_odd_files_are_taken_or_refused(file: Path, content: bytes):
    file.write_bytes(content)
    checked(file)


# Through the command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `lfm` in this process; what it would raise is raised."""
    monkeypatch.delenv("LFM_MODEL")
    return lambda *arguments: CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_what_is_set_stands_in_for_what_is_not_given(
    file: Path, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    """`doctor` says which model it takes, and needs no other file."""
    file.write_text('model = "nobody"\n[doctor]\njson = true\n')
    first = command("doctor")
    assert first.stdout.startswith("{")
    assert "'nobody' is neither" in first.stdout
    file.write_text('model = "nobody"\n[doctor]\nmodel = "somebody"\n')
    assert "'somebody' is neither" in command("doctor").stdout
    monkeypatch.setenv("LFM_MODEL", "environment")
    assert "'environment' is neither" in command("doctor").stdout
    assert "'argument' is neither" in command("doctor", "-m", "argument").stdout


def test_a_bad_file_stops_a_command_but_not_the_one_that_mends_it(
    file: Path, command: Callable[..., Result]
):
    file.write_text("[sing]\nvoice = 1\n")
    with pytest.raises(ConfigError, match="'sing' is neither"):
        command("list")
    assert command("config", "--unset", "sing.voice").exit_code == 0
    assert command("list").exit_code == 0
