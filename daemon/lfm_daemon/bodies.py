"""Bodies as what they should be, or a fault that names what is not."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from lfm_daemon.faults import Fault
from lfm_daemon.strict_json import loads
from lfm_daemon.uploads import LARGEST_JSON

__all__ = ["body", "checked", "json_of", "parsed"]

S = TypeVar("S", bound=BaseModel)


async def body(request: Request, largest: int = LARGEST_JSON) -> bytes:
    """All of a request's body, in memory.

    Raises:
        Fault: it is larger.
    """
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > largest:
            raise Fault(413, "too_large", f"this may have {largest >> 20} MB")
    return bytes(found)


async def parsed(request: Request, schema: type[S]) -> S:
    """A JSON body.

    Raises:
        Fault: it is none, or not of this schema.
    """
    return checked(schema, json_of(await body(request) or b"{}"))


def json_of(data: bytes | str) -> Any:
    """Strict JSON: UTF-8, no NaN, no key twice.

    Raises:
        Fault: it is none.
    """
    try:
        return loads(data)
    except ValueError as error:
        raise Fault(400, "invalid_json", f"the body is no JSON: {error}") from None


def checked(schema: type[S], value: Any) -> S:
    """A value that was decoded.

    Raises:
        Fault: it is not of this schema; the message names the place, never the value.
    """
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        # Where one of several things may be, each of them is missed; the one that came closest
        # is what was meant.
        deepest = max(found, key=lambda each: len(each["loc"]))
        place = ".".join(map(str, deepest["loc"])) or "the body"
        message = f"{place}: {deepest['msg']}"
        raise Fault(400, "invalid_request", message, kind="RequestError", parameter=place) from None
