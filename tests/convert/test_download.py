"""What can go wrong between the real huggingface_hub client and a hub: refusals, lies, cuts."""

import contextlib
import hashlib
import re
import socket
from pathlib import Path

import pytest

from hub import Hub
from lfm2audio_mlx.errors import DownloadError
from pulling import REPOSITORY, WEIGHTS, download, fails, part, use

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
