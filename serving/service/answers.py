"""How the service answers: JSON, and of a refusal what is at fault, what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from lake.errors import (
    BadFrame,
    BadInput,
    Damaged,
    DiskFull,
    Fenced,
    Refused,
    TicklakeError,
    Unavailable,
    WrongUse,
)
from serving.desk.said import RiskRefused

STATUS: Mapping[type[TicklakeError], int] = {
    WrongUse: 422,
    BadInput: 422,
    BadFrame: 422,
    Refused: 409,
    Unavailable: 503,
    Fenced: 503,
    DiskFull: 507,
    Damaged: 500,
}
KINDS = {
    400: "BadRequest",
    401: "NoKey",
    403: "WrongRole",
    404: "NotThere",
    405: "WrongMethod",
    408: "TooSlow",
    413: "TooLarge",
    415: "WrongType",
    422: "WrongUse",
    429: "TooOften",
}
PARTS_SHOWN_MAX = 10
WORDS_MAX = 300


class NotThere(WrongUse):
    """Nothing has the name that was asked for."""


class Json(Response):
    """An answer of anything that JSON holds; what is not a number becomes null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return its bytes."""
        return orjson.dumps(content, default=str)


def refusal(status: int, thing: str, fault: str, remedy: str, **more: Any) -> Json:
    """Return a refusal; more: what else the caller can use."""
    kind = KINDS.get(status, "Fault")
    said = {"kind": kind, "thing": thing, "fault": fault, "remedy": remedy}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return Json({"error": said, **more}, status, headers)


def of_error(error: TicklakeError) -> Json:
    """Return one of ours as a refusal."""
    status = 404 if isinstance(error, NotThere) else STATUS.get(type(error), 500)
    said = {"thing": error.thing, "fault": error.fault, "remedy": error.remedy}
    return Json({"error": {"kind": type(error).__name__, **said}}, status)


async def _ours(_: Request, error: Exception) -> Response:
    assert isinstance(error, TicklakeError)
    return of_error(error)


async def _risk(request: Request, error: Exception) -> Response:
    assert isinstance(error, RiskRefused)
    for each in error.breaches:
        request.app.state.counts.breaches.labels(str(each["rule"])).inc()
    fault, remedy = f"would pass a limit ({error})", "make it smaller, or see the limits"
    return refusal(409, "order", fault, remedy, breaches=list(error.breaches))


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    parts = [
        {"at": ".".join(map(str, each["loc"]))[:WORDS_MAX], "fault": each["msg"][:WORDS_MAX]}
        for each in error.errors()[:PARTS_SHOWN_MAX]
    ]
    said = "; ".join(f"{each['at']}: {each['fault']}" for each in parts)
    fault = said.encode(errors="replace").decode()
    return refusal(422, "request", fault, "see /v1/openapi.json", parts=_plain(parts))


def _plain(parts: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the parts without halves of characters, which UTF-8 can't say."""
    return [
        {name: value.encode(errors="replace").decode() for name, value in part.items()}
        for part in parts
    ]


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = refusal(error.status_code, "request", str(error.detail), "see /v1/openapi.json")
    answer.headers.update(error.headers or {})
    return answer


Handler = Callable[[Request, Exception], Awaitable[Response]]
HANDLERS: Mapping[type[Exception], Handler] = {
    RiskRefused: _risk,
    TicklakeError: _ours,
    RequestValidationError: _invalid,
    HTTPException: _http,
}


def answer_errors(app: FastAPI) -> None:
    """Let an app answer every error as here."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
