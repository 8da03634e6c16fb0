"""Live voice at the socket itself: nonsense, sizes, tokens, subprotocols."""

import json
import struct
import time
from typing import Any

import live_daemon
import numpy as np
import pytest
from live_daemon import ALARM, TOKEN, Daemon, eventually
from live_sound import pcm, silence
from openai import OpenAI
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

client, daemon = live_daemon.client, live_daemon.daemon
no_worker_stays = live_daemon.no_worker_stays

# OpenAI's client opens its socket in a way that the library has given up meanwhile.
pytestmark = pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")


def test_the_model_is_loaded_before_anybody_speaks(daemon: Daemon):
    daemon.get("/api/unload", "POST")
    assert daemon.state == "absent"
    with daemon.raw() as connection:
        assert told(connection)["type"] == "session.created"
        eventually(lambda: daemon.state == "ready")


def told(connection: ClientConnection) -> dict[str, Any]:
    return json.loads(connection.recv(timeout=20))


@pytest.mark.parametrize(
    "message", ["", "hello", "{", "[]", b"\x00\xff", json.dumps({"type": "session.upset"})]
)
def test_nonsense_is_an_error_and_no_end(daemon: Daemon, message: str | bytes):
    with daemon.raw() as connection:
        assert told(connection)["type"] == "session.created"
        connection.send(message)
        assert told(connection)["type"] == "error"
        connection.send(json.dumps({"type": "session.update", "session": {}}))
        assert told(connection)["type"] == "session.updated"


def test_a_message_may_not_be_huge(daemon: Daemon):
    """It is refused as soon as it is announced: a masked frame of text, and its length. Of one that
    is sent whole the connection may be reset before the reason is read."""
    with daemon.raw() as connection:
        assert told(connection)["type"] == "session.created"
        connection.socket.sendall(b"\x81\xff" + struct.pack("!Q", 17 << 20) + bytes(4))
        with pytest.raises(ConnectionClosed) as closed:
            told(connection)
        assert closed.value.rcvd and closed.value.rcvd.code == 1009


def test_many_minutes_in_one_message_hold_up_nobody_else(daemon: Daemon):
    with daemon.raw() as connection:
        assert told(connection)["type"] == "session.created"
        audio = pcm(np.tile(np.concatenate([silence(2), ALARM]), 20))
        connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        assert told(connection)["type"] == "input_audio_buffer.speech_started"
        slowest = 0.0
        for _ in range(20):
            begun = time.monotonic()
            daemon.get("/health")
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 0.5


def test_a_model_that_is_not_there_is_no_session(client: OpenAI):
    with client.realtime.connect(model="no-such-model") as connection:
        event = connection.recv()
        assert event.type == "error" and event.error.code == "model_not_found"
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()
    assert closed.value.rcvd and closed.value.rcvd.code == 1008


def test_nobody_comes_in_without_the_token(daemon: Daemon):
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://127.0.0.1:{daemon.port}/v1/realtime"),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_browsers_get_the_subprotocol_that_they_ask_for(daemon: Daemon):
    with connect(
        f"ws://127.0.0.1:{daemon.port}/v1/realtime",
        subprotocols=["realtime", "openai-beta.realtime-v1"],  # type: ignore
        additional_headers={"Authorization": f"Bearer {TOKEN}"},
    ) as connection:
        assert connection.subprotocol == "realtime"
