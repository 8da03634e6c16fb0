"""Who is let in, at real sockets."""

import asyncio
import http.client
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from workbench import NOBODY, as_root, python

from lfm_daemon.access import BodyLimit, PrivateProtocol, TokenRequired, peer_uid
from lfm_daemon.faults import Fault, as_json

TOKEN = "a-token-of-20-letters"
LARGEST = 1000
BEARER = {"Authorization": f"Bearer {TOKEN}"}

Answer = tuple[int, bytes]


async def hello(request: Request) -> Response:
    request.app.state.asked.append(request.url.path)
    return PlainTextResponse("hello")


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


async def told(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, Fault)
    return JSONResponse(as_json(fault), fault.status, fault.headers)


@pytest.fixture(scope="module")
def application() -> Starlette:
    routes = [
        Route("/", hello),
        Route("/length", length, methods=["POST"]),
        WebSocketRoute("/ws", echo),
    ]
    middleware = [Middleware(TokenRequired, token=TOKEN), Middleware(BodyLimit, largest=LARGEST)]
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={Fault: told})
    return app


@pytest.fixture
def app(application: Starlette) -> Starlette:
    """Served wherever a test wants it; `state.asked` are the requests that have come to it."""
    application.state.asked = []
    return application


@contextmanager
def served(app: Starlette, *listeners: socket.socket) -> Iterator[None]:
    """The daemon's own way of serving, for a while."""
    config = uvicorn.Config(
        app,
        http=PrivateProtocol,
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(list(listeners))))
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def path_of(application: Starlette) -> Iterator[Path]:
    """A Unix socket at which it is served, in a folder that has become everybody's."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="lfm-test-"))
    folder.chmod(0o777)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        (folder / "s").chmod(0o666)
        with served(application, listener):
            yield folder / "s"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def port_of(application: Starlette) -> Iterator[int]:
    """A TCP port at which it is served."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with served(application, listener):
            yield listener.getsockname()[1]


@pytest.fixture
def path(app: Starlette, path_of: Path) -> Path:
    return path_of


@pytest.fixture
def port(app: Starlette, port_of: int) -> int:
    return port_of


def asked(
    where: Path | int,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    method: str = "GET",
    url: str = "/",
    host: str = "127.0.0.1",
) -> Answer:
    """Sends a request as it is given, byte for byte, and reads the answer."""
    lines = [f"{method} {url} HTTP/1.1", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    with connected(where, host) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def connected(where: Path | int, host: str = "127.0.0.1") -> socket.socket:
    if isinstance(where, int):
        return socket.create_connection((host, where), timeout=10)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(where))
    return connection


def test_the_user_at_the_other_end_is_known():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_uid(ours) == peer_uid(theirs) == os.getuid()


AS_SOMEBODY = """
import os, socket, sys
path, user, begin = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode().decode("unicode_escape")
os.setuid(user)  # of the same group
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(10)
    connection.connect(path)
    try:
        connection.sendall(begin.encode())
        found = connection.recv(10_000)
    except ConnectionError:
        found = b""
print(found)
"""
REQUEST = r"GET / HTTP/1.1\r\nHost: lfm\r\n\r\n"
UPGRADE = (
    r"GET /ws HTTP/1.1\r\nHost: lfm\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    r"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@as_root
@pytest.mark.parametrize("request_", [REQUEST, UPGRADE, "rubbish", ""])
def test_another_user_is_hung_up_on(
    path: Path, app: Starlette, request_: str, caplog: pytest.LogCaptureFixture
):
    """Whatever modes the socket and its folder have come to have."""
    with python(AS_SOMEBODY, path, NOBODY, request_) as process:
        assert process.communicate(timeout=10)[0] == "b''\n"
    assert app.state.asked == [] and not caplog.records
    assert asked(path, {"Host": "lfm"}) == (200, b"hello")


@as_root
def test_the_same_user_is_served_in_the_same_way(path: Path):
    """So that the test above says something."""
    with python(AS_SOMEBODY, path, os.getuid(), REQUEST) as process:
        assert process.communicate(timeout=10)[0].startswith("b'HTTP/1.1 200 OK")


def test_nobody_needs_a_token_at_the_socket(path: Path):
    for headers in ({"Host": "evil.example"}, {"Host": "lfm", "Authorization": "Bearer wrong"}):
        assert asked(path, headers) == (200, b"hello")


@pytest.mark.parametrize(
    "headers",
    [{}]
    + [{"Authorization": value} for value in ("", "Bearer", "Bearer ", "Bearer wrong", TOKEN)]
    + [{"Authorization": f"Bearer {value}"} for value in (TOKEN[:-1], TOKEN + "x", TOKEN.upper())]
    + [{"Authorization": f"Basic {TOKEN}"}, {"X-Token": TOKEN}, {"Cookie": f"token={TOKEN}"}]
    + [{"Authorization": "Bearer tökén"}],
)
def test_a_port_asks_for_the_token(port: int, app: Starlette, headers: dict[str, str]):
    status, body = asked(port, {"Host": "localhost", **headers})
    assert status == 401 and b'"code":"wrong_token"' in body
    assert TOKEN.encode() not in body and app.state.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
@pytest.mark.parametrize("suffix", ["", ":8000", ":"])
def test_this_machine_has_these_names(port: int, host: str, suffix: str):
    assert asked(port, {"Host": host + suffix, **BEARER}) == (200, b"hello")


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io"),
        *("evil.example:127.0.0.1", "127.0.0.1@evil.example", "0.0.0.0", "[::]", "::1", "[::1"),
        "localhost:1:2",
    ],
)
def test_any_other_name_is_refused_even_with_the_token(port: int, app: Starlette, host: str):
    """A page whose name has come to lead here (DNS rebinding) sends its own name."""
    status, body = asked(port, {"Host": host, **BEARER})
    assert status == 421 and b'"code":"wrong_host"' in body
    assert app.state.asked == []


def test_a_request_without_any_name_is_refused(port: int):
    assert asked(port, BEARER)[0] in (400, 421)


def test_the_token_is_asked_for_also_where_there_is_no_such_page(port: int):
    assert asked(port, {"Host": "localhost"}, url="/nothing")[0] == 401
    assert asked(port, {"Host": "localhost", **BEARER}, url="/nothing")[0] == 404


def test_the_token_is_asked_for_at_the_other_loopback_address_too(app: Starlette):
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener, served(app, listener):
        port = listener.getsockname()[1]
        assert asked(port, {"Host": "[::1]"}, host="::1")[0] == 401
        assert asked(port, {"Host": f"[::1]:{port}", **BEARER}, host="::1") == (200, b"hello")


def test_socket_and_port_are_served_at_once(app: Starlette, home: Path):
    with socket.socket(socket.AF_UNIX) as one, socket.create_server(("127.0.0.1", 0)) as other:
        one.bind(str(home / "s"))
        with served(app, one, other):
            assert asked(home / "s", {"Host": "lfm"})[0] == 200
            assert asked(other.getsockname()[1], {"Host": "localhost"})[0] == 401


def websocket_at(where: Path | int, headers: dict[str, str]) -> str | bytes:
    """What is sent there comes back."""
    uri = f"ws://localhost:{where}/ws" if isinstance(where, int) else "ws://lfm/ws"
    with (
        connected(where) as connection,
        connect(uri, sock=connection, additional_headers=headers) as websocket,
    ):
        websocket.send("hello")
        return websocket.recv()


def test_a_websocket_needs_the_token_at_a_port(port: int):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        with pytest.raises(InvalidStatus) as refused:
            websocket_at(port, headers)
        assert refused.value.response.status_code == 403
    assert websocket_at(port, BEARER) == "hello"


def test_a_websocket_of_another_name_is_refused(port: int):
    with connected(port) as connection:
        request = UPGRADE.replace(r"\r\n", "\r\n").replace("lfm", "evil.example")
        connection.sendall(f"{request[:-2]}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 403")


def test_a_websocket_needs_no_token_at_the_socket(path: Path):
    assert websocket_at(path, {}) == "hello"


def chunk(size: int) -> bytes:
    return b"%x\r\n%s\r\n" % (size, b"x" * size)


@pytest.mark.parametrize("size", [0, 1, LARGEST])
def test_a_body_may_be_as_large_as_this(path: Path, size: int):
    expected = (200, str(size).encode())
    length = {"Host": "lfm", "Content-Length": str(size)}
    assert asked(path, length, b"x" * size, "POST", "/length") == expected
    pieces = chunk(1) * size + b"0\r\n\r\n"
    chunked = {"Host": "lfm", "Transfer-Encoding": "chunked"}
    assert asked(path, chunked, pieces, "POST", "/length") == expected


def test_a_body_that_says_it_is_too_large_is_refused_at_once(path: Path):
    for size in (LARGEST + 1, 10**15):
        headers = {"Host": "lfm", "Content-Length": str(size)}
        status, body = asked(path, headers, method="POST", url="/length")
        assert status == 413 and b'"code":"too_large"' in body


def test_a_body_is_counted_while_it_comes(path: Path):
    """It is refused when it is too large, though its end is never sent."""
    with connected(path) as connection:
        head = "POST /length HTTP/1.1\r\nHost: lfm\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + chunk(600))
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10)
        connection.sendall(chunk(401))
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 413 and b'"code":"too_large"' in response.read()
