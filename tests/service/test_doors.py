"""Issue 7, part 8: how often a caller may ask, and whom damaged keys let in."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from serving.service.limits import Limits
from tests.service.serving import WAIT_S_MAX, served

ORDER = {"client_order_id": "o-1", "ticker": "X:BTCUSD", "side": "buy", "size": "0.01"}


def test_who_asks_too_often_waits(valkey_url: str, tmp_path: Path) -> None:
    few = Limits(reads_burst=3, reads_per_s=0.001, open_reads=False)
    with served(valkey_url, tmp_path, limits=few) as service:
        with service.http("read") as http:
            codes = [http.get("/v1/prices").status_code for _ in range(5)]
            assert codes == [200, 200, 200, 429, 429]
            assert int(http.get("/v1/prices").headers["retry-after"]) >= 1
        with service.http("trade") as http:
            assert http.get("/v1/prices").status_code == 200
            assert http.post("/v1/orders", json=ORDER).status_code == 501
        with service.http() as http:
            assert http.get("/v1/prices").status_code == 401
            assert http.get("/v1/health").status_code == 200


def test_a_key_that_floods_may_stop_trading_all_the_same(valkey_url: str, tmp_path: Path) -> None:
    few = Limits(writes_burst=2, writes_per_s=0.001)
    with served(valkey_url, tmp_path, limits=few) as service, service.http("trade") as http:
        codes = [http.post("/v1/orders", json=ORDER).status_code for _ in range(4)]
        assert codes == [501, 501, 429, 429]
        killed = [http.post("/v1/kill", json={"reason": "flood"}).status_code for _ in range(3)]
        assert killed == [200, 200, 429]


def test_where_the_keys_are_damaged_nobody_is_let_in_and_it_says_why(
    valkey_url: str, tmp_path: Path
) -> None:
    with served(valkey_url, tmp_path) as service, service.http("read") as http:
        (path,) = service.parts.audit.path.parents[1].glob("keys/service.json")
        whole = path.read_bytes()
        path.write_bytes(whole[:-20])
        answer = http.get("/v1/prices")
        assert answer.status_code == 503
        assert answer.json()["error"]["thing"] == "keys"
        bearer = {"Authorization": f"Bearer {service.words['read']}"}
        with service.stream(additional_headers=bearer) as stream:
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(WAIT_S_MAX)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
                1013,
                "keys: can't be read",
            )
        path.write_bytes(whole)
        assert http.get("/v1/prices").status_code == 200
