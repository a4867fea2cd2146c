"""Ask every server of a home whether it answers; all at once, each for PROBE_S_MAX at most.

A server that is stopped (SIGSTOP, a host that swaps) still has its process and its port: only an
answer says that it works.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis

from infra.watch.signature import signed
from lake.clock import Clock
from lake.state import remedy

PROBE_S_MAX = 2
ANSWER_BYTES_MAX = 65_536
START = "start it: ticklake up, or where else it runs"
GO_ON = "it is frozen or overloaded: let it go on, or end it and start it: ticklake up"
STARTING = "it is starting, and takes no query yet"
WAIT = "wait for it: half a minute, some minutes on a busy machine; see its log"
SILENT = f"no answer in {PROBE_S_MAX} s"

WATCHES_AS = "service"
"""The role that looks: it reads what is fresh and what is wrong, and writes nothing."""

REFUSED = "refuses our keys"
NO_BUCKET = "has no bucket"
STORE_REMEDIES = {
    REFUSED: "see `s3` and `roles` in run/state.json; is this machine's clock right?",
    NO_BUCKET: "make it: ticklake up",
}

HEALTH_PATHS = {
    "trino": "/v1/info",
    "prefect": "/api/health",
    "worker": "/health",
    "mlflow": "/health",
}
"""What the HTTP servers are asked that want to know nobody's name."""

READY = {"trino": b'"starting":false'}
"""What an answer must say: Trino answers long before it takes a query."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a server answered, in how long, and what was wrong."""

    up: bool
    answer_s: float
    fault: str = ""

    @property
    def remedy(self) -> str:
        """Return what to do when it is not up."""
        if self.fault == STARTING:
            return WAIT
        for words, store_remedy in STORE_REMEDIES.items():
            if self.fault.startswith(words):
                return store_remedy
        return GO_ON if self.fault == SILENT else remedy(self.fault, START)


def probe_all(state: Mapping[str, Any], clock: Clock) -> dict[str, Health]:
    """Return server -> its health, of every server that the state (lake.state) names."""
    asks = {
        name: ask for name in state if (ask := _ask(name, _entry(state, name), clock)) is not None
    }
    if not asks:
        return {}
    with ThreadPoolExecutor(len(asks), thread_name_prefix="probe") as pool:
        asked = {name: pool.submit(_probe, ask, clock) for name, ask in asks.items()}
        return {name: each.result() for name, each in asked.items()}


def _entry(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a server's entry, with the login or the keys of the role that watches, if it has any.

    Another role's ways in may be wrong all the same: whoever uses them says so.
    """
    way = state.get("roles", {}).get(WATCHES_AS, {})
    if name == "postgres" and "dsn" in way:
        return {**state[name], "dsn": way["dsn"]}
    return {**state[name], **way.get("s3", {})} if name == "s3" else state[name]


def _ask(name: str, found: Mapping[str, Any], clock: Clock) -> Callable[[], object] | None:
    """Return what asks a server; None for what is no server."""
    if name == "postgres" and "dsn" in found:
        return partial(_ask_postgres, str(found["dsn"]))
    if name == "valkey" and "url" in found:
        return partial(_ask_redis, str(found["url"]))
    if name == "prefect" and found.get("own"):
        return None  # it may be starting, and nothing but its UI waits for it
    if name == "s3" and "endpoint" in found:
        return partial(_ask_store, found, clock)
    if name in HEALTH_PATHS and "url" in found:
        parts = urlsplit(str(found["url"]))
        url = f"{parts.scheme}://{parts.netloc}{HEALTH_PATHS[name]}"
        return partial(_ask_http, url, found.get("ca"), READY.get(name, b""))
    return None


def _probe(ask: Callable[[], object], clock: Clock) -> Health:
    start_us = clock.monotonic_us()
    fault = ""
    try:
        ask()
    except (psycopg.Error, redis.RedisError, OSError) as error:
        fault = _words(error)
    return Health(not fault, (clock.monotonic_us() - start_us) / 1e6, fault)


def _words(error: Exception) -> str:
    """Return the fault in words without an address's password."""
    if isinstance(error, TimeoutError | psycopg.errors.ConnectionTimeout | redis.TimeoutError):
        return SILENT
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return SILENT if "timed out" in text else text


def _ask_postgres(dsn: str) -> None:
    # A session that is ready has been forked, has read the catalog, and has answered.
    psycopg.connect(dsn, connect_timeout=PROBE_S_MAX).close()


def _ask_redis(url: str) -> None:
    client = redis.Redis.from_url(
        url, socket_timeout=PROBE_S_MAX, socket_connect_timeout=PROBE_S_MAX, retry=None
    )
    with client:
        client.ping()


def _ask_store(found: Mapping[str, Any], clock: Clock) -> None:
    """Ask where the bucket is, which every role may: address, keys and bucket are then right.

    Without a bucket, which `up` may have to make, any answer will do.
    """
    address, bucket = str(found["endpoint"]).rstrip("/"), found.get("bucket")
    if not bucket:
        _ask_http(f"{address}/", found.get("ca"))
        return
    url = f"{address}/{bucket}?location="
    keys = found["access_key"], found["secret_key"], found["region"]
    code = _ask_http(url, found.get("ca"), headers=signed(url, *keys, clock.now_us()))
    if code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise OSError(f"{REFUSED} ({code})")
    if code == HTTPStatus.NOT_FOUND:
        raise OSError(f"{NO_BUCKET} {bucket}")


def _ask_http(
    url: str, ca: str | None, says: bytes = b"", headers: Mapping[str, str] | None = None
) -> int:
    """Return the code of an answer; OSError for one that says that the server can't, or not yet."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with _opener(ca).open(request, timeout=PROBE_S_MAX) as answer:
            if says and says not in answer.read(ANSWER_BYTES_MAX):
                raise OSError(STARTING)
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise OSError(f"answers {error.code} {error.reason}") from error
            return error.code


@cache
def _opener(ca: str | None) -> urllib.request.OpenerDirector:
    """Return who asks: directly, whatever proxy the environment names."""
    trusting = ssl.create_default_context(cafile=ca)
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting)
    )
