"""The loss ledger's arithmetic: one definition, in the SQL of every engine.

A row's canonical text is its columns in contract order joined by `|`; a null is `~`, a time is
integer epoch microseconds, a decimal has all ten decimals, bytes are lower hex. A column that came
after the contract's first version stands there as `name=value`, and not at all when it is null, so
that rows of before it have the text that they always had. Where that text alone would be
ambiguous, because a text column holds a `|` or one that may be null is exactly `~`, the lengths of
all text columns (in characters, `~` for null) stand at its end as `lengths=4,~,2`; as no other
column's text holds either, and an ordinary row's ends with a number, no two rows share a text.
A row's slice is the first eight bytes of the text's md5, read little-endian as an unsigned
integer. A digest is the sum of slices, so it does not depend on the order of rows, and digests of
parts add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

import duckdb
import pyarrow as pa

from lake.contracts.contract import Column, Contract, load
from lake.in_memory import ARROW_ROWS

Engine = Literal["duckdb", "postgres", "trino"]

NULL_TEXT = "~"
SEPARATOR = "|"

TOTALS_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("ticker", pa.string(), nullable=False),
        pa.field("minute", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("sum_a", pa.decimal128(38, 10), nullable=False),
        pa.field("sum_b", pa.decimal128(38, 10), nullable=False),
        pa.field("digest", pa.decimal128(38, 0), nullable=False),
    ]
)
"""What `batch_totals` returns: `ledger_minutes` without shard and frames."""

MEASURES = (
    "crypto_trades",
    "crypto_quotes",
    "crypto_aggregates",
    "market_sentiment",
    "quarantine",
    "feed_gaps",
    "instruments",
    "ingest_batches",
)
"""Datasets that the ledger covers: all but itself."""


def canonical_text(dataset: str, engine: Engine) -> str:
    """Return the SQL expression of a row's canonical text."""
    return contract_text(load(dataset), engine)


def contract_text(contract: Contract, engine: Engine) -> str:
    """Return the SQL expression of the canonical text of a contract's row."""
    texts = [_text(column, _TEXTS[engine]) for column in contract.columns]
    words = [column for column in contract.columns if column.type == "text"]
    return f"concat_ws('{SEPARATOR}', {', '.join(texts + _lengths(words))})"


def digest_slice(dataset: str, engine: Engine) -> str:
    """Return the SQL expression of a row's slice, 0 to 2^64 - 1."""
    return _SLICES[engine].format(text=canonical_text(dataset, engine))


def totals_sql(dataset: str, engine: Engine, relation: str, where: str = "") -> str:
    """Return a query of ticker, minute, rows, sum_a, sum_b, digest per ticker and minute.

    minute is the start of the event's UTC minute. relation and where are SQL, taken as they are.
    """
    contract = load(dataset)
    minute = _MINUTES[engine].format(time=contract.ledger_time)
    return (
        f'SELECT {contract.ledger_ticker} AS ticker, {minute} AS "minute", '
        f"{sums_sql(dataset, engine)} "
        f"FROM {relation}{f' WHERE {where}' if where else ''} GROUP BY 1, 2"
    )


def sums_sql(dataset: str, engine: Engine) -> str:
    """Return the select list `rows, sum_a, sum_b, digest`; of no rows, sums are 0."""
    contract = load(dataset)
    sum_a, sum_b = _sum(contract.ledger_sum_a), _sum(contract.ledger_sum_b)
    return (
        f'count(*) AS "rows", {sum_a} AS sum_a, {sum_b} AS sum_b, '
        f"CAST(coalesce(sum({digest_slice(dataset, engine)}), 0) AS decimal(38, 0)) AS digest"
    )


def batch_totals(connection: duckdb.DuckDBPyConnection, dataset: str, table: pa.Table) -> pa.Table:
    """Return the ledger's totals of rows in contract order, as TOTALS_SCHEMA.

    The connection serves as calculator only: nothing is left in it.
    """
    connection.register(_BATCH, table)
    try:
        totals = connection.execute(_batch_sql(dataset)).to_arrow_table(ARROW_ROWS)
    finally:
        connection.unregister(_BATCH)
    return totals.cast(TOTALS_SCHEMA)


def _text(column: Column, texts: Mapping[str, str]) -> str:
    text = texts[_KINDS.get(column.type, column.type)].format(f'"{column.name}"')
    if column.since:
        return f"'{column.name}=' || {text}"  # of null is null, which concat_ws leaves out
    return text if column.required else f"coalesce({text}, '{NULL_TEXT}')"


def _lengths(columns: Sequence[Column]) -> list[str]:
    """Return what stands at the end of an ambiguous row's text; of any other it is null."""
    if not columns:
        return []
    doubts = [f"strpos(\"{each.name}\", '{SEPARATOR}') > 0" for each in columns]
    doubts += [
        f"\"{each.name}\" = '{NULL_TEXT}'"
        for each in columns
        if not each.required and not each.since
    ]
    lengths = ", ".join(map(_length, columns))
    return [f"CASE WHEN {' OR '.join(doubts)} THEN 'lengths=' || concat_ws(',', {lengths}) END"]


def _length(column: Column) -> str:
    length = f'CAST(length("{column.name}") AS varchar)'
    if column.since:
        return f"'{column.name}=' || {length}"  # left out when null, as its text is
    return f"coalesce({length}, '{NULL_TEXT}')"


def _sum(measure: str) -> str:
    total = f'coalesce(sum("{measure}"), 0)' if measure else "0"
    return f"CAST({total} AS decimal(38, 10))"


@cache
def _batch_sql(dataset: str) -> str:
    totals = totals_sql(dataset, "duckdb", _BATCH)
    return f"SELECT '{dataset}' AS dataset, totals.* FROM ({totals}) AS totals"


_BATCH = "ledger_batch"

_KINDS = {"int16": "int", "int32": "int", "int64": "int", "total": "decimal", "digest": "decimal"}

_SLICES: Mapping[Engine, str] = {
    # What md5_number_upper is, at a third of its cost: that one is a macro over texts of bits.
    "duckdb": "CAST(md5_number({text}) & 18446744073709551615::uhugeint AS ubigint)",
    "postgres": "market.digest_slice({text})",
    "trino": (
        "CAST(from_big_endian_64(reverse(substr(md5(to_utf8({text})), 1, 8))) AS decimal(38, 0))"
        " + IF(from_big_endian_64(reverse(substr(md5(to_utf8({text})), 1, 8))) < 0,"
        " DECIMAL '18446744073709551616', DECIMAL '0')"
    ),
}

_MINUTES: Mapping[Engine, str] = {
    "duckdb": "make_timestamptz(epoch_us({time}) // 60000000 * 60000000)",
    "postgres": "date_bin('1 minute', {time}, 'epoch')",
    "trino": "date_trunc('minute', {time} AT TIME ZONE 'UTC')",
}

_TRINO_TIME = (
    "CAST(date_diff('second', TIMESTAMP '1970-01-01 00:00:00 UTC', {0}) * 1000000"
    " + CAST(substr(CAST({0} AT TIME ZONE 'UTC' AS varchar), 21, 6) AS bigint) AS varchar)"
)

_TEXTS: Mapping[Engine, Mapping[str, str]] = {
    "duckdb": {
        # The text of a 64-bit decimal costs a seventh of a 128-bit one's; nearly all values fit.
        "decimal": "coalesce(try_cast({0} AS decimal(18, 10))::varchar, {0}::varchar)",
        "time": "CAST(epoch_us({0}) AS varchar)",
        "binary": "lower(hex({0}))",
        "int": "CAST({0} AS varchar)",
        "text": "{0}",
    },
    "postgres": {
        "decimal": "{0}::text",
        "time": "(extract(epoch FROM {0}) * 1000000)::bigint::text",
        "binary": "encode({0}, 'hex')",
        "int": "{0}::text",
        "text": "{0}",
    },
    "trino": {
        "decimal": "CAST({0} AS varchar)",
        "time": _TRINO_TIME,
        "binary": "lower(to_hex({0}))",
        "int": "CAST({0} AS varchar)",
        "text": "{0}",
    },
}
