"""A lakehouse by hand whose quality is looked at."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from flows.rows_to_quality import RowsToQuality, Run
from flows.trades_to_bars import LEASE, TradesToBars
from lake.bars.bars_table import BarsTable, Marks
from lake.bars.changes import Changes
from lake.bars.kernel import WIDTHS_US
from lake.clock import ManualClock
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.hot.turn import turn
from lake.tables.catalog import open_catalog
from lake.views.client import Client
from tests.bars.trading import EPOCH, NOON
from tests.verify.lakehouse import Lakehouse

US = timedelta(microseconds=1)
Row = dict[str, Any]


class House(Lakehouse):
    """A lakehouse, with who makes bars of it and who looks at it."""

    def checks(self, now: datetime = NOON + timedelta(minutes=3), **options: Any) -> RowsToQuality:
        clock = ManualClock((now - EPOCH) // US)
        return RowsToQuality(self.dsn, self.place, clock=clock, **options)

    def look(self, **options: Any) -> list[Run]:
        with self.checks(**options) as checks:
            return checks.drain()

    def look_at(self, first: datetime, last: datetime) -> Run:
        with self.checks() as checks:
            return checks.again((first - EPOCH) // US, (last - EPOCH) // US)

    def take(self, rows: list[Row], dataset: str = "crypto_trades") -> None:
        first = self.frames[0] + 1
        placed = [{**row, "shard": 0, "seq": (first + n) << 16} for n, row in enumerate(rows)]
        self.write(frames=len(rows), tables={dataset: placed})

    def make_bars(self, now: datetime = NOON + timedelta(hours=9)) -> None:
        clock = ManualClock((now - EPOCH) // US)
        with TradesToBars(self.dsn, self.place, clock=clock, grace_ms=0) as bars:
            bars.drain()

    def put_bars(self, rows: list[Row]) -> None:
        """Publish bars that no trade of this lake made."""
        put = pa.Table.from_pylist(rows, schema=arrow_schema(load("bars")))
        last_us = max((row["event_time"] - EPOCH) // US for row in rows)
        marks = Marks({0: self.frames[0]}, last_us + WIDTHS_US["5m"])
        with (
            turn(self.dsn, LEASE) as held,
            closing(open_catalog(self.dsn, self.place, epoch=held.epoch, lease=LEASE)) as catalog,
        ):
            BarsTable(catalog, epoch=held.epoch).publish(Changes(put, put.slice(0, 0)), marks)

    def rows(self, query: str) -> list[Row]:
        with Client(self.dsn, self.place) as client:
            return client.arrow(query).to_pylist()


def broken(runs: list[Run]) -> dict[str, int]:
    """Return the rules that were broken, with the rows."""
    return {
        f"{each.rule.dataset}.{each.rule.name}": each.failed
        for run in runs
        for each in run.results
        if each.failed
    }


def trade(at: datetime, price: float = 100.0, **changed: Any) -> Row:
    return {
        "ticker": "X:BTCUSD",
        "exchange": "sim:1",
        "market": "spot",
        "trade_id": f"{(at - EPOCH) // US}",
        "event_time": at,
        "received_time": at + timedelta(milliseconds=5),
        "price": Decimal(str(price)),
        "size": Decimal("0.5"),
        "side": "buy",
        "conditions": None,
        **changed,
    }


def quote(at: datetime, bid: str = "99", ask: str = "101", **changed: Any) -> Row:
    return {
        "ticker": "X:BTCUSD",
        "exchange": "sim:1",
        "market": "spot",
        "event_time": at,
        "received_time": at,
        "event_time_source": "exchange",
        "bid_price": Decimal(bid),
        "bid_size": Decimal(1),
        "ask_price": Decimal(ask),
        "ask_size": Decimal(1),
        "venue_sequence": None,
        **changed,
    }


def bar(at: datetime, price: float, volume: float = 10.0, **changed: Any) -> Row:
    """Return a bar of five minutes as history brings it."""
    exact, size = (Decimal(str(round(value, 8))) for value in (price, volume))
    return {
        "ticker": "X:BTCUSD",
        "exchange": "binance",
        "market": "usdm",
        "event_time": at,
        "received_time": at,
        "interval": "5m",
        "open": exact,
        "high": exact,
        "low": exact,
        "close": exact,
        "volume": size,
        "turnover": exact * size,
        "vwap": exact,
        "trades": None,
        "buy_volume": None,
        "sell_volume": None,
        "first_time": at,
        "first_seq": 1,
        "last_time": at + timedelta(minutes=5) - US,
        "last_seq": 1,
        "source": "crypto_aggregates",
        **changed,
    }
