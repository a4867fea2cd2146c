"""What stood in the books before they went to the lake is placed, and in the ledger."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from lake import ledger
from lake.hot.migrations import migrate
from warehouse_sql.statement import migrations

PLACED = 15
"""The migration that gives the books their places."""

BEFORE = """
INSERT INTO market.shards (shard, last_frame, trade_high) VALUES
  (0, 20, '{"high": {"crypto_trades": {"coinbase|spot|X:BTCUSD": 7}}}'), (1, 5, '{}');
INSERT INTO market.ingest_batches (shard, epoch, first_frame, last_frame, feed, codec_version,
  frames, events, stored, quarantined, duplicate, ignored, committed_time, seq)
  SELECT s, 1, f, f + 9, 'sim', 1, 10, 10, 10, 0, 0, 0, '2024-08-08 12:00:30+00', (f + 9) << 16
  FROM (VALUES (0, 1), (0, 11), (1, 1)) AS b(s, f);
INSERT INTO market.feed_gaps (gap_id, feed, connection, kind, gap_from, gap_to, detected_time,
  closed_time, filled, shard) VALUES
  (3 << 16, 'sim', 0, 'restart', '2024-08-08 12:00+00', '2024-08-08 12:01+00',
    '2024-08-08 12:00:05.000001+00', '2024-08-08 12:01:01+00', 'crypto_trades', 0),
  (15 << 16, 'sim', 1, 'silence', '2024-08-08 12:02+00', NULL, '2024-08-08 12:02:05+00',
    NULL, NULL, 0);
INSERT INTO market.instruments (venue, market, symbol, ticker) VALUES
  ('coinbase', 'spot', 'BTCUSD', 'X:BTCUSD'), ('sim:1', 'spot', 'ETHUSD', 'X:ETHUSD');
"""


@pytest.fixture
def upgraded(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """A database with rows of before, brought to now."""
    with psycopg.connect(postgres_dsn) as connection:
        migrate(connection, [each for each in migrations() if each.version < PLACED])
        connection.execute(BEFORE)
        connection.commit()
        migrate(connection)
        yield connection


@pytest.mark.parametrize("dataset", ["feed_gaps", "instruments"])
def test_rows_of_before_are_in_the_ledger_within_one_batch(
    upgraded: psycopg.Connection, dataset: str
) -> None:
    wanted = upgraded.execute(ledger.totals_sql(dataset, "postgres", f"market.{dataset}").encode())
    noted = upgraded.execute(
        'SELECT ticker, minute, sum("rows"), sum(sum_a), sum(sum_b), sum(digest)'
        " FROM market.ledger_minutes WHERE dataset = %s GROUP BY 1, 2",
        (dataset,),
    ).fetchall()
    assert sorted(wanted.fetchall()) == sorted(noted)
    assert len(noted) == 2
    astray = upgraded.execute(
        f"SELECT count(*) FROM market.{dataset} AS r WHERE NOT EXISTS (SELECT 1"
        " FROM market.ledger_minutes AS l WHERE l.dataset = %s AND l.shard = r.shard"
        " AND (r.seq >> 16) BETWEEN l.first_frame AND l.last_frame)",
        (dataset,),
    ).fetchone()
    assert astray == (0,)


def test_the_tail_beyond_an_empty_lake_is_the_whole_book(upgraded: psycopg.Connection) -> None:
    for book in ("feed_gaps", "instruments", "ledger_minutes"):
        tail = upgraded.execute(f"SELECT count(*) FROM market.{book}_tail WHERE snapshot_id = 0")
        assert tail.fetchone() == upgraded.execute(f"SELECT count(*) FROM market.{book}").fetchone()
