"""Issue 7, part 8: a connection that begins a request and does not end it keeps nobody out."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import orjson
import pytest

from serving.service.limits import BODY_S_MAX, HEAD_S_MAX, UNREAD_S_MAX
from serving.service.server import CUT_S
from tests.service.serving import CLOCK, WAIT_S_MAX, Served, served

LATE_S = 20.0
"""How much later a busy machine may come to it."""

PACE_S = 0.25
HEAD = "POST /v1/orders HTTP/1.1\r\nHost: {place}\r\nContent-Length: 1000\r\n"
LARGE, ANSWERS = "/page/vendor/lightweight-charts-5.2.1.mjs", 100
"""More than the system holds of what is not taken."""

HEALTH = "GET /v1/health HTTP/1.1\r\nHost: {place}\r\n\r\n"


@pytest.fixture(scope="module")
def service(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(valkey_url, tmp_path_factory.mktemp("slow")) as found:
        yield found


def answered(service: Served, said: str, drip: bytes = b"") -> tuple[bytes, float]:
    """Say this, then a drip again and again; return what came until the end, and the seconds."""
    place = urlsplit(service.url)
    began_us, heard = CLOCK.monotonic_us(), b""
    at = place.hostname, place.port
    with socket.create_connection(at, timeout=WAIT_S_MAX) as raw:  # type: ignore[arg-type]
        raw.sendall(said.format(place=place.netloc).encode())
        raw.settimeout(PACE_S if drip else WAIT_S_MAX)
        with suppress(ConnectionError):
            while CLOCK.monotonic_us() - began_us < WAIT_S_MAX * 1e6:
                with suppress(TimeoutError):
                    part = raw.recv(65_536)
                    heard += part
                    if not part:
                        break
                if drip:
                    raw.sendall(drip)
    return heard, (CLOCK.monotonic_us() - began_us) / 1e6


@pytest.mark.parametrize(
    ("said", "drip", "heard"),
    [
        ("", b"", b""),
        ("GET /v1/hea", b"l", b"HTTP/1.1 408"),
        (HEALTH + "GET /v1/hea", b"l", b"HTTP/1.1 408"),  # the second of a connection
    ],
)
def test_a_head_that_does_not_come_is_waited_for_no_longer(
    service: Served, said: str, drip: bytes, heard: bytes
) -> None:
    found, took_s = answered(service, said, drip)
    assert HEAD_S_MAX - 1 < took_s < HEAD_S_MAX + LATE_S
    assert found.rpartition(b"HTTP/1.1 ")[2].startswith(heard.removeprefix(b"HTTP/1.1 "))
    assert bool(found) == bool(heard)


def test_a_body_that_does_not_come_is_refused_and_nothing_is_done(service: Served) -> None:
    head = HEAD + f"Authorization: Bearer {service.words['trade']}\r\n\r\n"
    before = service.parts.audit.path.read_bytes()
    found, took_s = answered(service, head, b"x")
    assert BODY_S_MAX - 1 < took_s < BODY_S_MAX + LATE_S
    assert found.startswith(b"HTTP/1.1 408")
    error = orjson.loads(found.partition(b"\r\n\r\n")[2])["error"]
    assert (error["thing"], error["kind"]) == ("body", "TooSlow")
    assert service.parts.audit.path.read_bytes() == before


def test_a_body_that_nobody_reads_does_not_hold_its_connection(service: Served) -> None:
    found, took_s = answered(service, HEAD + "\r\n", b"x")
    assert found.startswith(b"HTTP/1.1 401")
    assert took_s < BODY_S_MAX + CUT_S + LATE_S


def test_a_client_that_takes_none_of_its_answers_is_cut(service: Served) -> None:
    place = urlsplit(service.url)
    ask = f"GET {LARGE} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.settimeout(WAIT_S_MAX)
        raw.connect((place.hostname, place.port))
        raw.sendall(ask * ANSWERS)
        time.sleep(UNREAD_S_MAX + CUT_S)
        size = 0
        with suppress(ConnectionError):
            while part := raw.recv(65_536):
                size += len(part)
    with service.http() as http:
        whole = len(http.get(LARGE).content)
    assert whole / 100 < size < ANSWERS * whole / 2
