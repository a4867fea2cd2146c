"""Design 3.5: recordings go the same way as a socket, and each trade is stored once for ever."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from flows.trades_to_bars import TradesToBars
from lake.clock import SystemClock
from lake.ingest.hot_to_dropped import drop_due
from lake.verify.verify import verify
from lake.views.client import Client
from lake.warehouse import warehouse_of
from tests.conftest import Databases
from tests.path.market import Home

FILES = ("usdm_btcusdt_20230404", "usdm_btcusdt_20230405", "spot_btcusdt_20230405")
AGAIN = FILES[1:]
TRADE = re.compile(rb'"e":"trade".*"t":(\d+)')
QUOTE = re.compile(rb'"u":(\d+),"s":"[A-Z]+","b":')
VIEWS = ("", "lake.", "hot.")


@dataclass(frozen=True)
class Recordings:
    """A lake that took the recordings in, and what is in their files."""

    home: Home
    folder: Path

    def replay(self, *names: str) -> None:
        paths = [f"replay:{self.folder / name}.dat.gz" for name in names]
        done = self.home.ingest(*paths, "--speed", "max")
        assert done.code == 0, done.err

    def ids(self, pattern: re.Pattern[bytes], market: str) -> list[int]:
        """Return the ids of the files' frames of a market, as they came."""
        names = [name for name in FILES if name.startswith(market)]
        lines = (gzip.decompress((self.folder / f"{name}.dat.gz").read_bytes()) for name in names)
        return [int(found) for text in lines for found in pattern.findall(text)]

    def stored(self, view: str, dataset: str, key: str, market: str) -> list[int]:
        """Return the keys of a view's rows, ascending."""
        found = self.home.rows(
            f"SELECT {key}::bigint AS id FROM {view}{dataset} WHERE market = '{market}'"
            " AND ticker = 'X:BTCUSDT' AND exchange = 'binance' ORDER BY id"
        )
        return found["id"].to_list()

    def assert_each_trade_once(self, *views: str) -> None:
        for market in ("usdm", "spot"):
            wanted = sorted(self.ids(TRADE, market))
            for view in views:
                assert self.stored(view, "crypto_trades", "trade_id", market) == wanted, view


@pytest.fixture(scope="module")
def recordings(
    databases: Databases,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
    data_dir: Path,
) -> Iterator[Recordings]:
    name = databases.create(migrated_template)
    home = Home(databases.dsn(name), tmp_path_factory.mktemp("recordings"))
    found = Recordings(home, data_dir / "binance_frames")
    found.replay(*FILES)
    yield found
    home.close()
    databases.drop(name)


def test_spot_and_perpetual_of_one_symbol_are_both_whole(recordings: Recordings) -> None:
    for market in ("usdm", "spot"):
        ids = recordings.ids(TRADE, market)
        assert sorted(ids) == list(range(min(ids), max(ids) + 1))
        quotes = sorted(set(recordings.ids(QUOTE, market)))
        found = recordings.stored("", "crypto_quotes", "venue_sequence", market)
        assert found == quotes
    recordings.assert_each_trade_once(*VIEWS)
    # files that are read at once show holes until the other one has come
    assert all(gap["filled"] == "crypto_trades" for gap in recordings.home.gaps())
    assert verify(recordings.home.path).holds


def test_spot_quotes_say_that_their_time_is_ours(recordings: Recordings) -> None:
    found = recordings.home.rows(
        "SELECT market, event_time_source, bool_and(event_time = received_time) AS ours"
        " FROM crypto_quotes GROUP BY ALL ORDER BY market"
    )
    assert found.rows() == [("spot", "received", True), ("usdm", "exchange", False)]


def test_minute_bars_in_sql_are_the_published_klines(
    recordings: Recordings, data_dir: Path
) -> None:
    published = (data_dir / "klines" / "binance_um_BTCUSDT_1m_klines_2023-04-04_05.csv").read_text()
    wanted = [
        {name: Decimal(row[name]) for name in FIELDS}
        for row in list(csv.DictReader(published.splitlines()))[1:-1]
    ]
    assert len(wanted) == 7
    span = {"first": int(wanted[0]["open_time"]), "last": int(wanted[-1]["open_time"])}
    for view in VIEWS:
        found = recordings.home.rows(MINUTE_BARS.format(view=view, **span))
        assert [{name: Decimal(row[name]) for name in FIELDS} for row in found.to_dicts()] == wanted


def test_bars_are_the_published_klines_to_the_last_digit(
    recordings: Recordings, data_dir: Path
) -> None:
    published = (data_dir / "klines" / "binance_um_BTCUSDT_1m_klines_2023-04-04_05.csv").read_text()
    wanted = list(csv.DictReader(published.splitlines()))[1:-1]
    home = recordings.home
    with TradesToBars(home.dsn, warehouse_of(home.path)) as bars:
        bars.drain()
        assert not any(step.put for step in bars.drain())
    first, last = (int(row["open_time"]) for row in (wanted[0], wanted[-1]))
    found = home.rows(
        "SELECT epoch_ms(event_time) AS open_time, open, high, low, close, volume,"
        " turnover AS quote_volume, trades AS count, buy_volume AS taker_buy_volume,"
        " source, vwap FROM bars WHERE \"interval\" = '1m' AND market = 'usdm'"
        f" AND open_time BETWEEN {first} AND {last} ORDER BY open_time"
    ).to_dicts()
    same = [name for name in FIELDS if name != "taker_buy_quote_volume"]
    assert [{name: Decimal(row[name]) for name in same} for row in found] == [
        {name: Decimal(row[name]) for name in same} for row in wanted
    ]
    assert {row["source"] for row in found} == {"trades"}


FIELDS = (
    "open_time", "open", "high", "low", "close", "volume", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume",
)  # fmt: skip

MINUTE_BARS = """
    WITH trades AS (
        SELECT *, epoch_ms(event_time) // 60000 * 60000 AS open_time,
            price::DECIMAL(18, 4) * size::DECIMAL(18, 4) AS worth
        FROM {view}crypto_trades
        WHERE ticker = 'X:BTCUSDT' AND exchange = 'binance' AND market = 'usdm'
            AND conditions IS DISTINCT FROM 'INSURANCE_FUND'
    )
    SELECT
        open_time,
        arg_min(price, trade_id::bigint) AS open, max(price) AS high, min(price) AS low,
        arg_max(price, trade_id::bigint) AS close, sum(size) AS volume,
        sum(worth) AS quote_volume, count(*) AS count,
        sum(size) FILTER (side = 'buy') AS taker_buy_volume,
        sum(worth) FILTER (side = 'buy') AS taker_buy_quote_volume
    FROM trades WHERE open_time BETWEEN {first} AND {last}
    GROUP BY open_time ORDER BY open_time
"""


def test_the_same_again_now_and_after_hot_has_let_go_leaves_each_trade_once(
    recordings: Recordings,
) -> None:
    recordings.replay(*AGAIN, AGAIN[0])
    recordings.assert_each_trade_once(*VIEWS)
    home = recordings.home
    with psycopg.connect(home.dsn, autocommit=True) as connection, Client(home.dsn) as client:
        left = drop_due(connection, client, SystemClock(), grace_s=0)
    assert left
    assert all(each.dropped for each in left), left
    assert home.rows("SELECT count(*) FROM hot.crypto_trades").item() == 0
    recordings.replay(*AGAIN)
    recordings.assert_each_trade_once("", "lake.")
    classes = home.rows(
        "SELECT sum(events)::bigint AS events, sum(duplicate)::bigint AS duplicate,"
        " sum(stored + quarantined + duplicate + ignored)::bigint AS classed FROM ingest_batches"
    ).to_dicts()[0]
    assert classes["events"] == classes["classed"]
    assert classes["duplicate"] > 2 * sum(len(recordings.ids(TRADE, name)) for name in AGAIN)
    assert verify(home.path).holds
