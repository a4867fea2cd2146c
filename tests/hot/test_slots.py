"""Slots by ticker: from 50 symbols on, for new days, with tickers pinned; no row is ever unseen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import psycopg
import pytest

from lake.errors import BadInput, Damaged
from lake.hot.arrange import arrange
from lake.hot.look import look
from lake.hot.partitions import (
    drop_partition,
    ensure_partitions,
    existing_partitions,
    lock_day,
    summarize,
)
from lake.hot.slots import HASH_SLOTS, SYMBOLS_MIN, slot_rows

DAY = date(2024, 8, 8)
NEXT = DAY + timedelta(days=1)
TICKERS = [f"X:SYM{number:03d}USD" for number in range(80)]
STATISTICS_TRIES_MAX = 1_200


@pytest.fixture
def connection(edition_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(edition_dsn, autocommit=True) as opened:
        yield opened


def know(connection: psycopg.Connection, tickers: Sequence[str]) -> None:
    """Name instruments, as the writer does when it first sees them."""
    for ticker in tickers:
        connection.execute(
            "INSERT INTO market.instruments (venue, market, symbol, ticker)"
            " VALUES ('sim:1', 'spot', %s, %s)",
            (ticker, ticker),
        )


def fill(connection: psycopg.Connection, day: date, tickers: Sequence[str], each: int = 10) -> None:
    """Write trades of a day, so many of each ticker."""
    ensure_partitions(connection, "crypto_trades", [day])
    connection.execute(
        "INSERT INTO market.crypto_trades SELECT t, 'sim:1', 'spot', i::text,"
        " %s::timestamptz + i * interval '1 s', now(), 1, 1, 'buy', NULL, 0, i"
        " FROM unnest(%s::text[]) AS t, generate_series(1, %s) AS i",
        (f"{day} 01:00+00", list(tickers), each),
    )


def counted(connection: psycopg.Connection, total: int) -> dict[str, int]:
    """Return the slots' rows once the server's counters have so many."""
    for _ in range(STATISTICS_TRIES_MAX):
        connection.execute("SELECT pg_stat_force_next_flush()")
        connection.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.05)")
        rows = slot_rows(connection, "crypto_trades")
        if sum(rows.values()) >= total:
            break
    return rows


def rows_of(connection: psycopg.Connection, ticker: str) -> int:
    row = connection.execute(
        "SELECT count(*) FROM market.crypto_trades WHERE ticker = %s", (ticker,)
    ).fetchone()
    return int(row[0])


def test_few_symbols_are_not_cut(connection):
    know(connection, TICKERS[: SYMBOLS_MIN - 1])
    fill(connection, DAY, TICKERS[:49])
    assert slot_rows(connection, "crypto_trades") == {}


def test_from_fifty_symbols_on_new_days_have_ten_slots_and_old_ones_stay(connection, edition_dsn):
    fill(connection, DAY, TICKERS)
    know(connection, TICKERS[:SYMBOLS_MIN])
    fill(connection, NEXT, TICKERS)
    rows = counted(connection, 800)
    assert sorted(rows) == sorted(f"h{number}" for number in range(HASH_SLOTS))
    assert sum(rows.values()) == 800
    assert max(rows.values()) < 800
    assert {rows_of(connection, ticker) for ticker in TICKERS} == {20}
    assert list(existing_partitions(connection, "crypto_trades")) == [DAY, NEXT]
    skew = look(edition_dsn).document()["slots"]["crypto_trades"]["skew"]
    assert skew == round(max(rows.values()) * HASH_SLOTS / 800, 3)


def test_a_query_of_one_ticker_reads_one_slot(connection):
    know(connection, TICKERS)
    fill(connection, DAY, TICKERS)
    plan = connection.execute(
        "EXPLAIN (FORMAT JSON) SELECT * FROM market.crypto_trades WHERE ticker = %s",
        (TICKERS[7],),
    ).fetchone()
    assert str(plan).count("'Relation Name'") == 1


def test_a_pinned_ticker_has_a_slot_of_its_own(connection):
    know(connection, TICKERS)
    arrange(connection, pinned=(TICKERS[3],))
    fill(connection, DAY, TICKERS)
    fill(connection, DAY, TICKERS[3:4], each=990)
    rows = counted(connection, 1790)
    assert rows[TICKERS[3]] == 1000
    assert len(rows) == HASH_SLOTS + 1
    assert sum(rows.values()) == 1790
    assert rows_of(connection, TICKERS[3]) == 1000
    assert {rows_of(connection, ticker) for ticker in TICKERS[4:]} == {10}


def test_changed_pins_lose_sight_of_no_row(connection):
    know(connection, TICKERS)
    arrange(connection, pinned=(TICKERS[3],))
    fill(connection, DAY, TICKERS)
    arrange(connection, pinned=(TICKERS[4], TICKERS[5]))
    fill(connection, DAY, TICKERS)
    fill(connection, NEXT, TICKERS)
    arrange(connection)
    fill(connection, NEXT + timedelta(days=1), TICKERS)
    assert {rows_of(connection, ticker) for ticker in TICKERS} == {40}


def test_too_many_pins_are_refused(connection):
    with pytest.raises(BadInput, match="TICKLAKE_HOT_PINNED_TICKERS: 17 tickers"):
        arrange(connection, pinned=TICKERS[:17])


def test_cut_days_leave_whole_and_are_summarized(connection):
    know(connection, TICKERS)
    fill(connection, DAY, TICKERS, each=900)
    fill(connection, NEXT, TICKERS)
    assert summarize(connection, "crypto_trades", [DAY]) >= HASH_SLOTS
    assert drop_partition(connection, "crypto_trades", DAY)
    assert list(existing_partitions(connection, "crypto_trades")) == [NEXT]
    assert {rows_of(connection, ticker) for ticker in TICKERS} == {10}


def test_a_late_row_that_makes_another_chunk_of_a_locked_day_keeps_it(
    connection, edition, edition_dsn
):
    """The server makes chunks at any moment: what was not proven must not go with the rest."""
    if edition == "plain":
        pytest.skip("a partition has all its slots from the start, and its lock is theirs")
    know(connection, TICKERS)
    fill(connection, DAY, TICKERS[:1])
    with psycopg.connect(edition_dsn, autocommit=True) as late, connection.transaction():
        locked = lock_day(connection, "crypto_trades", DAY)
        others = [ticker for ticker in TICKERS[1:] if _lands_elsewhere(late, ticker)]
        fill(late, DAY, others[:1])
        with pytest.raises(Damaged, match="a late row came in"):
            drop_partition(connection, "crypto_trades", DAY, locked)
    assert rows_of(connection, TICKERS[0]) == rows_of(connection, others[0]) == 10


def _lands_elsewhere(connection: psycopg.Connection, ticker: str) -> bool:
    """Tell whether a ticker's slot is another than the first ticker's."""
    row = connection.execute(
        "SELECT _timescaledb_functions.get_partition_hash(%s::text) / %s"
        " <> _timescaledb_functions.get_partition_hash(%s::text) / %s",
        (ticker, (2**31 - 1) // HASH_SLOTS, TICKERS[0], (2**31 - 1) // HASH_SLOTS),
    ).fetchone()
    return bool(row[0])
