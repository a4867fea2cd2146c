"""An earlier system's PostgreSQL: which tables it has, and its market tables as rows of ours.

Two schemas are known, of RRRalgorithms: TimescaleDB's (`timestamp`, bigserial keys) and Supabase's
(`event_time`, UUID keys). Neither kept a venue's trade ids: a row's key is its table's own. Rows
stand under the exchange NAME:EXCHANGE, so that they are never taken for those of a live feed, nor
those of two earlier databases for each other's. What does not fit our columns is refused by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from lake.errors import BadInput, Unavailable
from lake.feeds.history import note_of, row_schema

MARKET_TABLES = ("crypto_aggregates", "crypto_trades", "crypto_quotes", "market_sentiment")
MARKS_TABLE = "ticklake_written"
"""Our table there: how far rows of ours are written back. It is no table of theirs."""

TIME_COLUMNS = ("event_time", "timestamp")
DAY = timedelta(days=1)
PIECE_ROWS = 65_536
BELOW = "1e18"
"""decimal(28, 10) holds no more; the old columns have room for 22 digits."""

_TABLES = """
SELECT c.relname, greatest(c.reltuples, 0)::bigint, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = %s AND c.relname <> %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition
GROUP BY 1, 2 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class OldTable:
    """A table there; time: the column of event times of a market table, "" for any other table."""

    schema: str
    name: str
    columns: tuple[str, ...]
    rows: int
    time: str = ""

    @property
    def is_market(self) -> bool:
        """Tell whether its rows become rows of the dataset of the same name."""
        return bool(self.time)

    @property
    def place(self) -> str:
        """Return its name as SQL."""
        return f'"{self.schema}"."{self.name}"'


def old_tables(dsn: str, schema: str = "public") -> list[OldTable]:
    """Return the tables of a schema; rows are the server's estimate. Raises Unavailable."""
    try:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(_TABLES, (schema, MARKS_TABLE)).fetchall()
    except psycopg.OperationalError as error:
        raise Unavailable("earlier database", str(error).strip(), "check its address") from error
    return [OldTable(schema, name, tuple(c), rows, _time(name, c)) for name, rows, c in found]


def _time(name: str, columns: list[str]) -> str:
    if name not in MARKET_TABLES:
        return ""
    found = next((each for each in TIME_COLUMNS if each in columns), "")
    needed = {"crypto_aggregates": "close", "crypto_trades": "price", "crypto_quotes": "bid_price"}
    if not found or needed.get(name, "sentiment_score") not in columns:
        raise BadInput(f"table {name}", "has not the columns of either old schema", "rename them")
    return found


@dataclass(frozen=True, slots=True)
class OldDay:
    """A UTC day of a table, and what it holds: rows and two exact sums, as text."""

    day: datetime
    rows: int
    sum_a: str
    sum_b: str


MEASURES: Mapping[str, tuple[str, str]] = {
    "crypto_aggregates": ("close", "volume"),
    "crypto_trades": ("price", "size"),
    "crypto_quotes": ("bid_price", "ask_price"),
    "market_sentiment": ("sentiment_score", "confidence"),
}


def days_of(dsn: str, table: OldTable) -> list[OldDay]:
    """Return the days that a market table has rows of, with their totals, oldest first."""
    a, b = MEASURES[table.name]
    query = (
        f"SELECT date_trunc('day', \"{table.time}\" AT TIME ZONE 'UTC') AS day, count(*),"
        f' coalesce(sum("{a}"), 0)::text, coalesce(sum("{b}"), 0)::text'
        f" FROM {table.place} GROUP BY 1 ORDER BY 1"
    )
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(query).fetchall()
    return [OldDay(day.replace(tzinfo=UTC), *rest) for day, *rest in rows]


def rows_between(
    dsn: str, table: OldTable, name: str, first: datetime, last: datetime
) -> Iterator[pa.Table]:
    """Yield a market table's rows of [first, last) as rows of its dataset, oldest first."""
    query = f"SELECT {_selected(table, name)} FROM {table.place} WHERE {_fits(table)}"
    query += f' AND {_between(table, first, last)} ORDER BY "{table.time}"'
    query += ', "id"' if "id" in table.columns else ""
    with adbc.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        reader = cursor.fetch_record_batch()
        wanted = row_schema(table.name)
        waiting: list[pa.RecordBatch] = []
        for batch in reader:
            waiting.append(batch)
            if sum(each.num_rows for each in waiting) >= PIECE_ROWS:
                yield _typed(pa.Table.from_batches(waiting), wanted)
                waiting = []
        if waiting:
            yield _typed(pa.Table.from_batches(waiting), wanted)


def refused_between(dsn: str, table: OldTable, first: datetime, last: datetime) -> list[bytes]:
    """Return frames that have those rows quarantined which do not fit our columns."""
    query = f"SELECT row_to_json(t)::text FROM {table.place} AS t WHERE NOT ({_fits(table)})"
    query += f" AND {_between(table, first, last)}"
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(query).fetchall()
    detail = f"{table.name}: a value is missing, or does not fit decimal(28, 10)"
    return [note_of("precision", detail, answer=text) for (text,) in rows]


def _between(table: OldTable, first: datetime, last: datetime) -> str:
    return f"\"{table.time}\" >= '{first.isoformat()}' AND \"{table.time}\" < '{last.isoformat()}'"


NUMBERS: Mapping[str, tuple[str, ...]] = {
    "crypto_aggregates": ("open", "high", "low", "close", "volume"),
    "crypto_trades": ("price", "size"),
    "crypto_quotes": ("bid_price", "bid_size", "ask_price", "ask_size"),
    "market_sentiment": ("sentiment_score", "confidence"),
}


def _fits(table: OldTable) -> str:
    """Return the SQL of what fits: all numbers there, below 1e18 and no finer than 1e-10."""
    parts = [
        f'coalesce("{name}"::numeric = round("{name}"::numeric, 10)'
        f' AND abs("{name}"::numeric) < {BELOW}, false)'
        for name in NUMBERS[table.name]
    ]
    return " AND ".join(parts)


def _selected(table: OldTable, name: str) -> str:
    """Return the select list that makes a dataset's columns of a table's."""
    us = f'(extract(epoch FROM "{table.time}") * 1000000)::bigint'
    ticker = "CASE WHEN ticker LIKE 'X:%' THEN ticker ELSE 'X:' || replace(ticker, '-', '') END"
    exchange = (
        f"'{name}:' || coalesce(exchange, '')" if "exchange" in table.columns else f"'{name}:'"
    )
    number = '"id"::text' if "id" in table.columns else "NULL::text"
    hashed = "('x' || substr(md5(\"id\"::text), 1, 16))::bit(64)::bigint & 9223372036854775807"
    own: Mapping[str, str] = {
        "ticker": ticker,
        "exchange": exchange,
        "market": "'spot'",
        "event_time": us,
        "trade_id": number,
        "side": "NULL::text",
        "conditions": (
            "nullif(array_to_string(conditions, ','), '')"
            if "conditions" in table.columns
            else "NULL::text"
        ),
        "event_time_source": "'exchange'",
        "venue_sequence": 'CASE WHEN "id"::text ~ \'^[0-9]+$\' THEN ("id"::text)::bigint'
        f" ELSE {hashed} END",
        "interval": "'1m'",
        "average_trade_size": "round(volume / nullif(trade_count, 0), 10)::text"
        if "trade_count" in table.columns
        else "NULL::text",
        "vwap": "round(vwap, 10)::text" if "vwap" in table.columns else "NULL::text",
        "asset": "asset",
        "source": f"'{name}:' || source",
        "metadata": _details(table),
    }
    return ", ".join(
        f'{own.get(each.name, _number(each.name))} AS "{each.name}"'
        for each in row_schema(table.name)
    )


def _number(name: str) -> str:
    return f'"{name}"::text'


def _details(table: OldTable) -> str:
    names = ("id", "sentiment_label", "text", "metadata")
    parts = [
        f"'{'old_id' if name == 'id' else name}', \"{name}\"{'::text' if name == 'id' else ''}"
        for name in names
        if name in table.columns
    ]
    return f"jsonb_strip_nulls(jsonb_build_object({', '.join(parts)}))::text"


def _typed(rows: pa.Table, wanted: pa.Schema) -> pa.Table:
    columns = [
        rows[each.name].cast(pa.int64()).cast(each.type)
        if each.name == "event_time"
        else pc.cast(rows[each.name], each.type)
        for each in wanted
    ]
    return pa.table(columns, schema=wanted)


def copy_as_it_is(old_dsn: str, dsn: str, table: OldTable, into: str) -> int:
    """Copy any table into a schema of ours, whole, in place of an earlier copy; return its rows.

    Columns of types that this server does not have become text.
    """
    with psycopg.connect(old_dsn) as old, psycopg.connect(dsn) as ours:
        columns = old.execute(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typtype = 'b'"
            " AND n.nspname = 'pg_catalog' FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
            " JOIN pg_namespace n ON n.oid = t.typnamespace WHERE a.attrelid = %s::regclass"
            " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            (table.place,),
        ).fetchall()
        target = sql.Identifier(into, table.name)
        typed = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(kind if known else "text"))
            for n, kind, known in columns
        )
        ours.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(into)))
        ours.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(target))
        ours.execute(sql.SQL("CREATE TABLE {} ({})").format(target, typed))
        names = sql.SQL(", ").join(sql.Identifier(n) for n, *_ in columns)
        out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, sql.SQL(table.place))
        back = sql.SQL("COPY {} ({}) FROM STDIN").format(target, names)
        with old.cursor().copy(out) as source, ours.cursor().copy(back) as sink:
            for block in source:
                sink.write(block)
        row = ours.execute(sql.SQL("SELECT count(*) FROM {}").format(target)).fetchone()
        assert row is not None
        return int(row[0])
