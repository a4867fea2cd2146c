"""Issue 7, part 8: stopping trading over HTTP: never refused, nor ended by what comes late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.serving import Served, served


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
