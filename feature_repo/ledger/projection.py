"""What is made of events and kept: orders, fills, positions, their history, account snapshots.

The SQL of each lies in warehouse_sql/ledger, one text for PostgreSQL, where this keeps the tables
up with the events, and for DuckDB, where `replay` makes the same rows of any moment. Tables here
are replaceable: emptied, with the marks in ledger_heads at 0, they come back.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from feature_repo.ledger.event_rows import ORDERS, POSITIONS
from feature_repo.ledger.writer import hold
from lake.clock import Clock
from lake.contracts.contract import LEDGER_DATASETS, load
from warehouse_sql.statement import text

PROJECTIONS = tuple(name for name in LEDGER_DATASETS if name not in (ORDERS, POSITIONS))

MOMENT_S = 300
"""Seconds between two snapshots of the accounts."""

MOMENT_US = MOMENT_S * 1_000_000

EVENTS_MAX = 50_000
"""Events of one transaction; more are taken in several."""

PROJECTION_LOCK = "market.ledger.projection"


@dataclass(frozen=True, slots=True)
class Projected:
    """What one run took: events of both chains, snapshots drawn."""

    events: int
    snapshots: int


def project(dsn: str, clock: Clock) -> Projected:
    """Bring every table up to the last event, and snapshots up to now."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return project_over(connection, clock)


def project_over(connection: psycopg.Connection, clock: Clock) -> Projected:
    """Do the same over a connection that commits by itself."""
    events = 0
    for chain in (ORDERS, POSITIONS):
        while taken := _step(connection, chain):
            events += taken
    return Projected(events, _draw(connection, clock.now_us() // MOMENT_US))


def select_sql(name: str) -> str:
    """Return the statement of a table, of relations order_events, position_events, moments."""
    return text(f"ledger/{name}.sql")


def _step(connection: psycopg.Connection, chain: str) -> int:
    """Take the next events of a chain; return how many."""
    with connection.transaction():
        _lock(connection, PROJECTION_LOCK)
        row = connection.execute(
            "SELECT projected_id, least(last_id, projected_id + %s) FROM market.ledger_heads"
            " WHERE ledger = %s",
            (EVENTS_MAX, chain),
        ).fetchone()
        assert row is not None
        after, upto = row
        if after == upto:
            return 0
        new = f"SELECT * FROM market.{chain} WHERE id > {after:d} AND id <= {upto:d}"
        if chain == ORDERS:
            touched = f"SELECT order_id FROM market.{chain} WHERE id > {after:d} AND id <= {upto:d}"
            whole = f"SELECT * FROM market.{chain} WHERE id <= {upto:d} AND order_id IN ({touched})"
            _upsert(connection, "orders", chain, whole)
            _insert(connection, "fills", chain, new)
        else:
            _upsert(connection, "positions", chain, new)
            _insert(connection, "positions_history", chain, new)
        connection.execute(
            "UPDATE market.ledger_heads SET projected_id = %s WHERE ledger = %s", (upto, chain)
        )
    return int(upto - after)


def _insert(connection: psycopg.Connection, name: str, chain: str, events: str) -> None:
    names = ", ".join(load(name).names)
    statement = (
        f"WITH {chain} AS ({events}) INSERT INTO market.{name} ({names})"
        f" SELECT {names} FROM ({select_sql(name)}) AS made"
    )
    connection.execute(statement.encode())


def _upsert(connection: psycopg.Connection, name: str, chain: str, events: str) -> None:
    contract = load(name)
    names = ", ".join(contract.names)
    key = ", ".join(contract.key)
    changed = ", ".join(
        f"{each} = excluded.{each}" for each in contract.names if each not in contract.key
    )
    statement = (
        f"WITH {chain} AS ({events}) INSERT INTO market.{name} ({names})"
        f" SELECT {names} FROM ({select_sql(name)}) AS made"
        f" ON CONFLICT ({key}) DO UPDATE SET {changed}"
    )
    connection.execute(statement.encode())


def _draw(connection: psycopg.Connection, upto: int) -> int:
    """Draw the snapshots that are due; return how many rows. upto: the last moment's number."""
    with connection.transaction():
        _lock(connection, PROJECTION_LOCK)
        # With the lock of the ledger nobody writes; and after it nobody writes as of before.
        hold(connection)
        connection.execute(
            "UPDATE market.ledger_heads SET not_before = greatest(not_before, to_timestamp(%s))",
            (upto * MOMENT_S,),
        )
    with connection.transaction():
        _lock(connection, PROJECTION_LOCK)
        row = connection.execute(
            "SELECT moments_upto, (SELECT floor(extract(epoch FROM min(created_at)) / %s)::bigint"
            " FROM market.position_events WHERE id = 1),"
            " (SELECT coalesce(max(row_no), 0) FROM market.portfolio_snapshots)"
            " FROM market.ledger_heads WHERE ledger = %s",
            (MOMENT_S, POSITIONS),
        ).fetchone()
        assert row is not None
        done, first, rows = row
        after = first if done is None else done
        if after is None or after >= upto:
            return 0
        names = load("portfolio_snapshots").names
        made = ", ".join(f"row_no + {rows:d}" if each == "row_no" else each for each in names)
        statement = (
            f"WITH position_events AS ({_since(after)}),"
            f" moments AS (SELECT generate_series({after + 1:d}, {upto:d}) AS n)"
            f" INSERT INTO market.portfolio_snapshots ({', '.join(names)})"
            f" SELECT {made} FROM ({select_sql('portfolio_snapshots')}) AS made"
        )
        drawn = connection.execute(statement.encode()).rowcount
        connection.execute(
            "UPDATE market.ledger_heads SET moments_upto = %s WHERE ledger = %s", (upto, POSITIONS)
        )
    return drawn


def _since(after: int) -> str:
    """Select the events since a moment, and the last of each position before it."""
    moment = f"to_timestamp({after * MOMENT_S:d})"
    return f"""
        SELECT last.* FROM (SELECT DISTINCT position_id FROM market.position_events) AS known
        CROSS JOIN LATERAL (
            SELECT * FROM market.position_events AS e
            WHERE e.position_id = known.position_id AND e.created_at < {moment}
            ORDER BY e.sequence_number DESC LIMIT 1) AS last
        UNION ALL
        SELECT * FROM market.position_events WHERE created_at >= {moment}
        """


def _lock(connection: psycopg.Connection, name: str) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
