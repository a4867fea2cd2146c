"""crypto_agg_1m, 5m, 1h, 1d: what the trades in the hot tier say, on every edition."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from lake.clock import ManualClock, SystemClock
from lake.hot.bars import LEVELS, HotToBars, are_continuous
from lake.views.client import Client
from tests.verify.lakehouse import Lakehouse

WIDTHS = dict(
    zip(
        LEVELS,
        (timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)),
        strict=True,
    )
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2024, 8, 8, 22, 50, tzinfo=UTC)

Trade = dict[str, Any]


@pytest.fixture
def house(edition_dsn: str, tmp_path) -> Iterator[Lakehouse]:
    """Yield a lakehouse with shard 0 at frame 0."""
    house = Lakehouse(edition_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    yield house
    house.close()


@pytest.fixture
def connection(edition_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(edition_dsn, autocommit=True) as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def trades(seed: int, first_frame: int, start: datetime, count: int = 200) -> list[Trade]:
    """Return trades of an hour and a half, a frame each, out of order and some at one moment."""
    chance = random.Random(seed)
    made = []
    for frame in range(first_frame, first_frame + count):
        time = start + timedelta(seconds=chance.randrange(0, 5_400, 7))
        made.append(
            {
                "ticker": chance.choice(("X:BTCUSD", "X:ETHUSD")),
                "exchange": chance.choice(("sim:1", "sim:2")),
                "market": "spot",
                "trade_id": str(frame),
                "event_time": time,
                "received_time": time,
                "price": Decimal(chance.randrange(1, 10**9)) / 10**4,
                "size": Decimal(chance.randrange(1, 10**7)) / 10**5,
                "side": chance.choice(("buy", "sell", None)),
                "conditions": None,
                "shard": 0,
                "seq": frame << 16,
            }
        )
    return made


def write(house: Lakehouse, rows: list[Trade]) -> None:
    house.write(frames=len(rows), tables={"crypto_trades": rows})


def roll(connection: psycopg.Connection) -> None:
    """Bring the roll-ups up to date, by the server's policies too where it has them."""
    bars = HotToBars(connection, SystemClock())
    while bars.step():
        continue
    if are_continuous(connection):
        jobs = connection.execute(
            "SELECT job_id FROM timescaledb_information.jobs"
            " WHERE proc_name = 'policy_refresh_continuous_aggregate' ORDER BY job_id"
        ).fetchall()
        for (job,) in jobs:
            connection.execute(f"CALL run_job({job})".encode())


def expected(rows: list[Trade], width: timedelta) -> list[tuple[Any, ...]]:
    """Return the bars by their definition."""
    groups: dict[tuple[Any, ...], list[Trade]] = {}
    for row in rows:
        bucket = EPOCH + (row["event_time"] - EPOCH) // width * width
        key = (row["ticker"], row["exchange"], row["market"], bucket)
        groups.setdefault(key, []).append(row)
    return [(*key, *_bar(group)) for key, group in sorted(groups.items())]


def _bar(group: list[Trade]) -> tuple[Any, ...]:
    group = sorted(group, key=lambda row: (row["event_time"], row["seq"]))
    prices = [row["price"] for row in group]
    volume = sum(row["size"] for row in group)
    turnover = sum(row["price"] * row["size"] for row in group)
    sides = [sum(row["size"] for row in group if row["side"] == side) for side in ("buy", "sell")]
    vwap = round(turnover / volume, 10)
    bounds = (prices[0], max(prices), min(prices), prices[-1])
    return (*bounds, volume, turnover, vwap, len(group), *sides)


def stored(connection: psycopg.Connection, level: str) -> list[tuple[Any, ...]]:
    query = (
        "SELECT ticker, exchange, market, bucket, open, high, low, close, volume, turnover, vwap,"
        f" trades, buy_volume, sell_volume FROM market.crypto_agg_{level} ORDER BY 1, 2, 3, 4"
    )
    return connection.execute(query.encode()).fetchall()


def assert_bars(connection: psycopg.Connection, rows: list[Trade]) -> None:
    for level, width in WIDTHS.items():
        assert stored(connection, level) == expected(rows, width), level


@pytest.mark.parametrize("start", [LONG_AGO, None], ids=["long ago", "now"])
def test_bars_are_what_the_trades_say_batch_by_batch(house, connection, start):
    """Each batch reaches into the hours of the one before; the second has only late trades."""
    start = start or datetime.now(UTC).replace(microsecond=0) - timedelta(hours=9)
    rows: list[Trade] = []
    for seed, moved in enumerate((0, 0, 1, 2)):
        new = trades(seed, len(rows) + 1, start + timedelta(hours=moved))
        write(house, new)
        rows += new
        roll(connection)
        assert_bars(connection, rows)


def test_a_late_trade_changes_its_own_bars_and_no_others(house, connection):
    rows = trades(7, 1, LONG_AGO)
    write(house, rows)
    roll(connection)
    before = {level: stored(connection, level) for level in LEVELS}
    late = trades(8, len(rows) + 1, LONG_AGO, count=1)
    write(house, late)
    roll(connection)
    assert_bars(connection, rows + late)
    for level in LEVELS:
        assert len(set(stored(connection, level)) - set(before[level])) == 1


def test_nothing_new_costs_nothing_and_counts_nothing_twice(house, connection, edition_dsn):
    rows = trades(1, 1, LONG_AGO)
    write(house, rows)
    roll(connection)
    assert HotToBars(connection, SystemClock()).step() == 0
    with psycopg.connect(edition_dsn) as other:
        other.execute("SELECT market.roll_up(0::smallint, 0, 200)")  # by one who slept meanwhile
    assert_bars(connection, rows)


def test_trades_of_two_shards_meet_in_one_bar(house, connection):
    house.start_shard(1)
    mine = trades(1, 1, LONG_AGO)
    write(house, mine)
    others = [{**row, "shard": 1, "seq": row["seq"] + 1} for row in trades(2, 1, LONG_AGO)]
    house.write(frames=len(others), shard=1, tables={"crypto_trades": others})
    roll(connection)
    assert_bars(connection, mine + others)


def test_own_bars_are_deleted_when_the_age_of_published_bars_has_come(house, connection):
    if are_continuous(connection):
        policies = connection.execute(
            "SELECT hypertable_name, config ->> 'drop_after' FROM timescaledb_information.jobs"
            " WHERE proc_name = 'policy_retention' ORDER BY 1"
        ).fetchall()
        assert [after for _, after in policies] == ["365 days"] * 4
        return
    rows = trades(3, 1, LONG_AGO)
    write(house, rows)
    roll(connection)
    young = ManualClock(int((LONG_AGO + timedelta(days=80)).timestamp()) * 1_000_000)
    assert HotToBars(connection, young).forget_old() == 0
    assert HotToBars(connection, SystemClock()).forget_old() > 0
    assert [stored(connection, level) for level in LEVELS] == [[]] * 4


def test_an_analyst_reads_bars_through_the_client(house, connection):
    rows = trades(5, 1, LONG_AGO)
    write(house, rows)
    roll(connection)
    with Client(house.dsn) as client:
        found = client.arrow("SELECT sum(trades)::bigint AS n FROM pg.market.crypto_agg_1h")
    assert found["n"].to_pylist() == [200]
