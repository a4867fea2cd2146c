"""Slots: a day of ticks cut by ticker, once there are many symbols.

From SYMBOLS_MIN tickers on each new day has HASH_SLOTS slots by the ticker's hash: partitions of
the day's partition, or a space dimension of the hypertable. A ticker that takes most of the traffic
can be pinned to a slot of its own. A day keeps the slots that it was made with, so no query can
look for a row where it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from lake.contracts.contract import load
from lake.hot.edition import is_hypertable

SYMBOLS_MIN = 50
HASH_SLOTS = 10
PINS_MAX = 16
"""Pinned tickers: each is one more table a day."""

HASH_MAX = 2**31 - 1
"""The server cuts [0, HASH_MAX] into equal slots."""


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """How the days made from now on are cut; no slots: not at all."""

    hash_slots: int = 0
    pinned: tuple[str, ...] = ()

    @property
    def slots(self) -> int:
        """Return how many there are."""
        return self.hash_slots + len(self.pinned)


def plan(connection: psycopg.Connection, dataset: str) -> SlotPlan:
    """Return how a new day of a dataset is to be cut."""
    if "ticker" not in load(dataset).names:
        return SlotPlan()
    pinned = tuple(
        ticker
        for (ticker,) in connection.execute(
            "SELECT ticker FROM market.pinned_tickers ORDER BY ticker"
        )
    )
    row = connection.execute(
        "SELECT count(*) FROM (SELECT DISTINCT ticker FROM market.instruments LIMIT %s) AS t",
        (SYMBOLS_MIN,),
    ).fetchone()
    assert row is not None
    many = row[0] >= SYMBOLS_MIN
    return SlotPlan(HASH_SLOTS, pinned) if many or pinned else SlotPlan()


def pin(connection: psycopg.Connection, tickers: Sequence[str]) -> None:
    """Pin exactly these tickers, for days that are made from now on."""
    with connection.transaction():
        connection.execute(
            "DELETE FROM market.pinned_tickers WHERE ticker <> ALL(%s)", (list(tickers),)
        )
        for ticker in tickers:
            connection.execute(
                "INSERT INTO market.pinned_tickers VALUES (%s) ON CONFLICT DO NOTHING", (ticker,)
            )


def cut_hypertable(connection: psycopg.Connection, dataset: str, wanted: SlotPlan) -> bool:
    """Give a hypertable its space dimension; False where it has one, or none is wanted.

    Chunks that are there already span all slots. The dimension stays as it was made: tickers that
    are pinned later stay in their hash slot.
    """
    if not wanted.slots or _space_slots(connection, dataset):
        return False
    by = sql.SQL("by_hash('ticker', {})").format(wanted.slots)
    if wanted.pinned:
        by = sql.SQL("by_hash('ticker', {}, partition_func => {}::regproc)").format(
            wanted.slots, _function(dataset)
        )
    with connection.transaction():
        if wanted.pinned:
            connection.execute(_slot_function(dataset, wanted))
        connection.execute(
            sql.SQL("SELECT add_dimension({}, {}, if_not_exists => true)").format(
                f"market.{dataset}", by
            )
        )
    return True


def _space_slots(connection: psycopg.Connection, dataset: str) -> int:
    """Return the slots of a hypertable's space dimension; 0 where it has none."""
    row = connection.execute(
        "SELECT num_partitions FROM timescaledb_information.dimensions"
        " WHERE hypertable_schema = 'market' AND hypertable_name = %s AND dimension_type = 'Space'",
        (dataset,),
    ).fetchone()
    return int(row[0]) if row else 0


def _slot_function(dataset: str, wanted: SlotPlan) -> sql.Composed:
    """Return the statements that make the function of a ticker's place in [0, HASH_MAX].

    Never replaced: another one would make the server look for old rows in the wrong chunks.
    """
    width = HASH_MAX // wanted.slots
    pins = [
        sql.SQL("WHEN {} THEN {}").format(ticker, (wanted.hash_slots + number) * width + 1)
        for number, ticker in enumerate(wanted.pinned)
    ]
    name = sql.SQL("{}(anyelement)").format(sql.Identifier(*_function(dataset).split(".")))
    return sql.SQL(
        "CREATE FUNCTION {name} RETURNS int LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN"
        " RETURN CASE $1::text {pins} ELSE"
        " _timescaledb_functions.get_partition_hash($1) % {slots} * {width} + 1 END; END $$;"
        " COMMENT ON FUNCTION {name} IS {pinned}"
    ).format(
        name=name,
        pins=sql.SQL(" ").join(pins),
        slots=wanted.hash_slots,
        width=width,
        pinned=",".join(wanted.pinned),
    )


def _function(dataset: str) -> str:
    return f"market.slot_of_{dataset}"


def slot_rows(connection: psycopg.Connection, dataset: str) -> dict[str, int]:
    """Return slot -> rows of the newest day that has any; empty where days are not cut.

    A slot is a pinned ticker, or h and its number. As the server's counters have it: they lag by up
    to a second, and a compressed day has none.
    """
    if not is_hypertable(connection, dataset):
        found = connection.execute(_NATIVE_ROWS, (f"market.{dataset}",))
        return {str(slot): int(rows) for slot, rows in found}
    slots = _space_slots(connection, dataset)
    if not slots:
        return {}
    row = connection.execute(
        "SELECT obj_description(to_regprocedure(%s))", (f"{_function(dataset)}(anyelement)",)
    ).fetchone()
    pinned = str(row[0]).split(",") if row and row[0] else []
    names = [f"h{number}" for number in range(slots - len(pinned))] + pinned
    counted = dict.fromkeys(names, 0)
    for lower, rows in connection.execute(_CHUNK_ROWS, (dataset,)):
        counted[names[min(int(lower) // (HASH_MAX // slots), slots - 1)]] += int(rows)
    return counted


_NATIVE_ROWS = r"""
WITH leaves AS (
    SELECT day.relname AS day, pg_get_expr(leaf.relpartbound, leaf.oid) AS bound,
        pg_stat_get_live_tuples(leaf.oid) AS rows
    FROM pg_inherits AS i
    JOIN pg_class AS day ON day.oid = i.inhrelid AND day.relkind = 'p'
    CROSS JOIN pg_partition_tree(day.oid) AS t JOIN pg_class AS leaf ON leaf.oid = t.relid
    WHERE i.inhparent = %s::regclass AND t.isleaf)
SELECT coalesce(substring(bound FROM $$IN \('(.*)'\)$$),
    'h' || substring(bound FROM 'remainder ([0-9]+)')), rows
FROM leaves WHERE day = (SELECT max(day) FROM leaves WHERE rows > 0) ORDER BY 1
"""

_CHUNK_ROWS = r"""
WITH counted AS (
    SELECT c.range_start, coalesce(substring(pg_get_constraintdef(k.oid) FROM '>= ([0-9]+)'), '0')
        AS lower, pg_stat_get_live_tuples(k.conrelid) AS rows
    FROM timescaledb_information.chunks AS c
    JOIN pg_constraint AS k ON k.contype = 'c'
        AND k.conrelid = format('%%I.%%I', c.chunk_schema, c.chunk_name)::regclass
    WHERE c.hypertable_schema = 'market' AND c.hypertable_name = %s
        AND pg_get_constraintdef(k.oid) ~ '(hash|slot_of_[a-z_]+)\(ticker')
SELECT lower, rows FROM counted
WHERE range_start = (SELECT max(range_start) FROM counted WHERE rows > 0)
"""


def skew(rows: Mapping[str, int]) -> float:
    """Return the fullest slot's rows over the mean of all: 1.0 is even."""
    total = sum(rows.values())
    return round(max(rows.values()) * len(rows) / total, 3) if total else 1.0
