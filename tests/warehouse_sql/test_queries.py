"""Every statement of the library gives the answer that its header promises, on DuckDB."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from lake.queries.dialect import render
from lake.queries.query import Query, catalog, find
from tests.warehouse_sql.market_rows import NOON, by_hand

A = ("X:AUSD", "sim", "spot")
A_OTHER = ("X:AUSD", "other", "spot")
B = ("X:BUSD", "sim", "spot")
SINCE, UNTIL = "2026-03-10T12:00:00Z", "2026-03-10T12:03:00Z"
ARROW_KINDS = {
    "text": pa.types.is_string,
    "time": lambda kind: kind == pa.timestamp("us", "UTC"),
    "decimal": pa.types.is_decimal,
    "integer": lambda kind: kind == pa.int64(),
}


@pytest.fixture
def market() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for dataset, rows in by_hand().items():
            connection.register(dataset, rows)
        yield connection


def bound(query: Query, **given: str) -> str:
    named = {"since": SINCE, "until": UNTIL, **given}
    return render(query.source, query.values(named, now_us=0), "duckdb")


def ask(market: duckdb.DuckDBPyConnection, name: str, **given: str) -> list[tuple[Any, ...]]:
    return market.execute(bound(find(name), **given)).fetchall()


def decimals(*words: str | None) -> tuple[Decimal | None, ...]:
    return tuple(None if word is None else Decimal(word) for word in words)


def at(seconds: str) -> Any:
    return NOON + timedelta(microseconds=int(Decimal(seconds) * 1_000_000))


@pytest.mark.parametrize("query", catalog(), ids=lambda query: query.name)
def test_columns_are_those_of_the_header(market: duckdb.DuckDBPyConnection, query: Query) -> None:
    schema = market.execute(bound(query)).to_arrow_table().schema

    assert schema.names == [column.name for column in query.columns]
    wrong = [c.name for c in query.columns if not ARROW_KINDS[c.kind](schema.field(c.name).type)]
    assert wrong == []


@pytest.mark.parametrize("query", catalog(), ids=lambda query: query.name)
def test_no_rows_give_no_rows(market: duckdb.DuckDBPyConnection, query: Query) -> None:
    early = {"since": "2020-01-01", "until": "2020-01-02"}
    assert market.execute(bound(query, **early)).fetchall() == []


def test_latest_price(market: duckdb.DuckDBPyConnection) -> None:
    assert ask(market, "latest_price") == [
        (*A_OTHER, at("10"), *decimals("101", "1.5"), 170_000_000),
        (*A, at("120.5"), *decimals("99.9999999999", "0.5"), 59_500_000),
        (*B, at("179.999999"), *decimals("7", "1"), 1),
    ]


def test_of_two_trades_of_one_microsecond_the_later_arrival_is_the_last(
    market: duckdb.DuckDBPyConnection,
) -> None:
    found = ask(market, "latest_price", until="2026-03-10T12:00:30.000001Z", ticker="X:AUSD")
    assert found[1][:5] == (*A, at("30"), Decimal(110))


def candle(
    start: str, series: Sequence[str], prices: str, trades: int, sides: str
) -> tuple[Any, ...]:
    return (at(start), *series, *decimals(*prices.split()), trades, *decimals(*sides.split()))


def test_candles(market: duckdb.DuckDBPyConnection) -> None:
    found = ask(market, "candles", interval="1m", ticker="X:AUSD")

    end = "99.9999999999"  # and 428 / 4 = 107
    assert found == [
        candle("0", A_OTHER, "101 101 101 101 1.5 101", 1, "0 1.5"),
        candle("0", A, "100 110 100 110 4 107", 3, "1 2"),
        candle("120", A, f"{end} {end} {end} {end} 0.5 {end}", 1, "0.5 0"),
    ]


@pytest.mark.parametrize(
    ("interval", "starts"),
    [
        ("500ms", ["0", "60", "179.5"]),
        ("7s", ["0", "56", "175"]),  # 7 s do not divide a day: counted from 1970
        ("1d", ["-43200"]),
    ],
)
def test_buckets_count_from_1970(
    market: duckdb.DuckDBPyConnection, interval: str, starts: Sequence[str]
) -> None:
    found = ask(market, "candles", interval=interval, ticker="X:BUSD")
    if interval == "7s":
        width = 7_000_000
        since = [int((at(s) - at("0")).total_seconds() * 1e6) for s in ("0", "60", "179.999999")]
        base = int(NOON.timestamp()) * 1_000_000
        expected = [at(str(Decimal((base + s) // width * width - base) / 10**6)) for s in since]
        assert [row[0] for row in found] == expected
    else:
        assert [row[0] for row in found] == [at(start) for start in starts]


def test_vwap(market: duckdb.DuckDBPyConnection) -> None:
    # 477.99999999995 / 4.5 = 106.222222222211..; 36.75 / 5 = 7.35
    assert ask(market, "vwap") == [
        (*A_OTHER, *decimals("101", "1.5", "151.5"), 1),
        (*A, *decimals("106.2222222222", "4.5", "478.0000000000"), 4),
        (*B, *decimals("7.35", "5", "36.75"), 3),
    ]


def test_twap(market: duckdb.DuckDBPyConnection) -> None:
    # B: (7 * 60 + 8.75 * 119.999999 + 7 * 0.000001) / 180
    held = (Decimal(420) + Decimal("8.75") * Decimal("119.999999") + Decimal("0.000007")) / 180
    found = ask(market, "twap", ticker="X:BUSD")
    assert found == [(*B, held.quantize(Decimal("1e-10")), 180_000_000, 3)]


def test_top_movers(market: duckdb.DuckDBPyConnection) -> None:
    found = ask(market, "top_movers", until="2026-03-10T12:02:00Z", limit="2")
    assert found == [
        (*B, *decimals("7", "8.75", "1.75", "25", "4")),
        (*A, *decimals("100", "110", "10", "10", "4")),
    ]


def test_volume_by_exchange(market: duckdb.DuckDBPyConnection) -> None:
    assert ask(market, "volume_by_exchange", ticker="X:AUSD") == [
        (*A, *decimals("4.5", "478"), 4, Decimal(75)),
        (*A_OTHER, *decimals("1.5", "151.5"), 1, Decimal(25)),
    ]


def test_spread_and_depth(market: duckdb.DuckDBPyConnection) -> None:
    # spreads 1, 0.5, -0.5; sum of bids and asks 605; sizes 4 and 6
    assert ask(market, "spread_and_depth") == [
        (
            *(*A, 3, *decimals("0.3333333333", "-0.5", "1", "33.0578512397")),
            *(*decimals("1.3333333333", "2", "-0.2"), 1),
        )
    ]


def test_trade_sign_imbalance(market: duckdb.DuckDBPyConnection) -> None:
    assert ask(market, "trade_sign_imbalance", ticker="X:AUSD") == [
        (at("0"), *A_OTHER, *decimals("0", "1.5", "-1"), 0, 1),
        (at("0"), *A, *decimals("1.5", "2", "-0.1428571429"), 2, 1),
    ]


def test_realised_volatility(market: duckdb.DuckDBPyConnection) -> None:
    found = ask(market, "realised_volatility", ticker="X:BUSD")

    variance = 2 * math.log(8.75 / 7) ** 2
    assert found == [
        (
            *B,
            2,
            Decimal(math.sqrt(variance)).quantize(Decimal("1e-10")),
            Decimal(math.sqrt(variance / 2 * 365 * 1440)).quantize(Decimal("1e-10")),
        )
    ]


def test_correlations() -> None:
    with duckdb.connect() as market:
        market.execute("SET TimeZone = 'UTC'")
        market.execute(
            "CREATE TABLE crypto_trades AS SELECT ticker, 'sim' AS exchange, 'spot' AS market, n"
            " AS seq, TIMESTAMPTZ '2026-03-10 12:00:00Z' + to_minutes(n::INTEGER) AS event_time,"
            " CASE ticker WHEN 'C' THEN 5 WHEN 'B' THEN 100 / p ELSE p END::DECIMAL(28, 10)"
            " AS price FROM (VALUES (0, 1), (1, 2), (2, 1), (3, 4), (4, 5)) AS t (n, p),"
            " (VALUES ('A'), ('B'), ('C')) AS u (ticker)"
        )
        found = ask(market, "correlations", interval="1m", until="2026-03-10T13:00:00Z")
    # B is 100 / A, so its log returns are A's with the other sign; C never moves
    assert found == [
        ("sim", "spot", "A", "B", 4, Decimal(-1)),
        ("sim", "spot", "A", "C", 4, None),
        ("sim", "spot", "B", "C", 4, None),
    ]


def test_largest_gaps(market: duckdb.DuckDBPyConnection) -> None:
    assert ask(market, "largest_gaps", limit="2") == [
        (*B, at("60"), at("179.999999"), 119_999_999),
        (*A, at("30"), at("120.5"), 90_500_000),
    ]


def test_data_freshness(market: duckdb.DuckDBPyConnection) -> None:
    assert ask(market, "data_freshness") == [
        ("crypto_aggregates", "sim", "spot", at("120"), at("180.003"), 60_000_000, 3),
        ("crypto_quotes", "sim", "spot", at("4"), at("4.003"), 176_000_000, 4),
        ("crypto_trades", "other", "spot", at("10"), at("10.003"), 170_000_000, 1),
        ("crypto_trades", "sim", "spot", at("179.999999"), at("180.002999"), 1, 7),
    ]


def test_daily_pnl(market: duckdb.DuckDBPyConnection) -> None:
    day = NOON.replace(hour=0)
    rows = ask(market, "daily_pnl", since="2026-03-10", until="2026-03-13")
    first = decimals("1010.8", "10.8", "0", "11", "0.2", "0")
    second = decimals("1030.8", "20", "0", "31", "0", "0")
    assert rows == [
        ("desk", day, *first, 2, Decimal(299)),
        ("desk", day + timedelta(days=1), *second, 0, Decimal(0)),
    ]


def test_order_audit(market: duckdb.DuckDBPyConnection) -> None:
    rows = ask(market, "order_audit", since="2026-03-10T12:10:00Z", until="2026-03-13")
    assert [(row[1], row[3], row[5], row[11], row[13]) for row in rows] == [
        ("buy-1", 3, "partially_filled", Decimal(1), 1),
        ("buy-1", 4, "filled", Decimal(3), 1),
        ("sell-1", 1, "created", Decimal(0), 1),
        ("sell-1", 2, "cancelled", Decimal(0), 1),
    ]
    assert "trees/7" in rows[0][12]
    assert ask(market, "order_audit", since="2026-03-10", until="2026-03-13", account="x") == []


def test_order_audit_tells_a_hole_and_an_overfill(market: duckdb.DuckDBPyConnection) -> None:
    market.execute("CREATE TABLE kept AS FROM order_events")
    market.unregister("order_events")
    market.execute("CREATE VIEW order_events AS FROM kept WHERE event_type <> 'accepted'")
    rows = ask(market, "order_audit", since="2026-03-10", until="2026-03-13")
    assert [row[13] for row in rows if row[1] == "buy-1"] == [1, 0, 0]
    market.execute("CREATE OR REPLACE VIEW order_events AS FROM kept")
    market.execute("UPDATE kept SET size = 2 WHERE sequence_number = 1")
    rows = ask(market, "order_audit", since="2026-03-10", until="2026-03-13")
    assert [row[13] for row in rows if row[1] == "buy-1"] == [1, 1, 1, 0]
