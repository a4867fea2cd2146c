"""Steps and multipliers are the venue's own words: taken as they are, null where there are none."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lake.feeds.binance import BinanceCodec
from lake.feeds.codec import Decoded, frames_of
from lake.feeds.coinbase import CoinbaseCodec
from lake.feeds.kraken import KrakenCodec
from lake.ingest.instrument_book import InstrumentBook

PRODUCT = {"id": "BTC-USD", "quote_increment": "0.01", "base_increment": "0.00000001"}
BITCOIN = {"venue": "coinbase", "market": "spot", "symbol": "BTC-USD", "ticker": "X:BTCUSD"}


def decoded(codec: Any, message: object) -> Decoded:
    found: Decoded = codec.decode(frames_of([json.dumps(message).encode()]))
    assert found.quarantine.num_rows == 0
    assert found.events == sum(found.ignored.values()) == 1
    return found


def recorded(data_dir: Path, name: str) -> Any:
    """Return the document that a venue answered with when the capture began."""
    with gzip.open(data_dir / "venue_captures" / name, "rt") as lines:
        return json.loads(next(lines).split(": ", 1)[1])


def test_coinbase_tells_its_increments() -> None:
    [told] = decoded(CoinbaseCodec(), {"type": "status", "products": [PRODUCT]}).told
    assert told == {**BITCOIN, "tick_size": Decimal("0.01"), "lot_size": Decimal("1e-8")}


def test_coinbase_s_recorded_products(data_dir: Path) -> None:
    products = recorded(data_dir, "COINBASE.0.gz")
    told = decoded(CoinbaseCodec(), {"type": "status", "products": products}).told
    assert len(told) == len(products) > 100
    for product, each in zip(products, told, strict=True):
        assert each["symbol"] == product["id"]
        assert each["tick_size"] == Decimal(product["quote_increment"])
        assert each["lot_size"] == Decimal(product["base_increment"])


def test_kraken_tells_its_increments_and_xbt_is_btc() -> None:
    pair = {"symbol": "XBT/USD", "price_increment": 0.1, "qty_increment": 1e-8}
    [told] = decoded(KrakenCodec(), {"channel": "instrument", "data": {"pairs": [pair]}}).told
    assert told["ticker"] == "X:BTCUSD"
    assert (told["tick_size"], told["lot_size"]) == (Decimal("0.1"), Decimal("1e-8"))


def test_binance_s_recorded_filters(data_dir: Path) -> None:
    listed = recorded(data_dir, "BINANCE.0.gz")["symbols"][:50]
    told = decoded(BinanceCodec("spot"), {"symbols": listed}).told
    assert [each["symbol"] for each in told] == [each["symbol"] for each in listed]
    filters = {each["filterType"]: each for each in listed[0]["filters"]}
    assert told[0]["tick_size"] == Decimal(filters["PRICE_FILTER"]["tickSize"])
    assert told[0]["lot_size"] == Decimal(filters["LOT_SIZE"]["stepSize"])
    assert "multiplier" not in told[0]


def test_a_contract_s_worth_is_its_multiplier() -> None:
    listed = [{"symbol": "BTCUSD_PERP", "contractSize": 100, "filters": []}]
    [told] = decoded(BinanceCodec("coinm"), {"symbols": listed}).told
    assert (told["ticker"], told["multiplier"]) == ("X:BTCUSD_PERP", 100)


@pytest.mark.parametrize(
    "product",
    [{}, {"id": "BTC-USD"}, {**PRODUCT, "id": 7}, {"id": "X", "quote_increment": "1"}, "text"],
)
def test_what_is_not_plainly_right_says_nothing(product: object) -> None:
    assert decoded(CoinbaseCodec(), {"type": "status", "products": [product]}).told == ()


def test_a_step_that_is_none_is_left_out() -> None:
    product = {**PRODUCT, "quote_increment": "0"}
    [told] = decoded(CoinbaseCodec(), {"type": "status", "products": [product]}).told
    assert told == {**BITCOIN, "lot_size": Decimal("1e-8")}


def test_the_book_has_a_row_for_the_first_trade_and_one_for_each_news() -> None:
    book = InstrumentBook(3)
    traded = ["coinbase|spot|X:BTCUSD"]
    told = {**BITCOIN, "tick_size": Decimal("0.01")}
    seen = [
        book.rows(traded, given, frame, 0).to_pylist()
        for frame, given in enumerate([(), (), (told,), (told,), ({**told, "lot_size": 1},)])
    ]
    assert [len(rows) for rows in seen] == [1, 0, 1, 0, 1]
    assert {row["symbol"] for rows in seen for row in rows} == {"BTC-USD"}
    assert [row["tick_size"] for rows in seen for row in rows] == [None, *[Decimal("0.01")] * 2]
    assert [row["seq"] for rows in seen for row in rows] == [0, 2 << 16, 4 << 16]
