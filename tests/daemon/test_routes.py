"""What all routes share: one shape of faults, no leave for pages in browsers, and no trace of what
was said."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import served
from openai import OpenAI
from served import RECORDINGS, Served, part

client, daemon = served.client, served.daemon
no_worker_stays = served.no_worker_stays


ALARM = RECORDINGS / "seen_00.wav"
CHAT, SPEECH = "/v1/chat/completions", "/v1/audio/speech"
TRANSCRIPTIONS = "/v1/audio/transcriptions"


# How it fails

SECRET = (SPEECH, "-d", '{"input": "a secret"}')


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["/nowhere"], 404, "not_found"),
        (["/v1/nowhere", "-d", "a secret"], 404, "not_found"),
        (["/"], 404, "not_found"),
        (["/v1/chat"], 404, "not_found"),
        ([f"{CHAT}/"], 404, "not_found"),
        ([CHAT], 405, "method_not_allowed"),
        (["/health", "-d", "a secret"], 405, "method_not_allowed"),
        (["/v1/models", "-X", "DELETE"], 405, "method_not_allowed"),
        ([CHAT, "-X", "OPTIONS"], 405, "method_not_allowed"),
        (["/api/jobs/99/cancel", "-X", "POST"], 404, "no_such_job"),
        (["/api/jobs/x/cancel", "-X", "POST"], 404, "not_found"),
        (["/api/jobs", "-d", "a secret"], 400, "invalid_request"),
        ([TRANSCRIPTIONS, "--json", '{"file": "a secret"}'], 415, "invalid_request"),
        ([CHAT, "-d", "a secret"], 400, "invalid_json"),
        ([CHAT, "-d", '{"messages": "a secret"'], 400, "invalid_json"),
        ([CHAT, "-d", '{"temperature": NaN}'], 400, "invalid_json"),
        ([CHAT, "-d", '{"temperature": 1e999}'], 400, "invalid_json"),
        ([CHAT, "-d", '{"user": "a secret", "user": "b"}'], 400, "invalid_json"),
        ([CHAT, "-d", '{"user": "a secret\\ud800"}'], 400, "invalid_json"),
        ([CHAT, "-d", '["a secret"]'], 400, "invalid_request"),
        ([CHAT, "-X", "POST"], 400, "invalid_request"),
        ([SPEECH, "-d", '{"input": "a", "LFM": "a secret"}'], 400, "invalid_request"),
        ([*SECRET, "-H", "LFM-Deadline: x"], 400, "invalid_request"),
        ([*SECRET, "-H", "LFM-Deadline: 0"], 504, "deadline_exceeded"),
    ],
)
def test_every_fault_has_one_shape_and_no_echo(
    arguments: list[str], status: int, code: str, daemon: Served
):
    reply = daemon.curl(*arguments)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert b"secret" not in reply.body and str(daemon.home).encode() not in reply.body
    assert status != 405 or reply.headers["allow"]


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/metrics", "/openapi.json"])
def test_a_head_is_all_but_the_body(path: str, daemon: Served):
    head = daemon.curl(path, "-I")
    assert head.status == 200
    assert head.headers["content-type"] == daemon.curl(path).headers["content-type"]


@pytest.mark.parametrize(
    "arguments",
    [
        [CHAT, "-X", "OPTIONS", "-H", "Access-Control-Request-Method: POST"],
        ["/health"],
        ["/nowhere"],
        [SPEECH, "-d", '{"input": "yes"}'],
        [SPEECH, "-d", "{}"],
        [CHAT, "-d", '{"messages": [{"role": "user", "content": "a"}], "stream": true}'],
    ],
)
def test_a_page_in_a_browser_gets_no_leave(arguments: list[str], daemon: Served):
    """Neither with an answer nor before it."""
    reply = daemon.curl(*arguments, "-H", "Origin: https://evil.example")
    assert not any(name.startswith("access-control-") for name in reply.headers)


def test_too_much_is_refused(daemon: Served):
    """More JSON than memory should hold; and more of anything than can be, before it comes."""
    reply = daemon.curl(CHAT, "-d", "@-", input=b" " * ((64 << 20) + 1))
    assert (reply.status, reply.error["code"]) == (413, "too_large")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(daemon.socket)
        head = f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: lfm\r\nContent-Length: {5 << 30}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("host", ["", "[", "a/b?c"])
def test_a_strange_host_learns_no_path(host: str, daemon: Served):
    reply = daemon.curl("/nowhere", "-H", f"Host: {host}" if host else "Host;")
    assert reply.status in (400, 404) and str(daemon.home).encode() not in reply.body


# What it keeps

WORD = "xylophagous"


def written(daemon: Served) -> bytes:
    """All that it has left in files."""
    paths = [path for path in daemon.home.rglob("*") if path.is_file()]
    assert {path.name for path in paths} == {"daemon.log", "lock", "stderr"}
    return b"".join(path.read_bytes() for path in paths).lower()


def test_what_is_said_is_written_nowhere(client: OpenAI, daemon: Served, tmp_path: Path):
    """Not in the log, not in a file that stays, not even by requests that fail."""
    (tmp_path / f"{WORD}.wav").write_bytes(ALARM.read_bytes())
    (tmp_path / f"{WORD}.txt").write_text(WORD)
    names = ("user", "service_tier", "reasoning_effort", "verbosity", "safety_identifier")
    everywhere: dict[str, Any] = {
        **dict.fromkeys((*names, "prompt_cache_key"), WORD),
        "metadata": {WORD: WORD},
        "audio": {"voice": WORD},
        "max_tokens": 5,
    }
    text = {"type": "text", "text": WORD}
    said: list[Any] = [
        {"role": "system", "content": WORD, "name": WORD},
        {"role": "user", "content": [text, part(ALARM)], "name": WORD},
        {"role": "assistant", "content": WORD, "name": WORD},
        {"role": "user", "content": WORD},
    ]
    fields = [f"-F{name}={WORD}" for name in ("language", "prompt", "chunking_strategy")]
    sound, words = (f"-Ffile=@{tmp_path}/{WORD}.{kind}" for kind in ("wav", "txt"))
    fine = [
        daemon.post(CHAT, {"messages": said, **everywhere}),
        daemon.post(CHAT, {"messages": said, **everywhere, "stream": True}),
        daemon.post(SPEECH, {"input": WORD, "instructions": WORD}),
        daemon.curl(TRANSCRIPTIONS, sound, *fields),
    ]
    assert {reply.status for reply in fine} == {200}
    failed = [
        daemon.post(CHAT, {"messages": said[:3]}),
        daemon.post(CHAT, {"messages": [{"role": WORD, "content": WORD}]}),
        daemon.post(CHAT, {"messages": [{"role": "user", "content": [{"type": WORD}]}]}),
        daemon.post(CHAT, {"messages": said, WORD: WORD}),
        daemon.post(CHAT, {"messages": said, "model": WORD}),
        daemon.post(CHAT, {"messages": said, "keep_alive": WORD}),
        daemon.post(CHAT, {"messages": [{"role": "user", "content": f"{WORD} " * 20_000}]}),
        daemon.post(SPEECH, {"input": WORD, "voice": WORD}),
        daemon.post(SPEECH, {"input": f"{WORD}\ud800"}),
        daemon.post(SPEECH, {"input": "a", "voice": f"{WORD}\ud800"}),
        daemon.curl(SPEECH, "-d", f'{{"input": "{WORD}"'),
        daemon.curl(TRANSCRIPTIONS, words),
        daemon.curl(TRANSCRIPTIONS, words, "-Fstream=true"),
        daemon.curl(TRANSCRIPTIONS, sound, f"-Fmodel={WORD}"),
        daemon.curl(TRANSCRIPTIONS, sound, f"-F{WORD}={WORD}"),
        daemon.curl(f"/v1/models/{WORD}"),
        daemon.curl("/api/jobs", "-d", WORD),
        daemon.curl(SPEECH, "-d", '{"input": "a"}', "-H", f"LFM-Deadline: {WORD}"),
    ]
    assert {reply.status for reply in failed} == {400, 404}
    with client.chat.completions.create(
        model="nano", messages=said, stream=True, modalities=["text", "audio"]
    ) as stream:
        next(iter(stream))  # and is not heard to its end
    daemon.until("ready")
    assert WORD.encode() not in written(daemon) and not daemon.spooled


def leaves_no_trace(daemon: Served, path: str, body: Any) -> None:
    """A client asks for something, and is gone before it has it."""
    before = len(written(daemon))
    command = ["curl", "-s", "-N", "--unix-socket", daemon.socket, f"http://lfm{path}"]
    with subprocess.Popen(
        [*command, "--json", "@-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as asking:
        assert asking.stdin
        asking.stdin.write(json.dumps(body).encode())
        asking.stdin.close()
        daemon.until("busy")
        asking.kill()
    daemon.until("ready")
    found = written(daemon)[before:]
    assert b"cancelled" in found and b"traceback" not in found


def test_a_client_that_leaves_is_no_fault(daemon: Served):
    leaves_no_trace(daemon, SPEECH, {"input": "Two minutes.\n\n" * 9})


def test_a_client_that_leaves_before_the_answer_is_no_fault(daemon: Served):
    question = {"role": "user", "content": [part(ALARM)]}
    leaves_no_trace(daemon, CHAT, {"messages": [question], "modalities": ["audio"]})


def test_a_fault_of_our_own_writes_no_word_either(daemon: Served):
    """Such as a model's name that is too long for a file's."""
    daemon.post(SPEECH, {"input": "a", "model": WORD * 30})
    assert WORD.encode() not in written(daemon)
