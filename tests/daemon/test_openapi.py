"""The daemon's description of itself is valid, complete and true."""

import copy
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
import served
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from served import RECORDINGS, Served, part, serving
from starlette.routing import Route

from lfm_daemon.app import application
from lfm_daemon.metrics import Metrics
from lfm_daemon.openapi import described
from lfm_daemon.resident import Resident
from lfm_daemon.service import DEADLINE, Service
from lfm_daemon.threads import Threads
from lfm_daemon.wire import CONTENT_TYPE, Frame

no_worker_stays = served.no_worker_stays

TOKEN = "a-token-of-this-test"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]
SOUND = (RECORDINGS / "seen_13.flac").read_bytes()
QUESTION = {"role": "user", "content": [part(SOUND)]}

API = schemathesis.openapi.from_dict(copy.deepcopy(described()))


@pytest.fixture(scope="module")
def at_a_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """A daemon, and its address at a port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with serving(tmp_path_factory.mktemp("lfm"), "--port", port, "--token", TOKEN) as daemon:
        yield daemon, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def url(at_a_port: tuple[Served, str]) -> str:
    return at_a_port[1]


@schemathesis.serializer(CONTENT_TYPE)
def as_it_is(context: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def test_it_is_valid():
    API.validate()
    document = described()
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert names == document["components"]["schemas"].keys()


def test_it_lists_every_route():
    routes = application(Service(Resident(Metrics(), 0.0), Threads())).routes
    there = {
        (method.lower(), route.path_format)
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    told = described()["paths"]
    assert there == {(method, path) for path, methods in told.items() for method in methods}


def test_it_is_served(url: str):
    assert requests.get(f"{url}/openapi.json", headers=AUTHORIZED).json() == described()


def test_it_is_made_without_mlx():
    code = """
import sys
from lfm_daemon.openapi import described
described()
assert not {"mlx", "numpy"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "mp3"}}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
CLASSIFY = {
    "job": "classify",
    "options": {"labels": ["yes", "no"]},
    "sounds": [{"size": len(SOUND)}],
}


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("GET", "/health", None, "application/json"),
        ("GET", "/metrics", None, "text/plain"),
        ("GET", "/v1/models", None, "application/json"),
        ("GET", "/v1/models/{model}", None, "application/json"),
        ("POST", "/api/load", {}, "application/json"),
        ("GET", "/api/ps", None, "application/json"),
        ("POST", "/api/jobs", Frame(CLASSIFY).encode() + SOUND, CONTENT_TYPE),
        ("POST", "/v1/audio/transcriptions", {"file": SOUND}, "application/json"),
        *(
            ("POST", "/v1/audio/transcriptions", {"file": SOUND, "response_format": form}, kind)
            for form, kind in [
                ("verbose_json", "application/json"),
                ("text", "text/plain"),
                ("srt", "text/plain"),
                ("vtt", "text/plain"),
            ]
        ),
        (
            *("POST", "/v1/audio/transcriptions"),
            {"file": SOUND, "stream": True, "progress": True},
            "text/event-stream",
        ),
        *(
            ("POST", "/v1/audio/speech", {"input": "yes", "response_format": form}, kind)
            for form, kind in [
                ("mp3", "audio/mpeg"),
                ("wav", "audio/wav"),
                ("flac", "audio/flac"),
                ("opus", "audio/ogg"),
                ("pcm", "audio/pcm"),
            ]
        ),
        ("POST", "/v1/audio/speech", {"input": "yes", "stream_format": "sse"}, "text/event-stream"),
        ("POST", "/v1/chat/completions", {"messages": [QUESTION]}, "application/json"),
        ("POST", "/v1/chat/completions", {"messages": [QUESTION], **SPOKEN}, "application/json"),
        ("POST", "/v1/chat/completions", {"messages": [QUESTION], **STREAMED}, "text/event-stream"),
        (
            *("POST", "/v1/chat/completions"),
            {"messages": [QUESTION], **SPOKEN, **STREAMED},
            "text/event-stream",
        ),
        ("POST", "/api/unload", None, "application/json"),
    ],
)
def test_each_kind_of_answer_is_as_it_says(method: str, path: str, body: Any, kind: str, url: str):
    operation = API[path][method]
    parameters = {"model": "nano"} if "{model}" in path else {}
    more = {} if body is None else {"body": body}
    case = operation.Case(path_parameters=parameters, **more)
    response = case.call_and_validate(base_url=url, headers=AUTHORIZED, checks=CHECKS)
    assert response.status_code == 200
    assert response.headers["content-type"][0].partition(";")[0] == kind


def soon_done(case: schemathesis.Case) -> None:
    """The same request, but its work is small, and one that could be served mostly is."""
    with suppress(ValueError):
        if float(case.headers.get(DEADLINE, "")) < 60:
            case.headers[DEADLINE] = "60"
    body: Any = case.body
    if not isinstance(body, dict):
        return
    if isinstance(text := body.get("input"), str) and 3 < len(text) <= 1_000_000:
        body["input"] = "yes"
    if case.meta and case.meta.generation.mode.is_positive:
        if "model" in body:
            body["model"] = "nano"
        if "file" in body:
            body["file"] = SOUND
        if "messages" in body:
            body["max_completion_tokens"] = 2
            users = [each for each in body["messages"] if each["role"] == "user"]
            body["messages"] = [*users, {"role": "user", "content": "yes"}]


@API.parametrize()
@settings(
    max_examples=5,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_it_is_true(case: schemathesis.Case, url: str):
    """Whatever is sent, right or wrong: no fault of ours, and an answer that is described."""
    soon_done(case)
    case.call_and_validate(base_url=url, headers=AUTHORIZED, checks=CHECKS)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({**AUTHORIZED, "Host": "evil.example"}, 421),
        ({**AUTHORIZED, "Host": "localhost"}, 200),
    ],
)
def test_at_a_port_only_the_token_s_owner_is_served(
    headers: dict[str, str], status: int, at_a_port: tuple[Served, str]
):
    daemon, url = at_a_port
    case = API["/v1/models"]["GET"].Case()
    assert case.call_and_validate(base_url=url, headers=headers).status_code == status
    assert daemon.curl("/v1/models").status == 200
