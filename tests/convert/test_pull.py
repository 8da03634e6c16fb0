"""Pulling with the real huggingface_hub client from a small hub on loopback: what is installed,
what stays, what is refused.
"""

import shutil
import threading
from pathlib import Path

import pytest

from hub import Hub
from lfm2audio_mlx import installed
from lfm2audio_mlx.config import read_config
from lfm2audio_mlx.errors import CheckpointError, ConfigError, DownloadError, RequestError
from lfm2audio_mlx.installed import DEFAULT
from lfm2audio_mlx.manifest import read_manifest
from lfm_convert import store
from lfm_convert.catalogue import CATALOGUE
from lfm_convert.prompts import PROMPTS
from lfm_convert.pull import pull
from pulling import REPOSITORY, WEIGHTS, download, fails, part

# What goes well


@pytest.mark.parametrize("name", ["lfm2-audio-1.5b", "lfm2.5-audio-1.5b"])
def test_a_known_model_is_ready_by_its_name(hub: Hub, name: str):
    lines: list[str] = []
    folder = pull(name, recipe="f32", tell=lines.append)
    assert folder == installed.find(name)
    (model,) = installed.models()
    assert (model.name, model.recipe, model.fault) == (name, "f32", "")
    assert (model.source, model.revision) == (CATALOGUE[name].repository, hub.commit)
    assert read_config(folder).prompts.speak == PROMPTS[CATALOGUE[name].prompts]["speak"]
    assert not any(store.originals_folder().iterdir())
    assert hub.commit[:12] in lines[0]


def test_every_entry_of_the_catalogue_can_be_used():
    assert DEFAULT in CATALOGUE
    for name, entry in CATALOGUE.items():
        assert installed.check_name(name) == name == entry.repository.partition("/")[2].lower()
        assert entry.prompts in PROMPTS
        assert entry.revision
        assert entry.licence


def test_the_prompts_go_with_the_repository_in_any_spelling(hub: Hub, originals: dict[str, Path]):
    hub.repositories["LiquidAI/LFM2.5-Audio-1.5B-JP"] = originals["v25"]
    folder = pull("LIQUIDAI/lfm2.5-audio-1.5b-jp", recipe="f32")
    assert "japanese" in read_config(folder).prompts.transcribe


def test_one_commit_is_fetched_whatever_the_revision_was_called(hub: Hub):
    pull(REPOSITORY, recipe="f32")
    assert hub.requests[0].path.endswith("/revision/main")
    assert all(f"/{hub.commit}/" in request.path for request in hub.requests[1:])


def test_a_commit_may_be_asked_for(hub: Hub):
    folder = pull(f"{REPOSITORY}@{hub.commit}", recipe="f32", name="mine")
    assert folder.name == "mine"
    asked = len(hub.requests)
    pull(f"{REPOSITORY}@{hub.commit}", recipe="f32", name="mine")
    assert len(hub.requests) == asked  # it cannot have changed


def test_only_what_a_conversion_wants_is_fetched(
    hub: Hub, originals: dict[str, Path], tmp_path: Path
):
    folder = Path(shutil.copytree(originals["v1"], tmp_path / "repository"))
    for name in ("README.md", "weights.gguf", "LICENSE", "NOTICE.txt", "chat_template.jinja"):
        (folder / name).write_text(name)
    hub.repositories[REPOSITORY] = folder
    made = pull(REPOSITORY, recipe="f32")
    assert not hub.asked("README.md")
    assert not hub.asked("weights.gguf")
    assert hub.asked("chat_template.jinja")
    assert (made / "LICENSE").read_text() == "LICENSE"
    assert (made / "NOTICE.txt").read_text() == "NOTICE.txt"


def test_the_original_is_kept_on_request_and_used_again(hub: Hub, originals: dict[str, Path]):
    pull(REPOSITORY, recipe="f32", keep_original=True)
    kept = part(hub).parent
    names = {p.relative_to(originals["v1"]) for p in originals["v1"].rglob("*") if p.is_file()}
    assert {path.relative_to(kept) for path in kept.rglob("*") if path.is_file()} == names
    assert (kept / WEIGHTS).read_bytes() == (originals["v1"] / WEIGHTS).read_bytes()
    asked = len(hub.asked(WEIGHTS))
    pull(REPOSITORY, recipe="bf16", name="other")
    assert len(hub.asked(WEIGHTS)) == asked
    assert not kept.exists()


def test_a_kept_original_that_was_damaged_is_fetched_again(hub: Hub):
    pull(REPOSITORY, recipe="f32", keep_original=True)
    path = part(hub).with_name(WEIGHTS)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    asked = len(hub.asked(WEIGHTS))
    pull(REPOSITORY, recipe="f32", name="other")
    assert len(hub.asked(WEIGHTS)) > asked


def test_a_token_is_shown_to_the_hub_and_to_nobody_else(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    download(hub)
    here = [request for request in hub.requests if request.host.startswith("127.")]
    elsewhere = [request for request in hub.requests if request.host.startswith("localhost")]
    assert {request.token for request in here} == {"Bearer hf_secret"}
    assert {request.token for request in elsewhere} == {""}


@pytest.mark.usefixtures("home")
def test_a_folder_is_installed_without_the_network(
    originals: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LFM_OFFLINE", "1")
    folder = pull(str(originals["v1"]), recipe="f32", name="mine")
    assert (installed.models()[0].name, installed.models()[0].source) == ("mine", "v1")
    assert read_manifest(folder) is not None
    assert (originals["v1"] / WEIGHTS).exists()
    fails(RequestError, "mine: holds 'v1' already", model=str(originals["v1"]), name="mine")


# What is there already


def test_what_is_there_is_not_pulled_again(hub: Hub):
    folder = pull(REPOSITORY, recipe="f32")
    time = (folder / WEIGHTS).stat().st_mtime_ns
    asked, lines = len(hub.requests), list[str]()
    assert pull(REPOSITORY, recipe="f32", tell=lines.append) == folder
    assert lines == [f"lfm2-audio-1.5b: installed already, commit {hub.commit[:12]}"]
    assert len(hub.requests) == asked + 1
    assert (folder / WEIGHTS).stat().st_mtime_ns == time


@pytest.mark.parametrize("change", ["commit", "recipe", "damage"])
def test_another_commit_or_recipe_or_a_damaged_one_is_replaced(hub: Hub, change: str):
    folder = pull(REPOSITORY, recipe="f32")
    recipe = "bf16" if change == "recipe" else "f32"
    if change == "commit":
        hub.commit = "beef" + "1" * 36
    elif change == "damage":
        (folder / WEIGHTS).write_bytes(b"")
    assert pull(REPOSITORY, recipe=recipe) == folder
    (model,) = installed.models()
    assert (model.recipe, model.revision, model.fault) == (recipe, hub.commit, "")


def test_a_failed_replacement_leaves_the_old_one(hub: Hub):
    pull(REPOSITORY, recipe="f32")
    hub.commit = "beef" + "1" * 36
    hub.lie[WEIGHTS] = b"x" * (hub.repositories[REPOSITORY] / WEIGHTS).stat().st_size
    fails(DownloadError, WEIGHTS)
    assert installed.models()[0].revision.startswith("c0ffee")


def test_a_name_that_is_taken_is_not_overwritten(hub: Hub):
    pull(REPOSITORY, recipe="f32")
    model = "LiquidAI/LFM2.5-Audio-1.5B"
    fails(RequestError, "--name", f"'{REPOSITORY}'", model=model, name="lfm2-audio-1.5b")
    unknown = installed.models_folder() / "mine"
    unknown.mkdir()
    (unknown / "work.txt").write_text("mine")
    fails(RequestError, "mine: holds something of unknown origin", "lfm rm mine", name="mine")
    (unknown / "manifest.json").write_text("{")
    fails(RequestError, "mine", "not readable as JSON", "lfm rm mine", name="mine")
    assert (unknown / "work.txt").exists()


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        ("", None, "'' is no folder"),
        ("nonsense", None, "'nonsense' is no folder"),
        ("a/b/c", None, "'a/b/c' is no folder"),
        ("https://a/b", None, "is no folder"),
        ("a/b@", None, "is no folder"),
        (REPOSITORY, "../a", "'../a' cannot be a model's name"),
        (REPOSITORY, "nano", "'nano' is the embedded checkpoint's name"),
        ("somebody/nano", None, "'nano' is the embedded checkpoint's name"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_connection(
    hub: Hub, home: Path, model: str, name: str | None, message: str
):
    fails(RequestError, message, model=model, name=name)
    assert hub.requests == []
    assert not home.exists()


def test_an_unknown_recipe_is_refused(hub: Hub):
    with pytest.raises(RequestError, match=r"recipe '5bit' is unknown; there are 4bit"):
        pull(REPOSITORY, recipe="5bit")
    assert hub.requests == []


def test_a_checkpoint_of_another_model_is_refused_by_the_converter(
    hub: Hub, originals: dict[str, Path], tmp_path: Path
):
    folder = Path(shutil.copytree(originals["v1"], tmp_path / "repository"))
    hub.repositories[REPOSITORY] = folder
    (folder / "config.json").write_text('{"model_type": "llama"}')
    fails(ConfigError, "config.json", "is missing")
    shutil.copyfile(originals["v1"] / "config.json", folder / "config.json")
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-64])
    hub.commit = "beef" + "1" * 36
    fails(CheckpointError, WEIGHTS)


def test_two_pulls_into_one_name(hub: Hub):
    hub.stall[WEIGHTS] = 50_000
    first = threading.Thread(target=pull, args=(REPOSITORY,), kwargs={"recipe": "f32"})
    first.start()
    assert hub.stalled.wait(20)
    fails(RequestError, "lfm2-audio-1.5b: another `lfm` is working on it")
    # Under another name, but for the same download.
    fails(RequestError, hub.commit, "another `lfm` is working on it", name="other")
    hub.released.set()
    first.join()
    assert [(m.name, m.fault) for m in installed.models()] == [("lfm2-audio-1.5b", "")]
