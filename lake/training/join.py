"""The point-in-time join in DuckDB's SQL: the latest value that was known at each row's time.

Two times decide: a value counts once it has happened and once it was there to be read, so from
`seen`, the later of event_time and available_time. Of what counts, the latest event_time is the
value, and of its versions the latest available_time. ASOF orders by one column, so it runs over
`seen`; what is shown to it are the values that were the latest when they were first seen. The
others, an old bar that was corrected late, are never the value at any time.

Integers of microseconds stand for times: DuckDB's arithmetic on time zones asks a calendar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lake.training.feature_table import FeatureTable, FixedValue
from lake.views.engine import quote

PROBES = "training_probes"
"""The view of all rows, with their number in `probe`."""

PIECE = "training_piece"
"""The rows of a piece, with their time in microseconds in AT."""

PROBE = "probe"
AT = "_at"
OWN = (AT, "_event_us", "_available_us")
"""Names that columns of probes and tables can't have."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that are joined at once: those of some first keys in [from_us, to_us)."""

    keys: tuple[str, ...]
    from_us: int
    to_us: int


def piece_sql(piece: Piece, key: str, time: str) -> str:
    """Return the statement that makes PIECE of the rows of a piece."""
    at = time_us(time)
    return (
        f"CREATE OR REPLACE TEMP TABLE {PIECE} AS SELECT *, {at} AS {AT} FROM {PROBES}"
        f" WHERE {_within(piece, key)} AND {name(time)}::TIMESTAMPTZ >= {moment(piece.from_us)}"
        f" AND {name(time)}::TIMESTAMPTZ < {moment(piece.to_us)}"
    )


def values_sql(piece: Piece, table: FeatureTable, number: int) -> str:
    """Return the statement that holds the values which rows of a piece can have.

    A value without one of its two times, or without a key, was never there to be read.
    """
    event, available = name(table.event_time), name(table.available_time)
    columns = ", ".join(
        [
            *map(name, table.keys),
            f"epoch_us({event}) AS _event_us",
            f"epoch_us({available}) AS _available_us",
            *(f"{name(c)} AS {name(n)}" for c, n in zip(table.columns, table.names, strict=True)),
        ]
    )
    conditions = [
        _within(piece, table.keys[0]),
        *conditions_of(table, piece.from_us, piece.to_us),
    ]
    return (
        f"CREATE OR REPLACE TEMP TABLE {values(number)} AS SELECT {columns} FROM {table.dataset}"
        f" WHERE {' AND '.join(conditions)}"
    )


def conditions_of(table: FeatureTable, from_us: int, to_us: int) -> list[str]:
    """Return what holds of every value that a row of [from_us, to_us) can have."""
    event, available = name(table.event_time), name(table.available_time)
    return [
        f"{event} >= {moment(from_us - table.ttl_us)}",
        f"{event} < {moment(to_us)}",
        f"{available} < {moment(to_us)}",
        *fixed_sql(table),
    ]


def fixed_sql(table: FeatureTable) -> list[str]:
    """Return the conditions of a table's fixed columns."""
    return [f"{name(column)} = {literal(value)}" for column, value in table.fixed.items()]


def joined_sql(tables: Sequence[FeatureTable], columns: Sequence[str], *, times: bool) -> str:
    """Select the rows of PIECE with their values, by first key, time and number.

    columns: those of the rows; times: with event_time and available_time of each table's value.
    """
    views = ", ".join(f"changes_{n} AS ({changes_sql(table, n)})" for n, table in enumerate(tables))
    selected = [f"p.{name(column)}" for column in (*columns, PROBE)]
    joins = [f"{PIECE} AS p"]
    for n, table in enumerate(tables):
        same = " AND ".join(f"p.{name(key)} = c{n}.{name(key)}" for key in table.keys)
        joins.append(f"ASOF LEFT JOIN changes_{n} AS c{n} ON {same} AND p.{AT} >= c{n}.seen")
        selected += [f"v{n}.{name(each)}" for each in table.names]
        if times:
            stem = table.prefix + table.dataset.removeprefix("lake.")
            selected += [
                f"make_timestamptz(v{n}._event_us) AS {name(f'{stem}_event_time')}",
                f"make_timestamptz(v{n}._available_us) AS {name(f'{stem}_available_time')}",
            ]
    for n, table in enumerate(tables):
        young = f"c{n}._event_us >= p.{AT} - {table.ttl_us}"
        joins.append(
            f"LEFT JOIN {values(n)} AS v{n} ON v{n}.rowid = CASE WHEN {young} THEN c{n}.place END"
        )
    order = f"p.{name(tables[0].keys[0])}, p.{AT}, p.{PROBE}"
    return f"WITH {views} SELECT {', '.join(selected)} FROM {' '.join(joins)} ORDER BY {order}"


def changes_sql(table: FeatureTable, number: int) -> str:
    """Select, narrow, the values that were the latest when first seen: one for each `seen`.

    In the order of seen, event_time and available_time a value was the latest if no earlier one
    has a later event_time; of those first seen at one moment the last is the value. Equal in
    both times, the one read last: a table's key allows none such.
    """
    keys = ", ".join(map(name, table.keys))
    return (
        f"SELECT {keys}, _event_us, seen, place FROM (SELECT {keys}, _event_us,"
        f" _available_us, greatest(_event_us, _available_us) AS seen, rowid AS place"
        f" FROM {values(number)})"
        f" WINDOW known AS (PARTITION BY {keys} ORDER BY seen, _event_us, _available_us, place"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        " QUALIFY _event_us >= max(_event_us) OVER known"
        " AND lead(seen) OVER known IS DISTINCT FROM seen"
    )


def values(number: int) -> str:
    """Return the name of the table that holds a piece's values of the feature table `number`."""
    return f"training_values_{number}"


def name(column: str) -> str:
    """Return a column's name as SQL has it."""
    return '"' + column.replace('"', '""') + '"'


def literal(value: FixedValue) -> str:
    """Return a value as SQL has it."""
    return str(value) if isinstance(value, int) else quote(value)


def moment(us: int) -> str:
    """Return microseconds since the epoch as SQL's time."""
    return f"make_timestamptz({us}::BIGINT)"


def time_us(time: str) -> str:
    """Return a column of times as microseconds; one without a zone is UTC."""
    return f"epoch_us({name(time)}::TIMESTAMPTZ)"


def _within(piece: Piece, key: str) -> str:
    return f"{name(key)} IN ({', '.join(map(quote, piece.keys))})"
