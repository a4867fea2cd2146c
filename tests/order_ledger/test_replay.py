"""The tables of any moment come out of the events alone, the same whoever makes them."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import psycopg
import pyarrow as pa
import pytest

from feature_repo.ledger.commands import (
    Cash,
    Change,
    Command,
    ImportOrder,
    ImportPosition,
    Mark,
    Place,
)
from feature_repo.ledger.projection import PROJECTIONS, project
from feature_repo.ledger.replay import Replayed, replay, rows_digest
from feature_repo.ledger.writer import Writer
from feature_repo.trading.money import decimal_of, times
from feature_repo.trading.order import Order
from lake.clock import ManualClock
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import LEDGER_DATASETS, load
from tests.order_ledger.orders import BTC, ETH, ONE, START_US, change, fill, place

MINUTE_US = 60_000_000


def kept(dsn: str) -> dict[str, pa.Table]:
    """Return the tables as they are kept."""
    found = {}
    with psycopg.connect(dsn) as connection:
        for name in PROJECTIONS:
            schema = arrow_schema(load(name))
            query = f"SELECT {', '.join(schema.names)} FROM market.{name}"
            rows = connection.execute(f"{query} ORDER BY {LEDGER_DATASETS[name]}".encode())
            columns = list(zip(*rows.fetchall(), strict=True)) or [()] * len(schema)
            arrays = [pa.array(list(c), f.type) for c, f in zip(columns, schema, strict=True)]
            found[name] = pa.Table.from_arrays(arrays, schema=schema)
    return found


def same(replayed: Replayed, tables: dict[str, pa.Table]) -> None:
    """Fail where a table differs."""
    for name in PROJECTIONS:
        assert replayed.tables[name].to_pylist() == tables[name].to_pylist(), name


def trades(random: Random, number: int) -> list[Command]:
    """Return some commands, of one order."""
    name = f"o{number}"
    size = random.randrange(1, 5 * ONE)
    price = random.randrange(1, 300 * ONE)
    made: list[Command] = [
        place(
            name,
            size,
            side="buy" if random.random() < 0.5 else "sell",
            instrument=random.choice((BTC, ETH)),
            price=price,
        )
    ]
    if random.random() < 0.1:
        return [*made, change(name, "rejected")]
    made.append(change(name, "accepted"))
    if random.random() < 0.3:
        size += random.randrange(1, ONE)
        made.append(Change("desk", name, "amended", "am", START_US, size=size))
    part = random.randrange(1, size + 1)
    made.append(fill(name, part, "f1", price))
    if part < size:
        ends = [fill(name, size - part, "f2", price + 1), change(name, "cancelled")]
        made += random.sample(ends, random.randrange(2))
    return made


def test_replay_gives_the_rows_that_were_kept_at_each_moment(migrated_dsn: str) -> None:
    random = Random(7)
    clock = ManualClock(START_US)
    writer = Writer(migrated_dsn, clock)
    before = Order(BTC, "buy", 3 * ONE, "limit", 50 * ONE, client_id="old-1")
    writer.commit(
        [
            Cash("desk", 10_000 * ONE, START_US, "in"),
            ImportPosition("desk", ETH, -ONE, -70 * ONE, 5, 6, 71 * ONE, START_US, "i1", "old"),
            ImportOrder("desk", before, START_US, "accepted", ONE, 50 * ONE, 7, "old"),
            Change("desk", "old-1", "filled", "of", START_US, 51 * ONE, ONE, 3, "maker"),
        ]
    )
    moments: dict[int, dict[str, pa.Table]] = {}
    for number in range(24):
        outcomes = writer.commit(trades(random, number))
        assert [each.refusal for each in outcomes] == [None] * len(outcomes)
        if number % 4 == 0:
            writer.commit([Mark("desk", BTC, random.randrange(ONE), clock.now_us(), f"m{number}")])
        if number % 6 == 5:
            project(migrated_dsn, clock)
            moments[clock.now_us()] = kept(migrated_dsn)
        clock.advance(random.randrange(1, 4) * MINUTE_US)
    writer.close()
    assert len(moments) == 4
    for at_us, tables in moments.items():
        replayed = replay(migrated_dsn, at_us)
        same(replayed, tables)
        digests = {name: rows_digest(rows) for name, rows in tables.items()}
        assert replayed.digests() == digests
    counts = {name: rows.num_rows for name, rows in tables.items()}
    assert counts["orders"] == 25
    assert counts["positions"] == 2
    assert counts["portfolio_snapshots"] > 5


def test_tables_made_anew_are_the_same(migrated_dsn: str) -> None:
    clock = ManualClock(START_US)
    writer = Writer(migrated_dsn, clock)
    for number in range(5):
        writer.commit(trades(Random(number), number))
        project(migrated_dsn, clock)
        clock.advance(7 * MINUTE_US)
    writer.close()
    project(migrated_dsn, clock)
    before = kept(migrated_dsn)
    with psycopg.connect(migrated_dsn) as connection:
        connection.execute(f"TRUNCATE {', '.join(f'market.{n}' for n in PROJECTIONS)}".encode())
        connection.execute(b"UPDATE market.ledger_heads SET projected_id = 0, moments_upto = NULL")
    project(migrated_dsn, clock)
    assert kept(migrated_dsn) == before
    same(replay(migrated_dsn, clock.now_us()), before)


@pytest.mark.parametrize("seed", range(3))
def test_an_order_s_value_is_the_sum_of_its_fills_to_the_last_place(
    migrated_dsn: str, seed: int
) -> None:
    random = Random(seed)
    fills = [(random.randrange(1, ONE), random.randrange(1, 10**16)) for _ in range(20)]
    writer = Writer(migrated_dsn, ManualClock(START_US))
    commands: list[Command] = [place("a", sum(size for size, _ in fills)), change("a", "accepted")]
    commands += [fill("a", size, f"f{n}", price) for n, (size, price) in enumerate(fills)]
    outcomes = writer.commit(commands)
    writer.close()
    assert all(each.is_new for each in outcomes)
    (order,) = replay(migrated_dsn, START_US).tables["orders"].to_pylist()
    wanted = sum(times(price, size) for size, price in fills)
    assert order["filled_value"] == decimal_of(wanted)
    assert (order["current_state"], order["fills"]) == ("filled", 20)
    assert order["fees"] == Decimal(2)


def test_a_moment_knows_nothing_of_what_came_later(migrated_dsn: str) -> None:
    clock = ManualClock(START_US)
    writer = Writer(migrated_dsn, clock)
    wanted: list[Place | Change] = [place("a"), change("a", "accepted"), fill("a")]
    for command in wanted:
        writer.commit([command])
        clock.advance(10)
    writer.close()
    states = [
        [row["current_state"] for row in replay(migrated_dsn, at).tables["orders"].to_pylist()]
        for at in (START_US - 1, START_US, START_US + 19, START_US + 20)
    ]
    assert states == [[], ["created"], ["accepted"], ["filled"]]
