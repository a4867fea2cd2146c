"""Before any route: who calls, how often, how much; and after it, what became of a write.

Writes are whatever is no GET, HEAD or OPTIONS: they need a key wherever they come from, and have
their line in the audit before and after; stopping trading alone is done without, where the disk
takes none. Reads without a key are let in from this machine alone, by a name of it in the Host
header: a page of elsewhere that gets its own name resolved to us is refused. Nothing here answers
with a CORS header, so no other page may read what we say.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lake.clock import Clock
from lake.errors import BadInput, TicklakeError, Unavailable
from serving.service.answers import Json, of_error, refusal
from serving.service.api_keys import ApiKey, KeyBook
from serving.service.body import body_or_refusal, given_first
from serving.service.counts import Counts
from serving.service.limits import Limits
from serving.service.rate import Rate
from serving.service.write_audit import WriteAudit

LOG = logging.getLogger("ticklake.service")
AUDIT_THREADS = 4
"""Of the audit alone: reads that wait for a database that is away take none of them."""

LOOKS = ("GET", "HEAD", "OPTIONS")
BEARER = "bearer "
KEY_CHARACTERS_MAX = 200
KILL = "POST", "/v1/kill"
"""The one write that is done, too, where its line can't be kept."""

OPEN_PATHS = ("/", "/v1/health", "/v1/openapi.json")
PAGE = "/page/"
"""What anybody may have who may connect: the page itself, which holds no data, and health."""

SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a key's holder, or somebody on this machine, who may read. id: for its rate."""

    id: str
    name: str
    key: ApiKey | None

    def may(self, role: str) -> bool:
        """Tell whether it may do what needs this role."""
        return self.key.may(role) if self.key is not None else role == "read"  # type: ignore[arg-type]


class Doors:
    """Says who calls; for HTTP and WebSocket alike. hosts: names that we are reached by."""

    def __init__(
        self, keys: KeyBook, limits: Limits, clock: Clock, hosts: tuple[str, ...] = ()
    ) -> None:
        self._keys = keys
        self._limits = limits
        self.hosts = frozenset({"localhost", "127.0.0.1", "::1", *hosts})
        self.reads = Rate(clock, limits.reads_burst, limits.reads_per_s)
        self.writes = Rate(clock, limits.writes_burst, limits.writes_per_s)
        self.kills = Rate(clock, limits.writes_burst, limits.writes_per_s)
        """Of their own: a key that floods us with orders may stop trading all the same."""
        self.refused = Rate(clock, limits.refused_burst, limits.refused_per_s)

    def holder(self, words: str) -> ApiKey | None:
        """Return whose key it is; Unavailable where the keys can't be read: nobody is let in."""
        if not 0 < len(words) <= KEY_CHARACTERS_MAX:
            return None
        try:
            return self._keys.holder(words)
        except (BadInput, OSError) as error:
            LOG.error("keys can't be read: %s", error)
            remedy = "look at the service's log; `ticklake kill` needs no key"
            raise Unavailable("keys", "can't be read", remedy) from error

    def caller(self, scope: Scope, words: str) -> Caller | None:
        """Return who calls with these words of a key, "" for none; None: nobody we know."""
        address = str((scope.get("client") or ("",))[0])
        if words:
            key = self.holder(words)
            return Caller(key.id, key.name, key) if key else None
        is_open = self._limits.open_reads and _is_loopback(address)
        return Caller(f"at {address}", "without a key", None) if is_open else None

    def is_ours(self, headers: Headers) -> bool:
        """Tell whether Host, and Origin where there is one, are names that we are reached by."""
        if _name(f"//{headers.get('host', '')}") not in self.hosts:
            return False
        origin = headers.get("origin")
        return origin is None or _place(origin) == headers.get("host")


class Gate:
    """ASGI middleware over all routes; see the module."""

    def __init__(
        self, app: ASGIApp, doors: Doors, audit: WriteAudit, counts: Counts, clock: Clock
    ) -> None:
        self._app = app
        self._doors = doors
        self._audit = audit
        self._threads = CapacityLimiter(AUDIT_THREADS)
        self._counts = counts
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start_us = self._clock.monotonic_us()
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                raw = [(k.lower().encode(), v.encode()) for k, v in SAFE.items()]
                known = {name.lower() for name, _ in message["headers"]}
                message["headers"] += [each for each in raw if each[0] not in known]
            await send(message)

        try:
            await self._pass(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", "")
            took_us = self._clock.monotonic_us() - start_us
            self._counts.request(scope["method"], route, status, took_us / 1e6)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            refused = self._refused(scope, headers)
        except Unavailable as error:
            refused = of_error(error)
        if refused is not None:
            await refused(scope, receive, send)
            return
        body = await body_or_refusal(headers, receive)
        if isinstance(body, Json):
            await body(scope, receive, send)
            return
        if scope["method"] in LOOKS:
            await self._app(scope, given_first(body, receive), send)
            return
        await self._write(scope, body, receive, send)

    def _refused(self, scope: Scope, headers: Headers) -> Json | None:
        """Return why a request may not go on; note in scope who it is."""
        looks, path = scope["method"] in LOOKS, scope["path"]
        address = str((scope.get("client") or ("",))[0])
        if not self._doors.is_ours(headers):
            fault = "names a host or an origin that we are not"
            return refusal(403, "request", fault, "call us by our name, from our own page")
        words = headers.get("authorization", "")
        given = words[len(BEARER) :].strip() if words.lower().startswith(BEARER) else ""
        caller = self._doors.caller(scope, given or words)
        public = looks and (path in OPEN_PATHS or path.startswith(PAGE))
        if caller is None and public and not words:
            caller = Caller(f"at {address}", "anybody", None)
        if caller is None or (caller.key is None and not looks):
            if wait_s := self._doors.refused.take(address):
                return _too_often(wait_s)
            fault = "needs a key" if not words else "has a key that is unknown or revoked"
            remedy = "Authorization: Bearer KEY, with one of: ticklake keys add NAME --role ROLE"
            return refusal(401, "request", fault, remedy)
        is_kill = (scope["method"], path) == KILL
        writes = self._doors.kills if is_kill else self._doors.writes
        if wait_s := (self._doors.reads if looks else writes).take(caller.id):
            return _too_often(wait_s)
        scope.setdefault("state", {})["caller"] = caller
        return None

    async def _write(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Audit a write before and after it; one that can't be audited is not done, but for KILL.

        What was done is answered, also where the line that says so can't be kept.
        """
        caller: Caller = scope["state"]["caller"]
        said = {
            "key": caller.id,
            "name": caller.name,
            "role": caller.key.role if caller.key else "",
            "address": str((scope.get("client") or ("",))[0]),
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "body_sha256": hashlib.sha256(body).hexdigest(),
        }
        status, asked = 500, (scope["method"], scope["path"])

        async def heard(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                try:
                    await self._note({**said, "step": "answered", "status": status})
                except TicklakeError as error:
                    LOG.error("%s %s of %s: %s", *asked, caller.name, error)
            await send(message)

        try:
            await self._note({**said, "step": "asked"})
        except TicklakeError as error:
            if asked != KILL:
                refused = type(error)(error.thing, error.fault, f"{error.remedy}; nothing was done")
                await of_error(refused)(scope, receive, send)
                return
            LOG.error("trading is stopped by %s without a line: %s", caller.name, error)
            scope["state"]["unaudited"] = f"{error.thing}: {error.fault}"
        await self._app(scope, given_first(body, receive), heard)

    async def _note(self, said: Mapping[str, Any]) -> None:
        await to_thread.run_sync(self._audit.note, said, limiter=self._threads)


def _too_often(wait_s: float) -> Json:
    answer = refusal(429, "request", "comes too often", f"wait {wait_s:.1f} s")
    answer.headers["Retry-After"] = str(math.ceil(wait_s))
    return answer


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _place(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
