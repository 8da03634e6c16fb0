"""Pulling with the real huggingface_hub client from a small hub on loopback: all that can go wrong.

The client reads `HF_ENDPOINT` when it is imported, so here the hub's address is put where it keeps
it; tests/cli/test_models.py sets the variable itself, for commands in processes of their own.
"""

import contextlib
import hashlib
import re
import shutil
import socket
import threading
from collections.abc import Generator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from hub import Hub
from lfm2audio_mlx import installed
from lfm2audio_mlx.config import read_config
from lfm2audio_mlx.errors import CheckpointError, ConfigError, DownloadError, RequestError
from lfm2audio_mlx.installed import DEFAULT
from lfm2audio_mlx.manifest import read_manifest
from lfm_convert import store
from lfm_convert.catalogue import CATALOGUE
from lfm_convert.download import fetch, look_up
from lfm_convert.prompts import PROMPTS
from lfm_convert.pull import pull

REPOSITORY = "LiquidAI/LFM2-Audio-1.5B"
WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LFM_HOME", str(tmp_path / "home"))
    for name in ("LFM_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    # So that a cut tiny file has something to go on from.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)
    return tmp_path / "home"


@pytest.fixture
def hub(originals: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Generator[Hub]:
    """Serves the random checkpoints; a test may serve a copy and change it."""
    repositories = {REPOSITORY: originals["v1"], "LiquidAI/LFM2.5-Audio-1.5B": originals["v25"]}
    with Hub(repositories) as hub:
        use(hub.url, monkeypatch)
        yield hub
        huggingface_hub.close_session()


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    files = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)


def part(hub: Hub, name: str = WEIGHTS) -> Path:
    folder = f"{REPOSITORY.replace('/', '--')}@{hub.commit}"
    return store.originals_folder() / folder / f"{name}.part"


def download(hub: Hub) -> None:
    """The half of a pull that comes before the conversion, which takes longer."""
    fetch(look_up(REPOSITORY, "main"), part(hub).parent)
    original = hub.repositories[REPOSITORY]
    for path in original.rglob("*"):
        if path.is_file():
            made = part(hub).parent / path.relative_to(original)
            assert made.read_bytes() == path.read_bytes()
    assert not list(part(hub).parent.rglob("*.part"))


def fails(kind: type[Exception], *parts: str, model: str = REPOSITORY, name: str | None = None):
    """A pull that is refused in one line, and leaves nothing that could be taken for a model."""
    before = installed.models()
    with pytest.raises(kind) as caught:
        pull(model, recipe="f32", name=name)
    message = str(caught.value)
    assert "\n" not in message
    for text in parts:
        assert text in message
    assert installed.models() == before
    unfinished = installed.models_folder() / ".unfinished"
    assert not unfinished.exists() or list(unfinished.iterdir()) == []


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


# What the hub may answer

API, FILE = f"/{REPOSITORY}/revision/main", "config.json"
ANSWERS = {
    "gated": (API, 403, "GatedRepo", ["accept the licence", REPOSITORY, "hf auth login"]),
    "gated 401": (API, 401, "GatedRepo", ["accept the licence", "HF_TOKEN"]),
    "forbidden": (API, 403, "", ["accept the licence", "403"]),
    "no token": (API, 401, "", ["not there, or not for you", "hf auth login", "HF_TOKEN"]),
    "none": (API, 404, "RepoNotFound", ["there is no such repository"]),
    "lost": (API, 404, "", ["not found (404)"]),
    "busy": (API, 429, "", ["too many requests (429)", "later"]),
    "down": (API, 503, "", ["503", "later"]),
    "gated file": (FILE, 403, "GatedRepo", [FILE, "accept the licence"]),
    "no file": (FILE, 404, "EntryNotFound", [FILE, "not found"]),
    "no weights": (WEIGHTS, 500, "", [WEIGHTS, "500"]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_refusal_is_told_in_one_line(hub: Hub, name: str):
    end, status, code, parts = ANSWERS[name]
    hub.refuse[end] = (status, code)
    fails(DownloadError, REPOSITORY, *parts)


def test_after_a_refusal_nothing_is_stuck(hub: Hub):
    hub.refuse[WEIGHTS] = (500, "")
    fails(DownloadError, WEIGHTS, "500")
    hub.refuse.clear()
    download(hub)
    assert len(hub.asked(f"/{FILE}")) == 1  # what came before the refusal was kept


def test_an_unknown_repository_or_revision_is_named(hub: Hub):
    fails(DownloadError, "some/thing: there is no such repository", model="some/thing")
    fails(DownloadError, "no revision 'old'", REPOSITORY, model=f"{REPOSITORY}@old")
    fails(DownloadError, "no revision 'refs/pr/1'", model=f"{REPOSITORY}@refs/pr/1")


def test_a_hub_that_is_not_there_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    use(f"http://127.0.0.1:{port}", monkeypatch)
    fails(DownloadError, f"no connection to 127.0.0.1:{port}", "refused")


@pytest.mark.parametrize("variable", ["LFM_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_means_no_connection(hub: Hub, monkeypatch: pytest.MonkeyPatch, variable: str):
    monkeypatch.setenv(variable, "1")
    fails(DownloadError, f"{variable}=1 forbids the network")
    assert hub.requests == []
    monkeypatch.setenv(variable, "0")
    download(hub)


def test_a_repository_without_a_checkpoint_is_refused(hub: Hub, tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("no model")
    hub.repositories["some/thing"] = tmp_path / "other"
    fails(DownloadError, "some/thing: holds no checkpoint", model="some/thing")


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


@pytest.mark.parametrize(
    "name", ["../evil.json", "/tmp/evil.json", "a/../../evil.json", "a\\b.json", "./config.json"]
)
def test_a_file_name_that_leads_out_is_refused(hub: Hub, name: str):
    hub.extra.append({"rfilename": name, "size": 1, "blobId": "0" * 40})
    fails(DownloadError, "leads out of its folder")


def test_a_hub_that_gives_no_commit_or_no_sizes_is_refused(hub: Hub):
    hub.extra.append({"rfilename": "extra.json"})
    fails(DownloadError, "does not say how large 'extra.json' is")
    hub.commit = "../../evil"
    fails(DownloadError, "names no commit")


def test_more_than_the_disk_holds_is_refused_at_once(hub: Hub):
    hub.extra.append({"rfilename": "huge.safetensors", "size": 10**18, "blobId": "0" * 40})
    fails(DownloadError, "GB are needed", "GB are free", "3,000,000,000.")
    assert not hub.asked(FILE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_is_named(hub: Hub):
    part(hub).parent.mkdir(parents=True)
    part(hub).symlink_to("/dev/full")
    fails(DownloadError, WEIGHTS, "the disk is full")


# Cuts and lies


def test_a_connection_that_is_cut_goes_on_where_it_ended(hub: Hub):
    hub.cut[WEIGHTS] = 100_000
    download(hub)
    asked = [request.range for request in hub.asked(WEIGHTS) if "/cdn/" in request.path]
    assert asked[0] == ""
    assert re.fullmatch(r"bytes=[1-9]\d{4}-", asked[1])
    assert int(asked[1][6:-1]) <= 100_000
    assert len(asked) == 2


def test_a_pull_that_was_cut_off_goes_on_in_the_next(hub: Hub):
    """The next process: what the first left is on disk and nowhere else."""
    original = (hub.repositories[REPOSITORY] / WEIGHTS).read_bytes()
    part(hub).parent.mkdir(parents=True)
    part(hub).write_bytes(original[:70_000])
    download(hub)
    assert {request.range for request in hub.asked(WEIGHTS)} == {"bytes=70000-"}


def test_a_hub_without_ranges_starts_again(hub: Hub):
    hub.ignore_ranges = True
    part(hub).parent.mkdir(parents=True)
    part(hub).write_bytes(b"x" * 70_000)
    download(hub)
    assert {request.range for request in hub.asked(WEIGHTS)} == {"bytes=70000-"}


@pytest.mark.parametrize("length", [0, 1, 1 << 30])
def test_any_remains_of_a_download_can_be_gone_on_from(hub: Hub, length: int):
    part(hub).parent.mkdir(parents=True)
    with part(hub).open("wb") as file:
        file.write((hub.repositories[REPOSITORY] / WEIGHTS).read_bytes()[:length])
        file.truncate(length)  # 1 << 30: longer than the whole
    download(hub)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_wrong_digest_is_refused_by_name_and_not_kept(hub: Hub, name: str):
    """huggingface_hub takes such a file for good."""
    true = (hub.repositories[REPOSITORY] / name).read_bytes()
    hub.lie[name] = true[:-2] + bytes([true[-2] ^ 1]) + true[-1:]
    assert hashlib.sha256(hub.lie[name]).digest() != hashlib.sha256(true).digest()
    fails(DownloadError, f"{name} is not what the hub announced", "digest")
    assert not part(hub, name).exists()
    hub.lie.clear()
    download(hub)


def test_remains_of_something_else_are_found_out(hub: Hub):
    part(hub).parent.mkdir(parents=True)
    part(hub).write_bytes(b"x" * 70_000)
    fails(DownloadError, f"{WEIGHTS} is not what the hub announced")
    download(hub)


@pytest.mark.parametrize("size", [-10, 10])
def test_a_wrong_size_is_refused_by_name_and_mended_later(hub: Hub, size: int):
    true = (hub.repositories[REPOSITORY] / WEIGHTS).read_bytes()
    hub.lie[WEIGHTS] = true[:size] if size < 0 else true + b"x" * size
    fails(DownloadError, WEIGHTS)
    hub.lie.clear()
    with contextlib.suppress(DownloadError):
        download(hub)
    download(hub)


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
