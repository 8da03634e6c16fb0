"""A small hub on loopback, for the real huggingface_hub client.

Serves a folder as a repository: its listing with sizes and digests, and its files by commit, with
ranges. Large files (`*.safetensors`) are listed with their sha256 and come, as on the real hub, by
a redirect to another host; small ones have git's digest. Tests switch faults on.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["Hub", "Request"]


@dataclass(frozen=True)
class Request:
    """What a client asked for; `range` and `token` are "" if it sent none."""

    path: str
    host: str
    range: str
    token: str


@dataclass
class Hub:
    """Holds repositories and faults; `with hub:` serves.

    `refuse`: for paths that end so, a status and the hub's error code. `cut`: bytes after which
    the connection is closed, once. `stall`: bytes after which nothing more comes until
    `released`, or for five seconds.
    `lie`: other bytes than announced. `extra`: entries that are listed but not there.
    """

    repositories: dict[str, Path] = field(default_factory=dict[str, Path])
    commit: str = "c0ffee" + "0" * 34
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    cut: dict[str, int] = field(default_factory=dict[str, int])
    stall: dict[str, int] = field(default_factory=dict[str, int])
    lie: dict[str, bytes] = field(default_factory=dict[str, bytes])
    extra: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ignore_ranges: bool = False
    requests: list[Request] = field(default_factory=list[Request])

    def __enter__(self) -> "Hub":
        self.stalled, self.released = threading.Event(), threading.Event()
        hub = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                _answer(self, hub)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No longer be there; asked twice it does nothing."""
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, end: str) -> list[Request]:
        """Requests whose path ends so, in order."""
        return [request for request in self.requests if request.path.endswith(end)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _answer(http: BaseHTTPRequestHandler, hub: Hub) -> None:
    path = unquote(urlsplit(http.path).path)
    seen = (http.headers.get(key, "") for key in ("Host", "Range", "Authorization"))
    hub.requests.append(Request(path, *seen))
    for end, (status, code) in hub.refuse.items():
        if path.endswith(end):
            return _send(http, status, {"error": "refused"}, {"X-Error-Code": code})
    parts = path.split("/")
    if "/api/models/" not in path and len(parts) < 6:
        return _send(http, 404, {}, {})  # the client asks for more than a pull needs
    if path.startswith("/api/models/"):
        repository, revision = "/".join(parts[3:5]), parts[6] if len(parts) > 6 else "main"
    else:
        repository, revision = "/".join(parts[1:3]), parts[4]
    folder = hub.repositories.get(repository)
    if folder is None:
        return _send(http, 404, {"error": "none"}, {"X-Error-Code": "RepoNotFound"})
    if revision not in ("main", hub.commit):
        return _send(http, 404, {"error": "none"}, {"X-Error-Code": "RevisionNotFound"})
    if path.startswith("/api/models/"):
        listing = [_entry(folder, file) for file in sorted(folder.rglob("*")) if file.is_file()]
        data = {"id": repository, "sha": hub.commit, "siblings": [*listing, *hub.extra]}
        return _send(http, 200, data, {})
    name = "/".join(parts[5:])
    if not (folder / name).is_file():
        return _send(http, 404, {"error": "none"}, {"X-Error-Code": "EntryNotFound"})
    if parts[3] == "resolve" and name.endswith(".safetensors"):
        place = f"http://localhost:{hub.port}/{repository}/cdn/{revision}/{name}"
        return _send(http, 302, {}, {"Location": place})
    return _send_file(http, hub, name, hub.lie.get(name) or (folder / name).read_bytes())


def _entry(folder: Path, file: Path) -> dict[str, Any]:
    data, name = file.read_bytes(), file.relative_to(folder).as_posix()
    git = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git}
    if name.endswith(".safetensors"):
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"size": len(data), "sha256": sha256, "pointerSize": 134}
    return entry


def _send(
    http: BaseHTTPRequestHandler, status: int, data: dict[str, Any], headers: dict[str, str]
) -> None:
    body = json.dumps(data).encode()
    http.send_response(status)
    for key, value in {"Content-Type": "application/json", **headers}.items():
        http.send_header(key, value)
    http.send_header("Content-Length", str(len(body)))
    http.end_headers()
    http.wfile.write(body)


def _send_file(http: BaseHTTPRequestHandler, hub: Hub, name: str, data: bytes) -> None:
    start = 0
    if (wanted := http.headers.get("Range")) and not hub.ignore_ranges:
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        if start >= len(data):
            return _send(http, 416, {}, {"Content-Range": f"bytes */{len(data)}"})
    http.send_response(206 if start else 200)
    if start:
        http.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    http.send_header("Content-Length", str(len(data) - start))
    http.end_headers()
    rest = memoryview(data)[start:]
    limit = hub.cut.pop(name, None)
    stall = hub.stall.get(name)
    try:
        http.wfile.write(rest[: limit if limit is not None else stall])
        if limit is None and stall is not None:
            hub.stalled.set()
            hub.released.wait(5)
            http.wfile.write(rest[stall:])
    except OSError:
        http.close_connection = True  # the client went away
    if limit is not None:
        http.close_connection = True
