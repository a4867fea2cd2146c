"""Bars are a function of their trades: whatever the pieces, the order and the marks between."""

from __future__ import annotations

import random
from datetime import timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.bars.changes import Inputs, changes, prepare
from lake.bars.kernel import MINUTE_US, bars_of_trades, teach
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from tests.bars.trading import EPOCH, NOON, Row, expected, ordered, published_bar, trades

US = timedelta(microseconds=1)


class Table:
    """A table of bars in memory, changed step by step as the lake's is."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        teach(self.connection)
        prepare(self.connection)
        self.connection.execute("CREATE TABLE bars AS FROM w_none")
        self.closed_us = 0
        self.past: list[Row] = []
        self.past_published: list[Row] = []

    def step(self, rows: list[Row], published: list[Row], closed_us: int) -> None:
        """Take rows and move the mark, as flows.trades_to_bars does."""
        held_us, self.closed_us = self.closed_us, max(self.closed_us, closed_us)
        self._take("crypto_trades", rows, self.past, held_us)
        self._take("crypto_aggregates", published, self.past_published, held_us)
        self.past += rows
        self.past_published += published
        found = changes(
            self.connection,
            Inputs("FROM crypto_trades", "FROM crypto_aggregates", "bars", held_us, self.closed_us),
        )
        self.connection.register("d", found.drop)
        self.connection.register("p", found.put)
        keys = 'ticker, exchange, market, "interval", event_time'
        self.connection.execute(f"DELETE FROM bars WHERE ({keys}) IN (SELECT ({keys}) FROM d)")
        self.connection.execute("INSERT INTO bars FROM p")

    def _take(self, dataset: str, new: list[Row], past: list[Row], held_us: int) -> None:
        waited = [row for row in past if micros(row) >= held_us]
        taken = [row for row in [*new, *waited] if micros(row) < self.closed_us]
        found = pa.Table.from_pylist(taken, schema=arrow_schema(load(dataset)))
        self.connection.register(dataset, found)

    def rows(self) -> list[Row]:
        return ordered(self.connection.execute("FROM bars").to_arrow_table().to_pylist())


def micros(row: Row) -> int:
    return int((row["event_time"] - EPOCH) // US)


def minute_us(minutes: int) -> int:
    return int((NOON - EPOCH) // US) + minutes * MINUTE_US


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=4, deadline=None)
def test_any_split_into_steps_and_any_order_give_the_same_bars(seed: int, data: st.DataObject):
    rows = trades(seed, 1, NOON - timedelta(hours=1), count=60, span_s=7_200)
    minutes = data.draw(st.lists(st.integers(-60, 70), min_size=1, max_size=5))
    random.Random(seed).shuffle(rows)
    cuts = sorted(data.draw(st.integers(0, len(rows))) for _ in minutes[1:])
    table = Table()
    for first, last, minute in zip([0, *cuts], [*cuts, len(rows)], minutes, strict=True):
        table.step(rows[first:last], [], minute_us(minute))
    closed = EPOCH + table.closed_us * US
    assert table.rows() == expected(rows, closed)


@given(st.integers(0, 2**32))
@settings(max_examples=3, deadline=None)
def test_published_bars_stand_in_where_no_trade_is_held_in_any_order(seed: int):
    chance = random.Random(seed)
    rows = [row for row in trades(seed, 1, count=12, span_s=600) if row["ticker"] == "X:BTCUSD"]
    bars = [published_bar(100 + m, NOON + timedelta(minutes=m)) for m in range(10)]
    bars += [published_bar(900, NOON + timedelta(minutes=3))]
    seconds = chance.sample(range(600), 20)
    bars += [published_bar(1_000 + s, NOON + timedelta(seconds=s), interval="1s") for s in seconds]
    bars = chance.sample(bars, 12)
    whole = Table()
    whole.step(rows, bars, minute_us(1_000))
    pieces = Table()
    events = [*((row, None) for row in rows), *((None, bar) for bar in bars)]
    chance.shuffle(events)
    for n, (row, bar) in enumerate(events):
        pieces.step(
            [row] if row else [], [bar] if bar else [], minute_us(chance.choice((n, 3, 99)))
        )
    pieces.step([], [], minute_us(1_000))
    assert pieces.rows() == whole.rows()


def test_a_published_bar_says_what_it_is_and_goes_when_a_trade_comes() -> None:
    table = Table()
    table.step([], [published_bar(1, NOON), published_bar(2, NOON + timedelta(minutes=1))],
               minute_us(5))  # fmt: skip
    found = {(row["interval"], row["event_time"]): row for row in table.rows()}
    assert {key[0] for key in found} == {"1m", "5m"}
    five = found["5m", NOON]
    assert (five["source"], five["trades"], five["buy_volume"]) == ("crypto_aggregates", None, None)
    assert (five["open"], five["close"], five["volume"]) == (101, 103, 5)
    late = next(row for row in trades(1, 9, NOON, 50, 60) if row["conditions"] is None)
    late = {**late, "ticker": "X:BTCUSD"}
    table.step([late], [], minute_us(5))
    left = [(row["exchange"], row["interval"], row["source"]) for row in table.rows()]
    assert ("sim", "1m", "crypto_aggregates") in left  # the second minute
    assert (late["exchange"], "1m", "trades") in left
    assert len([row for row in table.rows() if row["interval"] == "1m"]) == 2


def test_a_published_bar_that_contradicts_itself_is_not_taken() -> None:
    table = Table()
    table.step([], [published_bar(1, NOON, high=1)], minute_us(5))
    assert table.rows() == []


@pytest.mark.parametrize("interval", ["1s", "1m", "1d"])
def test_live_bars_are_those_of_the_table(interval: str) -> None:
    rows = trades(3, 1)
    given_rows = pa.Table.from_pylist(rows, schema=arrow_schema(load("crypto_trades")))
    wanted = expected(rows, NOON + timedelta(days=1))
    found = ordered(bars_of_trades(given_rows, interval).to_pylist())
    assert found == [row for row in wanted if row["interval"] == interval]
