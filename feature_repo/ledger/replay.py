"""The tables of any moment, made of the events that were written by then, and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from feature_repo.ledger.event_rows import CHAINS, POSITIONS
from feature_repo.ledger.projection import MOMENT_S, MOMENT_US, PROJECTIONS, select_sql
from lake.clock import utc_from_us
from lake.contracts.contract import LEDGER_DATASETS, load
from lake.views.engine import HOT_EXTENSIONS, attach_hot, open_duckdb


@dataclass(frozen=True, slots=True)
class Replayed:
    """Tables as of a moment; events: of both chains, read for it."""

    as_of_us: int
    events: int
    tables: dict[str, pa.Table]

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each table's rows, the same for the same rows."""
        return {name: rows_digest(rows) for name, rows in self.tables.items()}


def replay(dsn: str, as_of_us: int) -> Replayed:
    """Make every table as of a moment: of what was written up to it, that microsecond too."""
    at = utc_from_us(as_of_us).isoformat(timespec="microseconds")
    written = f"created_at <= TIMESTAMPTZ '{at}'"
    with closing(open_duckdb(HOT_EXTENSIONS)) as connection:
        attach_hot(connection, dsn)
        take_events(connection, dict.fromkeys(CHAINS, written), as_of_us // MOMENT_US)
        counts = " + ".join(f"(SELECT count(*) FROM {chain})" for chain in CHAINS)
        counted = connection.execute(f"SELECT {counts}").fetchone()
        events = int(counted[0]) if counted else 0
        tables = {name: made(connection, name) for name in PROJECTIONS}
    return Replayed(as_of_us, events, tables)


def rows_digest(rows: pa.Table) -> str:
    """Return the SHA-256 of rows in their order, whatever pieces they come in."""
    digest = hashlib.sha256()
    for name in rows.column_names:
        digest.update(name.encode())
        values = rows[name].combine_chunks()
        if pa.types.is_timestamp(values.type):
            values = values.cast(pa.int64())
        digest.update("\x1f".join(map(str, values.to_pylist())).encode())
    return digest.hexdigest()


def take_events(
    connection: duckdb.DuckDBPyConnection, where: Mapping[str, str], upto_moment: int
) -> None:
    """Copy the events of both chains that a condition holds for, and the moments to draw."""
    for chain in CHAINS:
        names = ", ".join(each for each in load(chain).names if each != "hash")
        connection.execute(
            f"CREATE TEMP TABLE {chain} AS SELECT {names} FROM pg.market.{chain}"
            f" WHERE {where[chain]}"
        )
    connection.execute(
        "CREATE TEMP TABLE moments AS SELECT unnest(generate_series((SELECT"
        f" CAST(floor(extract(epoch FROM min(created_at)) / {MOMENT_S}) AS bigint) + 1"
        f" FROM {POSITIONS}), {upto_moment:d})) AS n"
    )


def made(connection: duckdb.DuckDBPyConnection, name: str) -> pa.Table:
    """Return the rows of a table that the copied events make."""
    names = ", ".join(load(name).names)
    query = f"SELECT {names} FROM ({select_sql(name)}) AS made ORDER BY {LEDGER_DATASETS[name]}"
    return connection.execute(query).to_arrow_table()
