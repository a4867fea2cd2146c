"""Write what our own feeds bring into an earlier database too, so that one can go back to it.

Exactly once: the mark of what is written lies in that database, in a table of its own, and moves in
the transaction that writes the rows. `follow` then takes them in again under the earlier names, so
that both sides stay equal. Its columns have eight decimals; finer digits are rounded there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow.csv import WriteOptions, write_csv

from flows.old_tables_to_journal import Old
from flows.place import Place
from lake.contracts.contract import load
from lake.history.old_database import MARKS_TABLE, OldTable, old_tables
from lake.views.client import Client
from lake.views.union_view import last_seq

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
            Written(
                table.name,
                sum(_write((place, ours, there), old, table, *shard) for shard in shards),
            )
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
    between: tuple[Place, psycopg.Connection, psycopg.Connection],
    old: Old,
    table: OldTable,
    shard: int,
    last_frame: int,
) -> int:
    """Write a shard's rows beyond the mark; between: our place, a session of it, and one there."""
    home, ours, there = between
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
        upto, source = _source(home, ours, table.name, shard, after, last_frame)
        rows += _copy(ours, there, table, f"{source} WHERE {_within(shard, after, upto)}")
        there.execute(
            sql.SQL("UPDATE {} SET frame = %s WHERE shard = %s AND table_name = %s").format(place),
            (upto, shard, table.name),
        )
        there.commit()
        after = upto
    there.rollback()
    return rows


def _within(shard: int, after: int, upto: int) -> str:
    """Return the condition of the rows of frames (after, upto] of a shard."""
    return f"shard = {shard} AND seq > {last_seq(after)} AND seq <= {last_seq(upto)}"


def _source(
    home: Place, ours: psycopg.Connection, dataset: str, shard: int, after: int, last_frame: int
) -> tuple[int, str]:
    """Return through which frame to write now, and the relation of ours that has those rows.

    History that was staged is not in the hot table. While an import is followed none of ours is;
    what was staged as it began is read from the view, a batch at a time, into a table of its own.
    """
    upto = min(last_frame, after + FRAMES_MAX)
    found = ours.execute(
        "SELECT min(last_frame) FROM market.staged_files WHERE dataset = %s AND shard = %s"
        " AND last_frame > %s AND first_frame <= %s",
        (dataset, shard, after, upto),
    ).fetchone()
    if found is None or found[0] is None:
        return upto, f"market.{dataset}"
    upto = int(found[0])
    names = ", ".join(f'"{name}"' for name in load(dataset).names)
    texts = ", ".join(f'CAST("{name}" AS VARCHAR) AS "{name}"' for name in load(dataset).names)
    with Client(home.dsn, home.warehouse) as client:
        rows = client.arrow(f"SELECT {texts} FROM {dataset} WHERE {_within(shard, after, upto)}")
    lines = pa.BufferOutputStream()
    write_csv(rows, lines, WriteOptions(include_header=False))
    beside = f"pg_temp.staged_{dataset}"
    ours.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS staged_{dataset} AS"
        f" SELECT {names} FROM market.{dataset} LIMIT 0".encode()
    )
    ours.execute(f"TRUNCATE {beside}".encode())
    with ours.cursor().copy(f"COPY {beside} ({names}) FROM STDIN (FORMAT csv)".encode()) as sink:
        sink.write(lines.getvalue().to_pybytes())
    return upto, beside


def _copy(ours: psycopg.Connection, there: psycopg.Connection, table: OldTable, source: str) -> int:
    """Write the rows of a source, a relation with its condition; return how many were new there."""
    origin = "source" if table.name == "market_sentiment" else "exchange"
    subject = "asset" if table.name == "market_sentiment" else "ticker"
    minute = " AND \"interval\" = '1m'" if table.name == "crypto_aggregates" else ""
    out = (
        f"COPY (SELECT {_SOURCES[table.name]} FROM {source}{minute}"
        f" AND length({subject}) <= {TICKER_CHARS_MAX}"
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
    with ours.cursor().copy(out) as rows, there.cursor().copy(back) as sink:
        for block in rows:
            sink.write(block)
    done = there.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT * FROM {} ON CONFLICT DO NOTHING").format(
            target, columns, sql.Identifier(f"new_{table.name}")
        )
    )
    return max(0, done.rowcount)
