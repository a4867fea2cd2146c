"""A request's whole body, within its limits of size and time."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from serving.service.answers import Json, refusal
from serving.service.limits import BODY_BYTES_MAX, BODY_S_MAX


class _TooLarge(Exception):
    pass


class _Gone(Exception):
    pass


async def body_or_refusal(headers: Headers, receive: Receive) -> bytes | Json:
    """Return a request's body, or why there is none."""
    try:
        async with asyncio.timeout(BODY_S_MAX):
            return await _body(headers, receive)
    except _TooLarge:
        fault, remedy = f"is above {BODY_BYTES_MAX} bytes", "ask for less at once"
        return refusal(413, "body", fault, remedy)
    except TimeoutError:
        fault = f"did not come in {BODY_S_MAX:.0f} s"
        answer = refusal(408, "body", fault, "send it at once; nothing was done")
        answer.headers["Connection"] = "close"
        return answer
    except _Gone:  # nobody hears it, but it is counted
        return refusal(400, "body", "ended before its end", "send it whole; nothing was done")


async def _body(headers: Headers, receive: Receive) -> bytes:
    """Return a request's whole body; it is never held beyond its limit."""
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > BODY_BYTES_MAX:
        raise _TooLarge
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES_MAX:
            raise _TooLarge
        more = message.get("more_body", False)
    return b"".join(parts)


def given_first(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives this body first."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
