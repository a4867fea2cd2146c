"""Bars become the network of assets: correlations, who leads whom, clusters; a window at a time.

A run takes the newest window of closed bars of every venue's market, once: the same call again
finds its edges there. It needs no Prefect.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa

from feature_repo.portfolio.network import PLACES, clusters, correlations, edges, log_returns
from flows.numbered_to_lake import take_in_turn
from lake.bars.kernel import WIDTHS_US
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import NUMBERED_DATASETS, load
from lake.errors import WrongUse
from lake.hot.numbered import append
from lake.hot.turn import turn
from lake.parts import ShowPart, by_parts, nobody
from lake.views.client import Client
from lake.views.engine import quote
from lake.warehouse import Warehouse

DATASET = "asset_edges"
WINDOWS = (("5m", 576), ("1h", 720))
"""Interval and bars of each window: two days, and thirty."""

TICKERS_MAX = 500
"""Tickers of one market: those with the largest turnover; 500 make 124,750 edges."""

_CLOSES = """
    WITH newest AS (
        SELECT ticker, event_time, CAST(close AS DOUBLE) AS close, CAST(volume AS DOUBLE) AS volume
        FROM bars
        WHERE exchange = {exchange} AND market = {market} AND "interval" = {interval}
            AND event_time >= {first} AND event_time < {last}
    ), chosen AS (
        SELECT ticker FROM newest GROUP BY ticker
        ORDER BY sum(close * volume) DESC, ticker LIMIT {tickers}
    )
    SELECT ticker, event_time, close FROM newest SEMI JOIN chosen USING (ticker)
    ORDER BY ticker, event_time
"""

_MARKETS = """
    SELECT exchange, market, max(event_time) FROM bars WHERE "interval" = {interval}
    GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Window:
    """The bars of one market in [end - bars * interval, end)."""

    interval: str
    bars: int
    exchange: str
    market: str
    end: datetime

    @property
    def width(self) -> timedelta:
        """Return the length of a bar."""
        return timedelta(microseconds=WIDTHS_US[self.interval])


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a window came to."""

    window: Window
    edges: int
    clusters: int

    def line(self) -> str:
        """Return it in words."""
        window = self.window
        return (
            f"{window.exchange} {window.market}, {window.bars} bars of {window.interval} to"
            f" {window.end:%Y-%m-%d %H:%M} UTC: {self.edges:,} edges, {self.clusters:,} clusters"
        )


def draw(
    dsn: str,
    warehouse: Warehouse,
    windows: tuple[tuple[str, int], ...] = WINDOWS,
    show: ShowPart = nobody,
) -> list[Drawn]:
    """Publish the edges of the newest window of each market that has new bars.

    show: is told how far it is. Raises WrongUse for an interval that is none; Unavailable while
    another run holds the turn.
    """
    for interval, _ in windows:
        if interval not in WIDTHS_US:
            raise WrongUse(f"interval {interval}", "is none", f"one of {', '.join(WIDTHS_US)}")
    drawn = []
    with (
        turn(dsn, DATASET) as lease,
        psycopg.connect(dsn, autocommit=True) as connection,
        Client(dsn, warehouse) as client,
    ):
        client.refresh()
        newest = [each for of in windows for each in _newest(client, *of)]
        for window in by_parts(newest, show):
            if _is_drawn(connection, window):
                continue
            rows, found = _edges(client, window)
            if rows.num_rows:
                append(connection, DATASET, rows)
            drawn.append(Drawn(window, rows.num_rows, found))
        take_in_turn(dsn, warehouse, DATASET, lease)
    return drawn


def _newest(client: Client, interval: str, bars: int) -> list[Window]:
    width = timedelta(microseconds=WIDTHS_US[interval])
    rows = client.duckdb.execute(_MARKETS.format(interval=quote(interval))).fetchall()
    return [
        Window(interval, bars, exchange, market, last + width) for exchange, market, last in rows
    ]


def _is_drawn(connection: psycopg.Connection, window: Window) -> bool:
    row = connection.execute(
        'SELECT 1 FROM market.asset_edges WHERE event_time = %s AND "interval" = %s'
        " AND window_bars = %s AND exchange = %s AND market = %s LIMIT 1",
        (window.end, window.interval, window.bars, window.exchange, window.market),
    ).fetchone()
    return row is not None


def _edges(client: Client, window: Window) -> tuple[pa.Table, int]:
    """Return the rows of a window, and how many clusters there are."""
    tickers, closes = closes_of(client, window)
    schema = arrow_schema(load(DATASET))
    schema = schema.remove(schema.get_field_index(NUMBERED_DATASETS[DATASET]))
    returns = log_returns(closes)
    if len(returns) < 2 or len(tickers) < 2:
        return schema.empty_table(), 0
    found = clusters(correlations(returns)[0])
    rows = [
        {
            "event_time": window.end,
            "interval": window.interval,
            "window_bars": window.bars,
            "exchange": window.exchange,
            "market": window.market,
            "ticker": tickers[edge.first],
            "other": tickers[edge.second],
            "bars": edge.bars,
            "correlation": _decimal(edge.correlation),
            "lag_bars": edge.lag,
            "lag_correlation": _decimal(edge.lag_correlation),
            "cluster": found[edge.first],
            "other_cluster": found[edge.second],
        }
        for edge in edges(returns)
    ]
    return pa.Table.from_pylist(rows, schema), max(found)


def closes_of(client: Client, window: Window) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Return tickers, sorted, and closes: a row a bar of the window, NaN where there is none."""
    first = window.end - window.bars * window.width
    query = _CLOSES.format(
        exchange=quote(window.exchange),
        market=quote(window.market),
        interval=quote(window.interval),
        first=f"TIMESTAMPTZ {quote(first.isoformat())}",
        last=f"TIMESTAMPTZ {quote(window.end.isoformat())}",
        tickers=TICKERS_MAX,
    )
    rows = client.arrow(query)
    names, places = np.unique(rows["ticker"].to_numpy(), return_inverse=True)
    start_us = int(first.timestamp()) * 1_000_000
    times = rows["event_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    closes = np.full((window.bars, len(names)), np.nan)
    closes[(times - start_us) // WIDTHS_US[window.interval], places] = rows["close"].to_numpy()
    return [str(name) for name in names], closes


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.{PLACES}f}")
