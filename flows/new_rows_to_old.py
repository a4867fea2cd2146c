"""Write what our own feeds bring into an earlier database too, so that one can go back to it.

Exactly once: the mark of what is written lies in that database, in a table of its own, and moves in
the transaction that writes the rows. `follow` then takes them in again under the earlier names, so
that both sides stay equal. Its columns have eight decimals; finer digits are rounded there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from flows.old_tables_to_journal import Old
from flows.place import Place
from lake.feeds.codec import INDEX_BITS
from lake.history.old_database import MARKS_TABLE, OldTable, old_tables

TICKER_CHARS_MAX = 20
"""The earlier columns hold no longer ticker; a row with one is left out."""

FRAMES_MAX = 20_000
"""Frames of a shard written in one transaction."""

_TARGETS: Mapping[str, tuple[str, ...]] = {
    "crypto_trades": ("ticker", "{time}", "price", "size", "exchange", "conditions"),
    "crypto_quotes": (
        *("ticker", "{time}", "bid_price", "bid_size", "ask_price", "ask_size", "exchange"),
    ),
    "crypto_aggregates": (
        *("ticker", "{time}", "open", "high", "low", "close", "volume", "vwap", "trade_count"),
    ),
    "market_sentiment": (
        *("asset", "{time}", "source", "sentiment_score", "confidence", "metadata"),
    ),
}
"""Columns that are written, in the order of _SOURCES."""

_SOURCES: Mapping[str, str] = {
    "crypto_trades": "ticker, event_time, price, size, exchange, string_to_array(conditions, ',')",
    "crypto_quotes": ("ticker, event_time, bid_price, bid_size, ask_price, ask_size, exchange"),
    "crypto_aggregates": (
        'ticker, event_time, "open", high, low, "close", volume, vwap,'
        " round(volume / nullif(average_trade_size, 0))::int"
    ),
    "market_sentiment": "asset, event_time, source, sentiment_score, confidence, metadata",
}


@dataclass(frozen=True, slots=True)
class Written:
    """Rows written into one of the earlier tables."""

    table: str
    rows: int

    def line(self) -> str:
        """Return it in words."""
        return f"{self.table}: {self.rows:,} rows written there"


def write_back(old: Old, place: Place) -> list[Written]:
    """Write what came since the last time; the first time begins with what comes from now on."""
    tables = [each for each in old_tables(old.dsn, old.schema) if each.is_market]
    with psycopg.connect(place.dsn) as ours, psycopg.connect(old.dsn) as there:
        shards = ours.execute("SELECT shard::int, last_frame FROM market.shards").fetchall()
        _make_marks(there, old, tables, shards)
        return [
            Written(table.name, sum(_write(ours, there, old, table, *shard) for shard in shards))
            for table in tables
        ]


def _make_marks(
    there: psycopg.Connection,
    old: Old,
    tables: list[OldTable],
    shards: list[tuple[int, int]],
) -> None:
    """Make the table of marks; a shard that is new to it begins at its first frame."""
    place = sql.Identifier(old.schema, MARKS_TABLE)
    there.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (shard int, table_name text, frame bigint NOT NULL,"
            " PRIMARY KEY (shard, table_name))"
        ).format(place)
    )
    known = there.execute(sql.SQL("SELECT count(*) FROM {}").format(place)).fetchone()
    first = known == (0,)
    for shard, last_frame in shards:
        for table in tables:
            there.execute(
                sql.SQL("INSERT INTO {} VALUES (%s, %s, %s) ON CONFLICT DO NOTHING").format(place),
                (shard, table.name, last_frame if first else 0),
            )
    there.commit()


def _write(
    ours: psycopg.Connection,
    there: psycopg.Connection,
    old: Old,
    table: OldTable,
    shard: int,
    last_frame: int,
) -> int:
    place = sql.Identifier(old.schema, MARKS_TABLE)
    row = there.execute(
        sql.SQL("SELECT frame FROM {} WHERE shard = %s AND table_name = %s FOR UPDATE").format(
            place
        ),
        (shard, table.name),
    ).fetchone()
    assert row is not None
    after, rows = int(row[0]), 0
    while after < last_frame:
        upto = min(last_frame, after + FRAMES_MAX)
        rows += _copy(ours, there, table, shard, (after, upto))
        there.execute(
            sql.SQL("UPDATE {} SET frame = %s WHERE shard = %s AND table_name = %s").format(place),
            (upto, shard, table.name),
        )
        there.commit()
        after = upto
    there.rollback()
    return rows


def _copy(
    ours: psycopg.Connection,
    there: psycopg.Connection,
    table: OldTable,
    shard: int,
    frames: tuple[int, int],
) -> int:
    """Write the rows of frames (after, upto] of a shard; return how many were new there."""
    first, last = ((frame + 1) << INDEX_BITS for frame in frames)
    origin = "source" if table.name == "market_sentiment" else "exchange"
    subject = "asset" if table.name == "market_sentiment" else "ticker"
    minute = " AND \"interval\" = '1m'" if table.name == "crypto_aggregates" else ""
    out = (
        f"COPY (SELECT {_SOURCES[table.name]} FROM market.{table.name} WHERE shard = {shard}"
        f" AND seq >= {first} AND seq < {last}{minute} AND length({subject}) <= {TICKER_CHARS_MAX}"
        f" AND split_part({origin}, ':', 1) NOT IN (SELECT name FROM market.imports)"
        " ORDER BY seq) TO STDOUT"
    )
    columns = sql.SQL(", ").join(
        sql.Identifier(name.format(time=table.time)) for name in _TARGETS[table.name]
    )
    target = sql.SQL(table.place)
    there.execute(
        sql.SQL(
            "CREATE TEMP TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} LIMIT 0"
        ).format(sql.Identifier(f"new_{table.name}"), columns, target)
    )
    back = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(f"new_{table.name}"))
    with ours.cursor().copy(out) as source, there.cursor().copy(back) as sink:
        for block in source:
            sink.write(block)
    done = there.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT * FROM {} ON CONFLICT DO NOTHING").format(
            target, columns, sql.Identifier(f"new_{table.name}")
        )
    )
    return max(0, done.rowcount)
