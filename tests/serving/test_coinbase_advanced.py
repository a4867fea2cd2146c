"""The adapter of Coinbase Advanced Trade, against a local server that speaks its API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from feature_repo.trading.costs import Costs
from feature_repo.trading.market import Quote, Trade
from feature_repo.trading.money import units
from feature_repo.trading.order import Ended
from lake.clock import ManualClock, SystemClock
from lake.errors import BadInput, Refused, Unavailable
from serving.broker.broker import BrokerReport
from serving.broker.coinbase_advanced import ARRIVES_US_MAX, ROOT, CoinbaseAdvanced, body_of
from serving.broker.coinbase_token import key_of
from tests.serving.broker_conformance import BTC, BrokerConformance, order, said
from tests.serving.coinbase_server import CoinbaseServer

MOMENT_US = 1_000


class CoinbaseMarket:
    """The venue's market, and the adapter as the broker."""

    def __init__(self, server: CoinbaseServer) -> None:
        self.server = server
        self.broker = CoinbaseAdvanced(server.url, None, SystemClock())

    @property
    def now_us(self) -> int:
        return self.server.now_us

    def quote(self, bid: str, ask: str, size: str = "10") -> None:
        self.server.now_us += MOMENT_US
        sizes, times = units(size), (self.now_us, self.now_us)
        self.server.paper.on_quote(Quote(BTC, *times, units(bid), sizes, units(ask), sizes))

    def trade(self, price: str, size: str) -> None:
        self.server.now_us += MOMENT_US
        trade = Trade(BTC, self.now_us, self.now_us, units(price), units(size))
        self.server.paper.on_trade(trade)

    def reports(self) -> list[BrokerReport]:
        self.server.now_us += MOMENT_US
        self.server.paper.settle(self.now_us)
        return list(self.broker.reports(self.now_us))


@pytest.fixture
def market() -> Iterator[CoinbaseMarket]:
    with CoinbaseServer(Costs(maker=1_000, taker=1_000)) as server:
        found = CoinbaseMarket(server)
        yield found
        found.broker.close()


class TestCoinbaseAdvanced(BrokerConformance):
    """It is a broker as any other, of a venue that amends no order."""

    amends = False


def test_an_amendment_is_refused_without_a_word_to_the_venue(market: CoinbaseMarket) -> None:
    market.quote("99", "101")
    market.broker.place(order("a", kind="limit", price="90"), market.now_us)
    before = list(market.server.asked)
    with pytest.raises(Refused, match="not amended at this venue: cancel it"):
        market.broker.amend("a", "amended 3", units("91"), None, market.now_us)
    assert market.server.asked == before


def test_an_order_whose_answer_was_lost_is_sent_again_and_is_there_once(
    market: CoinbaseMarket,
) -> None:
    market.quote("99", "101")
    market.server.faults = [0, 500]
    for _ in range(2):
        with pytest.raises(Unavailable):
            market.broker.place(order("a"), market.now_us)
    market.broker.place(order("a"), market.now_us)
    market.quote("99", "101", size="0.3")
    assert said(market.reports()) == ["accepted", "1 at 101 taker"]
    assert market.server.asked.count(f"POST {ROOT}") == 3


def test_an_order_whose_answer_was_lost_is_looked_for_and_cancelled(
    market: CoinbaseMarket,
) -> None:
    market.quote("99", "101")
    for i in range(3):
        market.broker.place(order(f"heard-{i}", kind="limit", price="91"), market.now_us)
    market.server.faults = [0]
    with pytest.raises(Unavailable):
        market.broker.place(order("lost", kind="limit", price="90"), market.now_us)
    for i in range(3, 6):
        market.broker.place(order(f"heard-{i}", kind="limit", price="91"), market.now_us)
    market.server.asked.clear()
    market.broker.cancel("lost", market.now_us)
    assert market.server.asked == [f"GET {ROOT}/historical/batch"] * 2 + [
        f"POST {ROOT}/batch_cancel"
    ]
    assert said(market.reports()) == ["accepted"] * 3 + ["accepted", "cancelled"] + ["accepted"] * 3
    assert "lost" not in [*market.broker.working(), *market.server.paper.working()]


def test_a_cancel_of_all_is_of_what_is_known_and_looks_for_nothing(market: CoinbaseMarket) -> None:
    market.quote("99", "101")
    market.broker.place(order("heard", kind="limit", price="91"), market.now_us)
    market.server.faults = [0]
    with pytest.raises(Unavailable):
        market.broker.place(order("lost", kind="limit", price="90"), market.now_us)
    market.server.asked.clear()
    market.broker.cancel_all(market.now_us)
    assert market.server.asked == [f"POST {ROOT}/batch_cancel"]
    market.reports()
    assert market.broker.working() == ["lost"]


def test_an_order_that_never_arrived_is_not_sent_by_its_cancel(market: CoinbaseMarket) -> None:
    clock = ManualClock(market.now_us)
    broker = CoinbaseAdvanced(market.server.url, None, clock)
    market.quote("99", "101")
    market.server.faults = [503]
    with pytest.raises(Unavailable):
        broker.place(order("lost"), market.now_us)
    with pytest.raises(Unavailable, match="order lost: is not listed yet"):
        broker.cancel("lost", market.now_us)
    clock.sleep(ARRIVES_US_MAX / 1e6)
    broker.cancel("lost", market.now_us)
    broker.place(order("lost"), market.now_us)
    (ended,) = broker.reports(market.now_us)
    assert isinstance(ended, Ended)
    assert (ended.state, ended.reason) == ("cancelled", "it never reached the venue")
    assert broker.working() == []
    assert market.server.asked.count(f"POST {ROOT}") == 1
    broker.close()


def test_fills_of_many_pages_come_once_each(market: CoinbaseMarket) -> None:
    market.quote("99", "101", size="0.1")
    market.broker.place(order("a"), market.now_us)
    for _ in range(4):
        market.quote("99", "101", size="0.1")
    assert said(market.reports()) == ["accepted", *["0.1 at 101 taker"] * 5]
    assert said(market.reports()) == []
    for _ in range(5):
        market.quote("99", "101", size="0.1")
    assert said(market.reports()) == ["0.1 at 101 taker"] * 5


@pytest.mark.parametrize(
    ("given", "configuration"),
    [
        (order("a"), {"market_market_ioc": {"base_size": "1"}}),
        (
            order("a", "sell", "0.0000000001", "stop", "100"),
            {
                "stop_limit_stop_limit_gtc": {
                    "base_size": "0.0000000001",
                    "limit_price": "95",
                    "stop_price": "100",
                    "stop_direction": "STOP_DIRECTION_STOP_DOWN",
                }
            },
        ),
        (
            order("a", kind="limit", price="1000000", post_only=True),
            {"limit_limit_gtc": {"base_size": "1", "limit_price": "1000000", "post_only": True}},
        ),
    ],
)
def test_orders_are_spelled_as_the_venue_has_them(given: object, configuration: object) -> None:
    body = body_of(given)  # type: ignore[arg-type]
    assert body["order_configuration"] == configuration
    assert (body["client_order_id"], body["product_id"]) == ("a", "BTC-USD")


def test_requests_bear_a_token_that_the_key_signed(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem = private.private_bytes(*form, serialization.NoEncryption()).decode()
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"name": "organizations/o/apiKeys/k", "privateKey": pem}))
    key = key_of(path)
    assert "PRIVATE" not in repr(key)
    with CoinbaseServer(Costs(), private.public_key()) as server:
        broker = CoinbaseAdvanced(server.url, key, SystemClock())
        broker.place(order("a", kind="limit", price="90"), server.now_us)
        assert said(list(broker.reports(server.now_us))) == ["accepted"]
        without = CoinbaseAdvanced(server.url, None, SystemClock())
        with pytest.raises(Refused):
            without.place(order("b"), server.now_us)
        broker.close()
        without.close()
    path.write_text('{"name": "k", "privateKey": "secret words"}')
    with pytest.raises(BadInput) as refused:
        key_of(path)
    assert "secret words" not in str(refused.value)
