"""Issue 7, part 8: stopping trading over HTTP: never refused, nor ended by what comes late."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest

from serving.streams import keys
from tests.service.serving import Served, served

ORDER = {"ticker": "X:BTCUSD", "side": "buy", "size": "0.01"}


@pytest.fixture(scope="module")
def service(
    valkey_url: str, ledger_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with served(valkey_url, tmp_path_factory.mktemp("kill"), dsn=ledger_dsn) as found:
        yield found


def test_a_resume_that_comes_again_ends_no_newer_stop(service: Served) -> None:
    with service.http("admin") as http:
        first = http.post("/v1/kill", json={"reason": "first"}).json()
        ends = {"at_us": first["at_us"]}
        assert http.post("/v1/resume", json={"reason": "which?"}).status_code == 422
        assert not http.post("/v1/resume", json=ends).json()["killed"]
        again = http.post("/v1/resume", json=ends)
        assert (again.status_code, "not stopped" in again.text) == (409, True)
        newer = http.post("/v1/kill", json={"reason": "newer"}).json()
        assert newer["at_us"] > first["at_us"]
        late = http.post("/v1/resume", json=ends)
        assert (late.status_code, str(newer["at_us"]) in late.text) == (409, True)
        now = http.get("/v1/kill").json()
        assert (now["killed"], now["reason"]) == (True, "newer")
        assert not http.post("/v1/resume", json={"at_us": now["at_us"]}).json()["killed"]


@contextmanager
def full_disk(service: Served) -> Iterator[None]:
    """Let no line of the audit and no word of the switch be written meanwhile."""
    taken = service.parts.audit._file
    kept, full = os.dup(taken), os.open("/dev/full", os.O_RDWR)
    new = service.parts.audit.path.parents[1] / "run" / f"killed.{os.getpid()}.new"
    new.mkdir(parents=True)
    os.dup2(full, taken)
    try:
        yield
    finally:
        new.rmdir()
        os.dup2(kept, taken)
        os.close(kept)
        os.close(full)


def test_a_full_disk_keeps_nobody_from_stopping_trading(
    service: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with service.http("admin") as http, full_disk(service):
        order = http.post("/v1/orders", json={**ORDER, "client_order_id": "full"})
        assert (order.status_code, "nothing was done" in order.text) == (507, True)
        answer = http.post("/v1/kill", json={"reason": "the disk"})
        assert answer.status_code == 200, answer.text
        word = answer.json()
        assert word["killed"]
        unaudited, unwritten = word["faults"]
        assert "No space left on device" in unaudited
        assert "its file can't be written" in unwritten
        assert "without a line" in caplog.text
        now = http.get("/v1/kill").json()
        assert (now["killed"], now["reason"]) == (True, "the disk")
        told = orjson.loads(service.client.get(keys.KILLED) or b"null")  # type: ignore[arg-type]
        assert (told["killed"], told["reason"]) == (True, "the disk")
        resume = http.post("/v1/resume", json={"at_us": now["at_us"]})
        assert resume.status_code == 507
    with service.http("admin") as http:
        assert not http.post("/v1/resume", json={"at_us": now["at_us"]}).json()["killed"]
