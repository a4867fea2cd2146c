"""Commands are events once, in one chain, whoever gives them and however often."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest

from feature_repo.ledger.commands import Cash, Mark
from feature_repo.ledger.event_rows import CHAINS
from feature_repo.ledger.group_commit import GroupCommit
from feature_repo.ledger.order_event import OrderEvent
from feature_repo.ledger.verify import chain_faults
from feature_repo.ledger.writer import LOCK, Writer
from lake.clock import ManualClock, SystemClock
from lake.errors import Fenced, Unavailable
from tests.order_ledger.orders import BTC, ONE, START_US, change, fill, place

SILENT_MS = 1_000
LIFE = [place("a"), change("a", "accepted"), fill("a", ONE // 3), fill("a", ONE - ONE // 3, "f2")]


@pytest.fixture
def writer(migrated_dsn: str) -> Iterator[Writer]:
    """Return a writer of an empty ledger."""
    made = Writer(migrated_dsn, ManualClock(START_US))
    yield made
    made.close()


def test_what_is_written_is_what_is_read_and_the_chain_holds(
    writer: Writer, migrated_dsn: str
) -> None:
    money = Cash("desk", 1000 * ONE, START_US, "in", "opening")
    outcomes = writer.commit([money, *LIFE, Mark("desk", BTC, 99 * ONE, START_US, "m1")])
    assert all(each.is_new for each in outcomes)
    other = Writer(migrated_dsn, ManualClock(START_US + 7))
    again = other.commit([money, *LIFE, Mark("desk", BTC, 99 * ONE, START_US, "m1")])
    other.close()
    assert [each.is_new for each in again] == [False] * 6
    assert [each.event for each in again] == [each.event for each in outcomes]
    with psycopg.connect(migrated_dsn) as connection:
        assert [chain_faults(migrated_dsn, chain) for chain in CHAINS] == [[], []]
        assert connection.execute("SELECT count(*) FROM market.order_events").fetchone() == (4,)
        assert connection.execute(
            "SELECT size_after::text, cost_after::text, fees_after::text, cash_after::text"
            " FROM market.position_events ORDER BY id DESC LIMIT 1"
        ).fetchone() == ("1.0000000000", "100.0000000000", "0.2000000000", "899.8000000000")


def test_a_refusal_leaves_the_rest_of_the_batch(writer: Writer) -> None:
    refused = change("nobody", "cancelled")
    first, second, third = writer.commit([place("a"), refused, place("b")])
    assert (first.is_new, third.is_new) == (True, True)
    assert second.refusal is not None
    assert "create it first" in str(second.refusal)


def test_two_writers_in_turns_never_fork(writer: Writer, migrated_dsn: str) -> None:
    other = Writer(migrated_dsn, ManualClock(START_US))
    writer.commit([place("a")])
    other.commit([change("a", "accepted")])
    (outcome,) = writer.commit([change("a", "accepted", "again")])
    assert "accepted, so not accepted" in str(outcome.refusal)
    (stale,) = writer.commit([replace(change("a", "cancelled"), expected_sequence=1)])
    assert "is at event 2, not 1" in str(stale.refusal)
    other.close()


def test_a_clock_that_steps_back_does_not_go_back_in_the_ledger(migrated_dsn: str) -> None:
    clock = ManualClock(START_US)
    writer = Writer(migrated_dsn, clock)
    writer.commit([place("a")])
    clock.step(-60_000_000)
    (outcome,) = writer.commit([place("b")])
    writer.close()
    assert isinstance(outcome.event, OrderEvent)
    assert outcome.event.created_us == START_US


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE market.order_events SET size = 2",
        "DELETE FROM market.order_events",
        "TRUNCATE market.order_events CASCADE",
        "UPDATE market.ledger_anchors SET number = 2",
        "INSERT INTO market.order_events SELECT id + 1, order_id, sequence_number + 1, 'accepted',"
        " event_time, account, client_order_id, 'x', ticker, exchange, market, side, kind, NULL,"
        " NULL, NULL, '', '{}', created_at, hash FROM market.order_events",
    ],
)
def test_the_server_refuses_changes_and_what_does_not_follow(
    writer: Writer, migrated_dsn: str, statement: str
) -> None:
    writer.commit([place("a")])
    with psycopg.connect(migrated_dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.Error, match=r"appended to only|does not follow"):
            connection.execute(statement.encode())
        assert chain_faults(migrated_dsn, "order_events") == []


def test_commands_of_many_threads_are_one_chain(migrated_dsn: str) -> None:
    together = GroupCommit(migrated_dsn, SystemClock())

    def trade(number: int) -> None:
        name = f"o{number % 40}"
        for command in (place(name), change(name, "accepted"), fill(name)):
            together.submit(command).result(120)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(trade, range(80)))
    together.close()
    with pytest.raises(Unavailable, match="is closed"):
        together.submit(place("late"))
    with psycopg.connect(migrated_dsn) as connection:
        assert [chain_faults(migrated_dsn, chain) for chain in CHAINS] == [[], []]
        query = "SELECT last_id FROM market.ledger_heads ORDER BY ledger"
        assert connection.execute(query).fetchall() == [(120,), (40,)]


def test_a_leader_that_stopped_within_a_copy_is_ended_by_who_wants_the_lead(
    migrated_dsn: str,
) -> None:
    lead, clock = "account x", SystemClock()
    second = Writer(migrated_dsn, clock, leads=[lead], beats=True, silent_ms=SILENT_MS)
    stuck = psycopg.connect(migrated_dsn, autocommit=True)
    key = f"{LOCK}.lead.{lead}"
    stuck.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
    stuck.pgconn.send_query(b"COPY market.orders FROM STDIN")
    since_us = clock.monotonic_us()
    while not second.leads and clock.monotonic_us() - since_us < 120_000_000:
        with suppress(Fenced, Unavailable):
            second.take_lead()
        clock.sleep(0.2)
    assert second.leads
    assert clock.monotonic_us() - since_us > SILENT_MS * 1_000
    stuck.close()
    second.close()
    with pytest.raises(Fenced):
        second.commit([place("a")])
