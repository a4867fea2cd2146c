"""What the hot tier's server can do, asked of the server itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import psycopg

from lake.contracts.contract import load
from lake.errors import BadInput

Name = Literal["plain", "apache", "community"]

POSTGRES_MIN = 17
TIMESCALE_MIN = (2, 19)
"""The oldest majors that the tests run on."""

WORDS = {
    "plain": "PostgreSQL {version}, no TimescaleDB: daily partitions, roll-ups of our own",
    "apache": "TimescaleDB {version}, Apache edition: hypertables, roll-ups of our own",
    "community": "TimescaleDB {version}, Community edition: hypertables, compression,"
    " continuous aggregates",
}


@dataclass(frozen=True, slots=True)
class Edition:
    """An edition and its version: TimescaleDB's, or PostgreSQL's where there is no TimescaleDB."""

    name: Name
    version: str

    @property
    def compresses(self) -> bool:
        """Tell whether the server compresses chunks and keeps continuous aggregates."""
        return self.name == "community"

    def __str__(self) -> str:
        return WORDS[self.name].format(version=self.version)


def ask(connection: psycopg.Connection) -> Edition:
    """Return what the server of this database says of itself."""
    row = connection.execute(
        "SELECT current_setting('server_version'), current_setting('timescaledb.license', true),"
        " (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')"
    ).fetchone()
    assert row is not None
    server, licence, extension = row
    if extension is None:
        return Edition("plain", server.split()[0])
    return Edition("community" if licence == "timescale" else "apache", extension)


def check_version(server_version: int, extension: str | None) -> None:
    """Raise BadInput for a server that is too old.

    server_version: PostgreSQL's number, 170006; extension: TimescaleDB's version, None without it.
    """
    if server_version // 10_000 < POSTGRES_MIN:
        raise BadInput(
            f"PostgreSQL {server_version // 10_000}",
            f"older than {POSTGRES_MIN}",
            "use a newer server",
        )
    if extension is not None and tuple(map(int, extension.split(".")[:2])) < TIMESCALE_MIN:
        raise BadInput(
            f"TimescaleDB {extension}",
            f"older than {'.'.join(map(str, TIMESCALE_MIN))}",
            "install a newer one, then ALTER EXTENSION timescaledb UPDATE",
        )


def leave_age_days(dataset: str, edition: Edition) -> int | None:
    """Return the age at which a dataset's day may leave the hot tier; None: never.

    A server that compresses keeps the contract's compressed age, any other the hot one.
    """
    return load(dataset).retention_days["compressed" if edition.compresses else "hot"]


def is_hypertable(connection: psycopg.Connection, dataset: str) -> bool:
    """Tell a hypertable from a table with partitions of its own: it keeps the shape it began with.

    Where the extension came later, a tick table that already had partitions stays without it.
    """
    row = connection.execute(
        "SELECT relkind <> 'p' FROM pg_class WHERE oid = %s::regclass", (f"market.{dataset}",)
    ).fetchone()
    assert row is not None
    return bool(row[0])
