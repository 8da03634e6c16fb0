"""Where models live: names are never paths, a broken folder is told apart, removal is whole."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lfm2audio_mlx import installed
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.manifest import MANIFEST, read_manifest
from lfm_convert import store


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LFM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def install(copy_of: Callable[[Path], Path]) -> Callable[[str], Path]:
    """Puts a copy of the embedded checkpoint under a name."""

    def put(name: str) -> Path:
        folder = installed.models_folder() / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        return copy_of(EMBEDDED).rename(folder)

    return put


def test_models_live_where_the_environment_says_or_in_the_users_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    assert installed.models_folder() == home / "models"
    monkeypatch.setenv("LFM_HOME", "")
    assert installed.models_folder().parts[-2:] == ("lfm2audio-mlx", "models")
    assert installed.models_folder().is_absolute()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LFM_HOME", "~/lfm")
    assert installed.models_folder() == home / "lfm" / "models"


@pytest.mark.parametrize("name", ["a", "lfm2.5-audio-1.5b-jp", "A_b.c", "9" * 100])
def test_good_names(name: str):
    assert installed.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-a", "a/b", "/a", "a\\b", "a b", "a\n", "ä", "~", "9" * 101]
)
def test_a_name_is_never_a_path(name: str):
    for function in (installed.check_name, installed.find, store.remove):
        with pytest.raises(RequestError, match="cannot be a model's name"):
            function(name)


def test_nothing_is_installed_at_first(home: Path):
    assert installed.models() == []
    assert not home.exists()


def test_what_is_installed_is_listed_with_its_origin(install: Callable[[str], Path]):
    folders = [install("b"), install("a")]
    (installed.models_folder() / ".hidden").mkdir()
    (installed.models_folder() / "file").touch()
    models = installed.models()
    assert [(m.name, m.folder) for m in models] == [("a", folders[1]), ("b", folders[0])]
    assert models[0].size == sum(path.stat().st_size for path in EMBEDDED.iterdir())
    manifest = read_manifest(EMBEDDED)
    assert manifest and (models[0].recipe, models[0].source) == (manifest.recipe, manifest.source)
    assert models[0].fault == ""
    assert installed.find("a") == folders[1]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


BREAK: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda f: [path.unlink() for path in f.iterdir()], "has no manifest"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "has no manifest"),
    "no json": (lambda f: (f / MANIFEST).write_text("{"), "not readable as JSON"),
    "no object": (lambda f: (f / MANIFEST).write_text("[]"), "must be an object"),
    "a key": (lambda f: (f / MANIFEST).write_text('{"tool": ""}'), "is missing"),
    "cut": (lambda f: cut(f / "model.safetensors"), "model.safetensors: damaged"),
    "gone": (lambda f: (f / "mimi.safetensors").unlink(), "mimi.safetensors: not there"),
    "a folder": (
        lambda f: ((f / MANIFEST).unlink(), (f / MANIFEST).mkdir()),
        "not readable as JSON",
    ),
}


@pytest.mark.parametrize("name", BREAK)
def test_a_broken_folder_is_listed_as_broken(install: Callable[[str], Path], name: str):
    damage, message = BREAK[name]
    install("good")
    damage(install("bad"))
    bad, good = installed.models()
    assert (bad.name, good.name, good.fault) == ("bad", "good", "")
    assert message in bad.fault
    assert "\n" not in bad.fault
    store.remove("bad")  # what is broken can be removed
    assert installed.models() == [good]


def test_what_is_not_there_is_not_found():
    for function in (installed.find, store.remove):
        with pytest.raises(RequestError, match=r"no model 'a' .*`lfm list`.*`lfm pull`"):
            function("a")


def test_removal_leaves_nothing(install: Callable[[str], Path], home: Path):
    install("a")
    store.remove("a")
    assert [path for path in home.rglob("*") if path.name != "a"] == [
        home / "models",
        home / "models" / ".locks",
    ]
    assert list((home / "models" / ".locks").iterdir()) == [home / "models" / ".locks" / "a"]


def test_removing_a_link_leaves_what_it_points_to(copy_of: Callable[[Path], Path]):
    folder = copy_of(EMBEDDED)
    installed.models_folder().mkdir(parents=True)
    (installed.models_folder() / "link").symlink_to(folder)
    assert installed.models()[0].fault == ""
    store.remove("link")
    assert installed.models() == []
    assert (folder / "model.safetensors").exists()


def test_a_model_that_is_worked_on_is_not_removed(install: Callable[[str], Path], home: Path):
    folder = install("a")
    code = (
        "import sys; from lfm_convert import store\n"
        "with store.locked('a'): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RequestError, match="a: another `lfm` is working on it"):
            store.remove("a")
        assert folder.is_dir()
        other.kill()
    store.remove("a")  # a lock ends with its holder


def test_the_store_loads_neither_mlx_nor_numpy():
    code = (
        "import sys, lfm_convert.store\n"
        "print([name for name in ('mlx', 'numpy', 'huggingface_hub') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


def test_a_place_that_cannot_be_written_is_named(home: Path):
    home.write_text("a file")
    assert installed.models() == []
    with pytest.raises(RequestError, match=r"models: cannot be written"), store.locked("a"):
        pass
