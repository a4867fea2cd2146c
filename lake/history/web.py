"""Ask a venue's REST API: paced, tried again where that may help, never without end.

A venue that says 429 (or Binance's 418) is waited for as long as its Retry-After asks; faults of
servers and networks are tried again with growing, jittered waits; what a venue refuses is refused.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx

from lake.clock import Clock
from lake.errors import Refused, Unavailable

TRIES_MAX = 8
WAIT_S_MIN = 0.25
WAIT_S_MAX = 30.0
RETRY_AFTER_S_MAX = 300.0
"""A venue that asks for a longer wait is left for a later run."""

ANSWER_S_MAX = 30.0
ANSWER_BYTES_MAX = 64 << 20
WORDS_MAX = 200
"""Characters of a venue's own words that a message repeats."""

BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.IM_A_TEAPOT)
"""418 is Binance's word for a client that did not heed 429."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON answer; numbers with a point are kept as they are spelled."""

    body: Any
    headers: Mapping[str, str]


class Busy(Exception):
    """The venue is busy, by the words of its answer; `read` of Web.get may raise it."""


class Web:
    """One venue's REST API.

    pause_s: time between two requests at least, so that the venue's limit is never met.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        pause_s: float,
        headers: Mapping[str, str] | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self.url = url
        self._clock = clock
        self._pause_us = int(pause_s * 1e6)
        self._last_us = -self._pause_us
        self._jitter = jitter or random.Random()
        self._client = httpx.Client(
            base_url=url,
            timeout=ANSWER_S_MAX,
            headers={"User-Agent": "ticklake", **(headers or {})},
        )
        self.requests = 0
        self.waits = 0

    def get(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        read: Callable[[Reply], Any] = lambda reply: reply,
    ) -> Any:
        """Return read(answer). Raises Refused, or Unavailable after TRIES_MAX tries."""
        fault = ""
        for attempt in range(TRIES_MAX):
            asked_s: float | None = None
            try:
                answer, body = self._ask(path, params)
                if answer.status_code == HTTPStatus.OK:
                    return read(Reply(json.loads(body, parse_float=str), answer.headers))
                fault = _words(answer, body)
                if answer.status_code in BUSY:
                    asked_s = self._retry_after(answer)
                elif answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise Refused(f"{self.url}{path}", fault, _remedy(answer.status_code))
            except (httpx.TransportError, ValueError, Busy) as error:
                fault = f"{type(error).__name__}: {error}"
            if attempt + 1 < TRIES_MAX:
                self._wait(attempt, asked_s, fault)
        raise Unavailable(
            f"{self.url}{path}", f"{fault} ({TRIES_MAX} tries)", "run it again later: it goes on"
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, path: str, params: Mapping[str, Any] | None) -> tuple[httpx.Response, bytes]:
        self._pace()
        self.requests += 1
        with self._client.stream("GET", path, params=params or None) as answer:
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    fault = f"answers more than {ANSWER_BYTES_MAX >> 20} MiB"
                    raise Refused(f"{self.url}{path}", fault, "is this the venue's address?")
            return answer, bytes(body)

    def _pace(self) -> None:
        left_us = self._last_us + self._pause_us - self._clock.monotonic_us()
        if left_us > 0:
            self._clock.sleep(left_us / 1e6)
        self._last_us = self._clock.monotonic_us()

    def _wait(self, attempt: int, asked_s: float | None, fault: str) -> None:
        self.waits += 1
        if asked_s is None:
            grown_s = min(WAIT_S_MAX, WAIT_S_MIN * 2**attempt)
            asked_s = grown_s * self._jitter.uniform(0.5, 1.5)
        elif asked_s > RETRY_AFTER_S_MAX:
            raise Unavailable(
                self.url, f"{fault}; asks to wait {asked_s:.0f} s", "run it again then: it goes on"
            )
        self._clock.sleep(asked_s)

    def _retry_after(self, answer: httpx.Response) -> float | None:
        """Return the seconds that Retry-After asks for, a number or a date; None without one."""
        given = answer.headers.get("retry-after", "").strip()
        if given.isdecimal():
            return float(given)
        try:
            at = parsedate_to_datetime(given)
        except ValueError:
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max(0.0, at.timestamp() - self._clock.now_us() / 1e6)


def _words(answer: httpx.Response, body: bytes) -> str:
    said = " ".join(body.decode(errors="replace").split())[:WORDS_MAX]
    return f"{answer.status_code} {answer.reason_phrase}{f': {said}' if said else ''}"


def _remedy(status: int) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "check the key"
    return "check ticker and market"
