"""The point-in-time join in DuckDB's SQL: the latest value that was known at each row's time.

Two times decide: a value counts once it has happened and once it was there to be read, so from
`seen`, the later of event_time and available_time. Of what counts, the latest event_time is the
value, of its versions the latest available_time, and of those the one recorded last. ASOF orders
by one column, so it runs over `seen`; what is shown to it are the values that were the latest when
they were first seen (lake.training.known). The others, an old bar that was corrected late, never
stand.

Integers of microseconds stand for times: DuckDB's arithmetic on time zones asks a calendar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lake.training.feature_table import RECORDED_TIME, FeatureTable, FixedValue
from lake.training.known import AVAILABLE, EVENT, RECORDED, SEEN
from lake.views.engine import quote

PROBES = "training_probes"
"""The view of all rows, with their number in `probe`."""

PIECE = "training_piece"
"""The rows of a piece, with their time in microseconds in AT."""

PROBE = "probe"
AT = "_at"
OWN = (AT, EVENT, AVAILABLE, SEEN, RECORDED, "_event", "_available", "_recorded")
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


def held_sql(piece: Piece, table: FeatureTable, *, recorded: bool) -> str:
    """Select keys and times, in microseconds, of the values that rows of a piece can have.

    A value without one of its two times, or without a key, was never there to be read.
    recorded: the table says when each version was written.
    """
    times = ((table.event_time, EVENT), (table.available_time, AVAILABLE))
    columns = [*map(name, table.keys), *(f"{time_us(time)} AS {own}" for time, own in times)]
    columns += [f"{_RECORDED_US} AS {RECORDED}"] if recorded else []
    whole = [f"{name(key)} IS NOT NULL" for key in table.keys]
    conditions = " AND ".join([*_values_of(piece, table), *whole])
    return f"SELECT {', '.join(columns)} FROM {table.dataset} WHERE {conditions}"


def _values_of(piece: Piece, table: FeatureTable) -> list[str]:
    return [_within(piece, table.keys[0]), *conditions_of(table, piece.from_us, piece.to_us)]


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


def joined_sql(
    piece: Piece,
    tables: Sequence[FeatureTable],
    columns: Sequence[str],
    recorded: Sequence[bool],
    *,
    times: bool,
) -> str:
    """Select the rows of PIECE with their values, by first key, time and number.

    What stands is found by keys and times alone, of the relations known(n); the values are then
    read once more and never sorted. columns: those of the rows; recorded: as of held_sql, of each
    table; times: with event_time and available_time of each table's value.
    """
    stands = [f"p.{name(column)}" for column in (*columns, PROBE, AT)]
    joins = [f"{PIECE} AS p"]
    selected = [f"found.{name(column)}" for column in (*columns, PROBE)]
    reads = ["found"]
    for n, table in enumerate(tables):
        same = " AND ".join(f"p.{name(key)} = c{n}.{name(key)}" for key in table.keys)
        joins.append(f"ASOF LEFT JOIN {known(n)} AS c{n} ON {same} AND p.{AT} >= c{n}.{SEEN}")
        young = f"c{n}.{EVENT} >= p.{AT} - {table.ttl_us}"
        for own_time, short in ((EVENT, "e"), (AVAILABLE, "a")):
            stands.append(
                f"make_timestamptz(CASE WHEN {young} THEN c{n}.{own_time} END) AS _{short}{n}"
            )
        stands += [f"c{n}.{RECORDED} AS _r{n}"] if recorded[n] else []
        selected += [f"v{n}.{name(each)}" for each in table.names]
        if times:
            stem = table.prefix + table.dataset.removeprefix("lake.")
            selected += [
                f"_e{n} AS {name(f'{stem}_event_time')}",
                f"_a{n} AS {name(f'{stem}_available_time')}",
            ]
        same = " AND ".join(f"v{n}.{name(key)} = found.{name(key)}" for key in table.keys)
        version = f" AND v{n}._recorded = _r{n}" if recorded[n] else ""
        reads.append(
            f"LEFT JOIN ({_read_sql(piece, table, recorded[n])}) AS v{n} ON {same}"
            f" AND v{n}._event = _e{n} AND v{n}._available = _a{n}{version}"
        )
    order = f"found.{name(tables[0].keys[0])}, {AT}, {PROBE}"
    return (
        f"WITH found AS (SELECT {', '.join(stands)} FROM {' '.join(joins)})"
        f" SELECT {', '.join(selected)} FROM {' '.join(reads)} ORDER BY {order}"
    )


def _read_sql(piece: Piece, table: FeatureTable, recorded: bool) -> str:
    columns = [
        *map(name, table.keys),
        f"{name(table.event_time)} AS _event",
        f"{name(table.available_time)} AS _available",
        *(f"{name(c)} AS {name(n)}" for c, n in zip(table.columns, table.names, strict=True)),
    ]
    columns += [f"{_RECORDED_US} AS _recorded"] if recorded else []
    conditions = " AND ".join(_values_of(piece, table))
    return f"SELECT {', '.join(columns)} FROM {table.dataset} WHERE {conditions}"


def known(number: int) -> str:
    """Return the name of the relation that says what of the feature table `number` stands when."""
    return f"training_known_{number}"


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


_RECORDED_US = f"coalesce({time_us(RECORDED_TIME)}, 0)"


def _within(piece: Piece, key: str) -> str:
    return f"{name(key)} IN ({', '.join(map(quote, piece.keys))})"
