"""How a request fails, as an HTTP status and as the JSON that clients of OpenAI's API know."""

from collections.abc import Mapping
from typing import Any

from lfm2audio_mlx.errors import (
    AudioError,
    CheckpointError,
    ConfigError,
    ContextError,
    LfmError,
    ModelError,
    RequestError,
    named,
)
from lfm_daemon.wire import Frame

__all__ = ["Fault", "as_json", "fault_in", "fault_of"]


class Fault(Exception):
    """A request cannot be served. `kind` is the error of `lfm2audio_mlx.errors` that it is to a
    client of our own; `code` is for programs, the message for people."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        kind: str = "DaemonError",
        retry_after: int | None = None,
        parameter: str | None = None,
    ):
        super().__init__(message)
        self.status, self.code, self.message, self.kind = status, code, message, kind
        self.retry_after, self.parameter = retry_after, parameter

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


STATUS: Mapping[type[LfmError], tuple[int, str]] = {
    AudioError: (400, "invalid_audio"),
    RequestError: (400, "invalid_request"),
    ContextError: (400, "context_length_exceeded"),
    ModelError: (404, "model_not_found"),
    ConfigError: (500, "model_unusable"),
    CheckpointError: (500, "model_unusable"),
}


def fault_of(error: LfmError) -> Fault:
    """The fault that one of our errors is to a client."""
    status, code = STATUS.get(type(error), (500, "internal_error"))
    return Fault(status, code, str(error), type(error).__name__)


def fault_in(frame: Frame) -> Fault:
    """What a worker says of a job, or of its model, that cannot be done."""
    if frame.header["event"] == "error":
        return fault_of(named(frame.header["kind"])(frame.header["message"]))
    return Fault(500, "internal_error", f"a fault of lfm itself: {frame.header['kind']}")


def as_json(fault: Fault) -> dict[str, Any]:
    """The body of a response."""
    kind = "invalid_request_error" if fault.status < 500 else "server_error"
    error = {"message": fault.message, "type": kind, "param": fault.parameter, "code": fault.code}
    return {"error": error, "kind": fault.kind}
