"""The daemon itself over HTTP: which models there are, what is in memory, what is measured."""

import json
import os
import signal
import subprocess
from typing import Any

import openai
import pytest
import served
from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families
from served import RECORDINGS, Served, part

from lfm2audio_mlx import __version__
from lfm2audio_mlx.installed import EMBEDDED, folder_size

client, daemon, engine = served.client, served.daemon, served.engine
no_worker_stays = served.no_worker_stays

ALARM = RECORDINGS / "seen_00.wav"
CHAT, SPEECH = "/v1/chat/completions", "/v1/audio/speech"
HEARD = {"messages": [{"role": "user", "content": [part(ALARM)]}]}
LONG = "Two minutes.\n\n" * 20 + " " * 1000
"""Some seconds of work, and so long that others go first."""


# Models


def test_models(client: OpenAI):
    (found,) = client.models.list().data
    assert (found.id, found.object, found.owned_by) == ("nano", "model", "liquid-ai")
    assert found.created == int((EMBEDDED / "config.json").stat().st_mtime)
    assert client.models.retrieve("nano") == found


@pytest.mark.parametrize("name", ["whisper-1", "tts-1", "gpt-4o-audio-preview", "gpt-audio"])
def test_openai_s_own_names_mean_the_usual_model(name: str, client: OpenAI, daemon: Served):
    assert client.models.retrieve(name).id == "nano"
    assert daemon.post("/api/load", {"model": name}).json()["model"] == "nano"
    assert client.chat.completions.create(**HEARD, model=name).model == "nano"  # type: ignore


@pytest.mark.parametrize("name", ["lfm-9", "nano ", "Nano", "/nowhere", "\0", "\u2028", "a" * 300])
def test_an_unknown_model_is_not_found(name: str, client: OpenAI, daemon: Served):
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve(name)
    assert missing.value.code == "model_not_found"
    for path, body in ((CHAT, HEARD), (SPEECH, {"input": "a"}), ("/api/load", {})):
        reply = daemon.post(path, {**body, "model": name})
        assert (reply.status, reply.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/", "..", "%7E", "run", "%7Enobody-here"])
def test_a_folder_is_no_model_for_that(path: str, daemon: Served):
    reply = daemon.curl(f"/v1/models/{path}", "--path-as-is")
    assert reply.status in (400, 404) and reply.error["code"] in (
        "model_not_found",
        "invalid_request",
    )


# Health, and what is in memory


def test_a_model_comes_and_goes(daemon: Served):
    daemon.unload()
    assert daemon.curl("/api/ps").json() == {"models": []}
    health = daemon.health()
    assert health == {
        "status": "ok",
        "version": __version__,
        "state": "absent",
        "model": None,
        "queue": 0,
        "pid": daemon.process.pid,
        "home": str(daemon.home),
    }
    loaded = daemon.post("/api/load", {"model": "nano"}).json()
    assert loaded.pop("device") in ("cpu", "gpu")
    assert loaded == {"model": "nano", "sample_rate": 24_000, "voices": ["us-male", "uk-female"]}
    assert daemon.health() == {**health, "state": "ready", "model": "nano"}
    (found,) = daemon.curl("/api/ps").json()["models"]
    assert found["name"] == "nano" and found["size"] == folder_size(EMBEDDED)
    assert 0 < found["until"] <= 300 and found["memory"] > found["size"]
    assert found["pid"] == (worker := daemon.worker()).pid and worker.is_running()  # type: ignore
    gone = daemon.curl("/api/unload", "-X", "POST").json()
    assert gone == {"model": "nano", "state": "absent"} and not worker.is_running()  # type: ignore
    assert daemon.curl("/api/unload", "-X", "POST").json() == {"model": None, "state": "absent"}


def test_health_answers_while_a_model_is_loaded(daemon: Served):
    daemon.unload()
    command = ["curl", "-sS", "--unix-socket", daemon.socket, "http://lfm/api/load", "--json", "{}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as loading:
        daemon.until("loading")
        assert daemon.health()["queue"] == 1 and daemon.curl("/metrics").status == 200
        assert json.loads(loading.communicate()[0])["model"] == "nano"
    assert daemon.health()["state"] == "ready"


def test_a_long_speech_keeps_nobody_waiting(client: OpenAI, daemon: Served):
    with client.audio.speech.with_streaming_response.create(
        model="nano", input=LONG, voice="alloy", response_format="pcm"
    ) as response:
        pieces = response.iter_bytes(1024)
        assert next(pieces)
        health = daemon.health()
        assert (health["state"], health["queue"], health["model"]) == ("busy", 1, "nano")
        # Others have their turn while it goes on.
        assert daemon.post(CHAT, HEARD).status == 200
        assert daemon.health()["queue"] == 1
    daemon.until("ready")


def test_a_worker_that_is_killed_is_replaced(client: OpenAI, daemon: Served):
    daemon.post("/api/load", {})
    before, restarts = daemon.worker(), metric(daemon, "lfm_worker_restarts_total")
    assert before
    os.kill(before.pid, signal.SIGKILL)
    daemon.until("absent")
    assert client.chat.completions.create(**HEARD, model="nano").choices  # type: ignore
    after = daemon.worker()
    assert after and after.pid != before.pid
    assert metric(daemon, "lfm_worker_restarts_total") == restarts + 1


def test_what_is_lost_with_a_worker_is_told(client: OpenAI, daemon: Served):
    with client.audio.speech.with_streaming_response.create(
        model="nano",
        input=LONG,
        voice="alloy",
        stream_format="sse",
        response_format="pcm",
    ) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        worker = daemon.worker()
        assert worker
        os.kill(worker.pid, signal.SIGKILL)
        *_, event, data = filter(None, lines)
    assert event == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "worker_died"
    assert daemon.post(CHAT, HEARD).status == 200


@pytest.mark.parametrize("keep_alive", ["90s", 90, 89.5, "1m30s"])
def test_a_model_stays_for_a_while(keep_alive: Any, daemon: Served):
    daemon.post("/api/load", {"keep_alive": keep_alive})
    assert 80 < daemon.curl("/api/ps").json()["models"][0]["until"] <= 90


@pytest.mark.parametrize("keep_alive", [-1, "-1", "-5m"])
def test_a_model_stays_for_ever(keep_alive: Any, daemon: Served):
    daemon.post("/api/load", {"keep_alive": keep_alive})
    assert daemon.curl("/api/ps").json()["models"][0]["until"] is None


def test_any_request_can_let_the_model_go(client: OpenAI, daemon: Served):
    """And for each the usual time is back unless it says otherwise."""
    now: Any = {"extra_body": {"keep_alive": 0}}
    client.chat.completions.create(**HEARD, model="nano", **now)  # type: ignore
    daemon.until("absent")
    client.audio.speech.create(model="nano", input="yes", voice="alloy", **now)
    daemon.until("absent")
    client.audio.transcriptions.create(model="nano", file=ALARM, extra_body={"keep_alive": "0"})
    daemon.until("absent")
    daemon.post("/api/load", {"keep_alive": 0})
    daemon.until("absent")
    client.chat.completions.create(**HEARD, model="nano")  # type: ignore
    assert 290 < daemon.curl("/api/ps").json()["models"][0]["until"] <= 300


@pytest.mark.parametrize("keep_alive", ["soon", "", "5x", "nan", True, [], {}, "1 000", "\ud800"])
def test_a_time_that_is_none_is_refused(keep_alive: Any, daemon: Served):
    for path, body in (("/api/load", {}), (SPEECH, {"input": "a"}), (CHAT, HEARD)):
        assert daemon.post(path, {**body, "keep_alive": keep_alive}).status == 400


# Metrics


def samples(daemon: Served) -> dict[tuple[str, ...], float]:
    """All that is measured, by name and labels."""
    reply = daemon.curl("/metrics")
    assert reply.headers["content-type"] == ["text/plain; version=0.0.4; charset=utf-8"]
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


def metric(daemon: Served, *name: str) -> float:
    return samples(daemon).get(name, 0.0)


def test_everything_is_measured(client: OpenAI, daemon: Served):
    before = samples(daemon)
    client.audio.transcriptions.create(model="nano", file=ALARM)
    client.audio.speech.create(model="nano", input="yes", voice="alloy")
    daemon.post(CHAT, {**HEARD, "modalities": ["text", "audio"], "max_tokens": 12})
    daemon.post(SPEECH, {"input": "a", "voice": "bob"})
    daemon.unload()
    found = samples(daemon)
    new = {name: value - before.get(name, 0) for name, value in found.items()}
    assert new["lfm_jobs_total", "spans", "done"] == new["lfm_jobs_total", "say", "done"] == 1
    assert new["lfm_jobs_total", "chat", "done"] == 1
    assert new["lfm_jobs_total", "say", "invalid_request"] == 1
    for kind in ("spans", "chat"):
        assert new["lfm_first_token_seconds_count", kind] == 1
    for kind in ("say", "chat"):
        assert new["lfm_first_audio_seconds_count", kind] == 1
    for kind in ("spans", "say", "chat"):
        assert new["lfm_real_time_factor_count", kind] == 1
        assert found["lfm_real_time_factor_sum", kind] > 0
    assert found["lfm_load_seconds_count",] >= 1
    assert (found["lfm_queue",], found["lfm_memory_bytes",]) == (0, 0)
    assert found["lfm_active_memory_bytes",] > 1 << 20
    daemon.post("/api/load", {})
    loaded = samples(daemon)
    assert loaded["lfm_load_seconds_count",] == found["lfm_load_seconds_count",] + 1
    assert loaded["lfm_memory_bytes",] > 1 << 20
