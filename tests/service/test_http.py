"""Issue 7, part 8: who may do what over HTTP, and what is answered to what is wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from serving.service.limits import BODY_BYTES_MAX, Limits
from serving.streams import keys
from serving.streams.latest import Value, put
from tests.service.serving import CLOCK, VENUE, WAIT_S_MAX, Served, served, until

ORDER = {"client_order_id": "o-1", "ticker": "X:BTCUSD", "side": "buy", "size": "0.01"}
TRIES_MAX = 5
KILLED_US_MAX = 1_000_000
"""In one of a few tries: other tests keep the machine busy."""


@pytest.fixture(scope="module")
def service(
    valkey_url: str, ledger_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    many = Limits(writes_burst=10_000, reads_burst=10_000, refused_burst=10_000)
    with served(
        valkey_url, tmp_path_factory.mktemp("service"), limits=many, dsn=ledger_dsn
    ) as found:
        found.tell(("X:BTCUSD", "50000"), ("X:ETHUSD", "3000"))
        assert until(lambda: len(found.parts.board) == 2)
        yield found


def test_prices_are_what_workers_told_and_old_ones_are_not_fresh(service: Served) -> None:
    row = service.tell_fresh("X:BTCUSD", "50001.25")
    with service.http() as http:
        assert row["bid_price"] == "50000.75"
        assert row["is_fresh"]
        old = {"ticker": "X:OLD", **VENUE, "t": CLOCK.now_us() - 6_000_000, "s": 1}
        service.tell(prices=[{**old, "price": "1", "size": "1"}])
        assert until(lambda: http.get("/v1/prices/X:OLD").status_code == 200)
        assert not http.get("/v1/prices/X:OLD").json()["prices"][0]["is_fresh"]
        gone = http.get("/v1/prices/X:NONE")
        assert gone.status_code == 404
        assert gone.json()["error"]["remedy"] == "see /v1/prices"


def test_bars_and_features_come_from_the_speed_layer_in_their_order(service: Served) -> None:
    for n in (2, 0, 1):
        bar = {"ticker": "X:BTCUSD", **VENUE, "interval": "1m", "t": n * 60_000_000, "open": "1"}
        service.client.zadd(
            keys.bars("coinbase", "spot", "X:BTCUSD", "1m"), {orjson.dumps(bar): bar["t"]}
        )
    row = {
        "ticker": "X:BTCUSD",
        **VENUE,
        "interval": "1m",
        "t": 1,
        "degraded": [],
        "values": {"rsi_14": None},
    }
    service.tell(features=[row])
    with service.http() as http:
        found = http.get("/v1/bars/X:BTCUSD?limit=2").json()
        assert [bar["t"] for bar in found["bars"]] == [60_000_000, 120_000_000]
        before = http.get("/v1/bars/X:BTCUSD?before_us=60000000").json()
        assert [bar["t"] for bar in before["bars"]] == [0]
        assert until(lambda: http.get("/v1/features/X:BTCUSD").json()["newest"] is not None)


@pytest.mark.parametrize(
    ("role", "method", "path", "status"),
    [
        ("", "POST", "/v1/predict", 401),
        ("", "POST", "/v1/orders", 401),
        ("", "POST", "/v1/kill", 401),
        ("", "GET", "/v1/prices", 200),
        ("read", "POST", "/v1/orders", 403),
        ("read", "POST", "/v1/kill", 403),
        ("trade", "POST", "/v1/resume", 403),
        ("", "DELETE", "/v1/orders", 401),
        ("admin", "DELETE", "/v1/orders", 405),
        ("read", "GET", "/v1/nothing", 404),
    ],
)
def test_each_role_may_do_its_own(
    service: Served, role: str, method: str, path: str, status: int
) -> None:
    bodies = {"/v1/orders": ORDER, "/v1/predict": {"ticker": "X:BTCUSD"}}
    with service.http(role) as http:
        body = bodies.get(path, {"reason": "a test"}) if method == "POST" else None
        answer = http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    if status >= 400:
        error = answer.json()["error"]
        assert error["fault"]
        assert error["remedy"]


def test_a_prediction_has_its_confidence_and_its_reasons(service: Served) -> None:
    with service.http("read") as http:
        said = http.post("/v1/predict", json={"ticker": "X:BTCUSD", "explain": True}).json()
        assert (said["prediction"], said["confidence"]) == (0.0012, 0.71)
        assert said["base"] + sum(said["contributions"].values()) == pytest.approx(0.0012)
        assert http.post("/v1/predict", json={"ticker": "X:ETHUSD"}).status_code == 404


def test_a_sentiment_is_that_of_the_last_minutes(service: Served) -> None:
    said = {"sentiment_score": "0.25", "confidence": "0.9"}
    with service.client.pipeline() as pipe:
        for source, ms in (("news", 300_000), ("old", 1)):
            value = Value(keys.sentiment(source, "BTC"), 1_700_000_000_000_000, 7, said)
            put(pipe, [value], ms)
        pipe.execute()
    CLOCK.sleep(0.05)
    with service.http("read") as http:
        rows = http.get("/v1/sentiment").json()["rows"]
    (found,) = (row for row in rows if row["asset"] == "BTC")
    assert found == {
        "source": "news",
        "asset": "BTC",
        "event_time_us": 1_700_000_000_000_000,
        "seq": 7,
        **said,
    }


def test_an_order_is_placed_once_filled_and_told_of(service: Served) -> None:
    with service.http("trade") as http:
        service.tell_fresh("X:BTCUSD", "50000")
        order = {**ORDER, "client_order_id": "once"}
        assert http.post("/v1/orders", json=order).status_code == 201
        again = http.post("/v1/orders", json=order)
        assert again.status_code == 409
        assert again.json()["order"]["client_order_id"] == "once"
        other = http.post("/v1/orders", json={**order, "size": "9"})
        assert other.status_code == 409
        assert "order" not in other.json()

        def is_filled() -> bool:
            service.tell(("X:BTCUSD", "50000"))
            return bool(http.get("/v1/orders/once").json()["order"]["current_state"] == "filled")

        assert until(is_filled)
        kinds = [event["event_type"] for event in http.get("/v1/orders/once").json()["events"]]
        assert kinds == ["created", "accepted", "filled"]
        (held,) = http.get("/v1/positions").json()["rows"]
        assert (held["ticker"], held["size"]) == ("X:BTCUSD", "0.01")
        (money,) = http.get("/v1/pnl").json()["rows"]
        assert float(money["fees"]) == pytest.approx(0.01 * 50000.5 * 0.001)
        assert http.post("/v1/orders/cancel", json={"client_order_id": "once"}).status_code == 409


def test_an_order_is_amended_at_the_event_that_was_seen_and_at_no_other(service: Served) -> None:
    with service.http("trade") as http, service.http("read") as reader:
        service.tell_fresh("X:BTCUSD", "50000")
        name = "amends"
        rests = {**ORDER, "client_order_id": name, "kind": "limit", "price": "49000"}
        assert http.post("/v1/orders", json=rests).status_code == 201
        at = f"/v1/orders/{name}"
        assert until(lambda: http.get(at).json()["order"]["current_state"] == "accepted")
        wish = {"price": "49100", "size": "0.02", "expected_sequence": 2}
        assert reader.patch(at, json=wish).status_code == 403
        assert http.patch("/v1/orders/none", json=wish).status_code == 404
        for bad in ({}, {"price": "0x1"}, {"size": "0"}, {"size": 1}, {"sizes": "1"}):
            assert http.patch(at, json={"expected_sequence": 2, **bad}).status_code == 422, bad
        assert http.patch(at, json={"price": "49100"}).status_code == 422  # it might come again
        service.tell_fresh("X:BTCUSD", "50000")
        late = http.patch(at, json={**wish, "expected_sequence": 1})
        assert (late.status_code, "at event 2" in late.text) == (409, True)
        far = http.patch(at, json={**wish, "price": "90000"})
        assert far.status_code == 409
        assert far.json()["breaches"][0]["rule"] == "collar"
        shown = http.get("/v1/breaches").json()["rows"][0]
        assert shown["client_order_id"].startswith(f"{name} amended 3 at ")
        done = http.patch(at, json=wish)
        assert done.status_code in (200, 202), done.text
        assert until(lambda: http.get(at).json()["order"]["price"] == "49100")
        found = http.get(at).json()
        assert [each["event_type"] for each in found["events"]] == [
            "created",
            "accepted",
            "amended",
        ]
        assert found["order"]["size"] == "0.02"
        again = http.patch(at, json=wish)  # what it was asked on is not what is there
        assert again.status_code == 409
        ends = {"client_order_id": name, "expected_sequence": 2}
        assert http.post("/v1/orders/cancel", json=ends).status_code == 409
        ended = http.post("/v1/orders/cancel", json={**ends, "expected_sequence": 3})
        assert ended.status_code == 200
        assert until(lambda: http.get(at).json()["order"]["current_state"] == "cancelled")
        assert http.patch(at, json={"size": "0.03", "expected_sequence": 4}).status_code == 409


def test_a_limit_that_says_no_is_answered_and_noted(service: Served) -> None:
    with service.http("trade") as http:
        service.tell_fresh("X:BTCUSD", "50000")
        far = {**ORDER, "client_order_id": "far", "kind": "limit", "price": "90000"}
        answer = http.post("/v1/orders", json=far)
        assert answer.status_code == 409
        assert answer.json()["breaches"][0]["rule"] == "collar"
        kept = http.get("/v1/orders/far").json()
        assert kept["order"]["current_state"] == "rejected"
        assert kept["events"][1]["reason"].startswith("collar: ")
        assert http.get("/v1/breaches").json()["rows"][0]["client_order_id"] == "far"
        assert http.post("/v1/orders", json=far).json()["order"] == kept["order"]
        huge = {**far, "client_order_id": "huge", "size": "999999999999999"}
        most = http.post("/v1/orders", json={**huge, "price": "99999"})
        assert (most.status_code, most.json()["breaches"][0]["rule"]) == (409, "collar")


def test_the_kill_switch_cancels_and_refuses_until_an_admin_lets_go(service: Served) -> None:
    took_us = []
    with service.http("trade") as trader, service.http("admin") as admin:
        for n in range(TRIES_MAX):
            took_us.append(killed_us(service, trader, f"rests-{n}"))
            refused = trader.post("/v1/orders", json={**ORDER, "client_order_id": "late"})
            assert refused.status_code == 409
            assert "stopped" in refused.json()["error"]["fault"]
            word = admin.get("/v1/kill").json()
            assert not admin.post("/v1/resume", json={"at_us": word["at_us"]}).json()["killed"]
            if took_us[-1] < KILLED_US_MAX:
                break
    assert min(took_us) < KILLED_US_MAX


def killed_us(service: Served, trader: httpx.Client, name: str) -> int:
    """Let an order rest, and stop trading; return how long it took until the order was over."""
    service.tell_fresh("X:BTCUSD", "50000")
    rests = {**ORDER, "client_order_id": name, "kind": "limit", "price": "49000"}
    assert trader.post("/v1/orders", json=rests).status_code == 201
    start_us = CLOCK.monotonic_us()
    word = trader.post("/v1/kill", json={"reason": "a test"}).json()
    assert (word["killed"], word["cancelling"]) == (True, 1)
    at = f"/v1/orders/{name}"
    assert until(lambda: trader.get(at).json()["order"]["current_state"] == "cancelled")
    return CLOCK.monotonic_us() - start_us


def test_what_is_malformed_is_refused_with_a_reason_and_changes_nothing(service: Served) -> None:
    before = service.parts.given.book.orders("", 1_000)  # type: ignore[union-attr]
    bodies: list[bytes] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a":' * 20_000,
        b"\xff\xfe",
        b'{"client_order_id":"\\ud800","ticker":"X:BTCUSD","side":"buy","size":"1"}',
        *(
            json.dumps({**ORDER, "client_order_id": "bad", **bad}).encode()
            for bad in (
                {"size": "-1"},
                {"size": "0"},
                {"size": 1},
                {"size": "NaN"},
                {"size": "9" * 40},
                {"side": "hold"},
                {"price": "1"},
                {"kind": "limit"},
                {"ticker": "X:BTC\0USD"},
                {"ticker": "X:NONE"},
                {"account": "yours"},
                {"more": 1},
                {"post_only": True},
            )
        ),
    ]
    with service.http("trade") as http:
        for body in bodies:
            answer = http.post(
                "/v1/orders", content=body, headers={"Content-Type": "application/json"}
            )
            assert 400 <= answer.status_code < 500, (body[:80], answer.text)
            assert answer.json()["error"]["fault"]
    assert service.parts.given.book.orders("", 1_000) == before  # type: ignore[union-attr]


def test_a_huge_body_is_refused_however_it_comes(service: Served) -> None:
    with service.http("trade") as http:
        assert http.post("/v1/orders", content=b"x" * (BODY_BYTES_MAX + 1)).status_code == 413
        parts = (b"x" * 10_000 for _ in range(20))
        assert http.post("/v1/orders", content=parts).status_code == 413
    place = urlsplit(service.url)
    said = (
        f"POST /v1/orders HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"Authorization: Bearer {service.words['trade']}\r\nContent-Length: 99999999999\r\n\r\n"
    )
    at = place.hostname, place.port
    with socket.create_connection(at, timeout=WAIT_S_MAX) as raw:  # type: ignore[arg-type]
        raw.sendall(said.encode())
        assert b" 413 " in raw.recv(200)


def test_pages_of_elsewhere_get_nothing(service: Served) -> None:
    with service.http("read") as http:
        origins = "https://evil.example", "http://[", "null", "http://[::1", "\xff"
        for headers in ({"Host": "evil.example"}, *({"Origin": each} for each in origins)):
            raw = {name: value.encode("latin-1") for name, value in headers.items()}
            answer = http.get("/v1/prices", headers=raw)
            assert answer.status_code == 403, headers
            assert answer.json()["error"]["remedy"]
        asked = {"Origin": service.url, "Access-Control-Request-Method": "POST"}
        answers = [http.options("/v1/orders", headers=asked), http.get("/v1/prices")]
        for answer in answers:
            assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "default-src 'none'" in http.get("/").headers["content-security-policy"]


def test_a_key_is_hashed_at_rest_and_ends_at_once(service: Served) -> None:
    book = service.parts.keys
    made, words = book.add("for a moment", "read")
    service.words["moment"] = words
    with service.http("moment") as http:
        assert http.get("/v1/prices").status_code == 200
        book.revoke(made.id)
        assert http.get("/v1/prices").status_code == 401
    (path,) = service.parts.audit.path.parents[1].glob("keys/service.json")
    assert words.rpartition("_")[2] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_metrics_and_lag_say_what_happens(service: Served) -> None:
    service.tell_fresh("X:BTCUSD", "50000")
    with service.http() as http:
        http.get("/v1/prices")
        text = http.get("/v1/metrics").text
        assert 'ticklake_service_requests_total{method="GET",route="/v1/prices"' in text
        lag = http.get("/v1/lag").json()
        assert lag["tick_s"] < 60
        assert lag["instruments"] >= 2
        assert httpx.get(f"{service.url}/v1/openapi.json").json()["info"]["title"] == "ticklake"


def test_openapi_says_that_it_takes_a_key(service: Served) -> None:
    said = httpx.get(f"{service.url}/v1/openapi.json").json()
    scheme = said["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    open_ = {
        path
        for path, methods in said["paths"].items()
        for operation in methods.values()
        if operation.get("security") != [{"key": []}]
    }
    assert open_ == {"/v1/health"}


def test_the_catalog_is_searched_by_meaning(service: Served) -> None:
    with service.http() as http:
        words = {"q": "spread between buyers and sellers", "limit": 5}
        answer = http.get("/v1/search", params=words).json()
        assert "features_microstructure.spread" in [row["name"] for row in answer["rows"]]
        assert answer["lacking"] == "no home was asked"
        only = http.get("/v1/search", params={"q": "volatile", "kind": "feature"}).json()["rows"]
        assert {row["kind"] for row in only} == {"feature"}
        for wrong in ({}, {"q": ""}, {"q": "x" * 1_000}, {"q": "x", "kind": "nothing"}):
            assert http.get("/v1/search", params=wrong).status_code == 422
