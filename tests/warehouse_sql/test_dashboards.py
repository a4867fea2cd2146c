"""The dashboards' statements say what the trades say, on every edition of the hot tier."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lake.clock import SystemClock
from lake.hot.bars import HotToBars, are_continuous, refresh_day
from lake.queries.query import DASHBOARDS, Query, catalog, find
from tests.verify.lakehouse import Lakehouse

NOW = datetime(2024, 8, 8, 12, 0, 30, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
SIM, OTHER = ("X:AUSD", "sim"), ("X:AUSD", "other")

TRADES = (
    (SIM, timedelta(days=29, hours=1), "50", "1"),
    (SIM, timedelta(days=1, minutes=2), "80", "1"),
    (SIM, timedelta(hours=23, minutes=59), "90", "3"),  # less than a day ago: not the price before
    (SIM, timedelta(minutes=7), "99", "2"),
    (SIM, timedelta(seconds=9), "101", "1"),
    (SIM, timedelta(seconds=5), "100", "1"),
    (OTHER, timedelta(minutes=6), "96", "2"),
    (("X:BUSD", "other"), timedelta(hours=3), "0.5", "10"),
    (("X:OLDUSD", "sim"), timedelta(days=9), "1", "1"),
)
"""Whose, how long before NOW, price, size."""


@pytest.fixture
def dashboards(edition_dsn: str, tmp_path: Path) -> Iterator[psycopg.Connection]:
    """Yield a connection to a hot tier that holds TRADES and their bars."""
    house = Lakehouse(edition_dsn, tmp_path / "warehouse")
    rows = [trade(frame, *each) for frame, each in enumerate(TRADES, 1)]
    house.write(frames=len(rows), tables={"crypto_trades": rows})
    house.close()
    with psycopg.connect(edition_dsn, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        bars = HotToBars(connection, SystemClock())
        while bars.step():
            pass
        if are_continuous(connection):
            for day in sorted({row["event_time"].date() for row in rows}):
                refresh_day(connection, day)
        yield connection


def trade(frame: int, series: tuple[str, str], ago: timedelta, price: str, size: str) -> Any:
    ticker, exchange = series
    return {
        "ticker": ticker,
        "exchange": exchange,
        "market": "spot",
        "trade_id": str(frame),
        "event_time": NOW - ago,
        "received_time": NOW - ago,
        "price": Decimal(price),
        "size": Decimal(size),
        "side": "buy",
        "conditions": None,
        "shard": 0,
        "seq": frame << 16,
    }


def ask(connection: psycopg.Connection, query: Query, **given: str) -> list[tuple[Any, ...]]:
    values = query.values(given, now_us=NOW_US)
    cursor = connection.execute(query.source.encode(), values)
    assert [each.name for each in cursor.description or ()] == [c.name for c in query.columns]
    return cursor.fetchall()


def minute(ago: timedelta) -> datetime:
    return (NOW - ago).replace(second=0)


def test_last_prices_and_their_change_in_a_day(dashboards: psycopg.Connection) -> None:
    assert ask(dashboards, find("prices", DASHBOARDS)) == [
        (*OTHER, "spot", minute(timedelta(minutes=6)), Decimal(96), None, None),
        (*SIM, "spot", minute(timedelta(seconds=5)), Decimal(100), Decimal(80), Decimal(25)),
        ("X:BUSD", "other", "spot", minute(timedelta(hours=3)), Decimal("0.5"), None, None),
    ]


def test_candles_of_a_day(dashboards: psycopg.Connection) -> None:
    found = ask(dashboards, find("day_candles", DASHBOARDS), ticker="X:AUSD")

    # the bar of noon of the day before began more than a day ago
    noon = minute(timedelta())
    bars = [
        (noon - timedelta(minutes=10), "other", "96 96 96 96 2", 1),
        (noon - timedelta(minutes=10), "sim", "99 99 99 99 2", 1),
        (noon, "sim", "101 101 100 100 2", 2),
    ]
    assert found == [
        (bucket, exchange, "spot", *map(Decimal, values.split()), trades)
        for bucket, exchange, values, trades in bars
    ]


def test_hourly_average_of_thirty_days_is_weighted_by_size(dashboards: psycopg.Connection) -> None:
    found = ask(dashboards, find("hourly_average", DASHBOARDS), ticker="X:AUSD")

    noon = NOW.replace(minute=0, second=0)
    assert found == [
        (noon - timedelta(days=29, hours=1), Decimal(50), Decimal(1)),
        (noon - timedelta(days=1, hours=1), Decimal(80), Decimal(1)),
        (noon - timedelta(days=1), Decimal(90), Decimal(3)),
        (noon - timedelta(hours=1), Decimal("97.5"), Decimal(4)),
        (noon, Decimal("100.5"), Decimal(2)),
    ]


def test_volume_by_exchange(dashboards: psycopg.Connection) -> None:
    # sim: 198 + 201, other: 192 + 5; noon of the day before belongs to neither
    assert ask(dashboards, find("exchange_volume", DASHBOARDS)) == [
        ("sim", "spot", 1, 3, Decimal(399)),
        ("other", "spot", 2, 2, Decimal(197)),
    ]


def test_every_dashboard_says_what_it_is() -> None:
    for query in catalog(DASHBOARDS):
        assert query.answers.endswith(".")
        assert all(each.meaning.endswith(".") for each in (*query.parameters, *query.columns))
        assert {f"%({each.name})s" in query.source for each in query.parameters} == {True}
