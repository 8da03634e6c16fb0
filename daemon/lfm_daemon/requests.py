"""Bodies as what they should be, or a fault that names what is not."""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from lfm_daemon.faults import Fault
from lfm_daemon.service import body

__all__ = ["checked", "json_of", "parsed"]

S = TypeVar("S", bound=BaseModel)

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a character; where the other half is missing, the text is no text."""


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
        text = data if isinstance(data, str) else data.decode()
        found = json.loads(
            text, parse_float=_finite, parse_constant=_no_number, object_pairs_hook=_once
        )
        if SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Fault(400, "invalid_json", f"the body is no JSON: {what}") from None


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


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
