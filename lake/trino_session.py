"""A connection to Trino: statements, and rows as Arrow; its faults in our words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import requests
import trino
from trino.dbapi import Cursor
from trino.exceptions import TrinoQueryError

from lake.closes import Closes
from lake.errors import Refused, TicklakeError, Unavailable, WrongUse
from lake.state import read_state

LAKE_CATALOG = "lake"
HOT_CATALOG = "hot"
VIEW_CATALOG = "ticklake"
UPKEEP_CATALOG, VIEW_UPKEEP_CATALOG = "lake_upkeep", "views_upkeep"
"""Trino's catalogs: the Iceberg tables, PostgreSQL and the views, as one who only reads; and tables
and views once more, for who maintains them.
"""

SCHEMA = "market"
"""The schema of our tables and views in each."""

TRIES_MAX = 3
REQUEST_S_MAX = 10.0
ROWS_AT_ONCE = 10_000
SOURCE = "ticklake"

LOST_RACES = frozenset({"ICEBERG_COMMIT_ERROR", "TRANSACTION_CONFLICT"})
"""Names of Trino's errors when somebody else committed first."""

_PRECISE = re.compile(r"(decimal|timestamp|time)\((\d+)(?:, ?(\d+))?\)")


class TrinoAway(Unavailable):
    """Trino does not answer, or can't do what it was asked now."""


class LostRace(Unavailable):
    """Somebody else changed the table meanwhile; nothing was done."""


class Trino(Closes):
    """One session; a context manager, of one thread at a time but for `cancel`."""

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str | None = None,
        ca: str | None = None,
        catalog: str = VIEW_CATALOG,
        schema: str = SCHEMA,
    ) -> None:
        """Prepare it. ca: file of whose certificates vouch for the server; None: the system's."""
        place = urlsplit(url)
        self.url = url
        self._last: Cursor | None = None
        self._connection = trino.dbapi.Connection(
            host=place.hostname or "",
            port=place.port,
            http_scheme=place.scheme,
            user=user,
            auth=trino.auth.BasicAuthentication(user, password) if password else None,
            catalog=catalog,
            schema=schema,
            source=SOURCE,
            timezone="UTC",
            max_attempts=TRIES_MAX,
            request_timeout=REQUEST_S_MAX,
            http_session=_trusting(ca) if ca else None,
        )

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows.

        Raises WrongUse for SQL that can't run, Refused for what this user may not, LostRace,
        Unavailable.
        """
        try:
            return [tuple(row) for row in self.cursor(statement).fetchall()]
        except _FAULTS as error:
            raise query_fault(self.url, error) from error

    def cursor(self, statement: str) -> Cursor:
        """Begin a statement; its faults come as Trino's own."""
        cursor: Cursor = self._connection.cursor()
        self._last = cursor
        cursor.execute(statement)
        return cursor

    def version(self) -> str:
        """Return the server's version, as 476; raises as execute does."""
        ((found,),) = self.execute("SELECT version()")
        return str(found)

    def cancel(self) -> None:
        """End the statement that another thread waits for, which raises there; harmless without."""
        if self._last is not None:
            with suppress(*_FAULTS):
                self._last.cancel()

    def arrow(self, query: str) -> pa.Table:
        """Return a query's rows as Arrow, decimals and times exact; raises as execute does."""
        try:
            return _table(self.cursor(query))
        except _FAULTS as error:
            raise query_fault(self.url, error) from error

    def close(self) -> None:
        """End the session."""
        self._connection.close()


_FAULTS = (trino.exceptions.Error, requests.RequestException, trino.exceptions.HttpError)


def _trusting(ca: str) -> requests.Session:
    """Return a session that trusts these only: REQUESTS_CA_BUNDLE and such would go before."""
    session = requests.Session()
    session.trust_env = False
    session.verify = ca
    return session


def connect_trino(home: Path, role: str | None = None, *, schema: str = SCHEMA) -> Trino:
    """Open a session on the Trino of a home, as a role; Unavailable where there is none."""
    found = trino_of(home, role)
    if found is None:
        raise Unavailable(
            f"trino of {home}", "not started", "start it: ticklake up --profile stack"
        )
    return Trino(**found, schema=schema)


def trino_of(home: Path, role: str | None = None) -> dict[str, str] | None:
    """Return a home's Trino as the words of `Trino`; None where it has none.

    role: whose name to come with, where Trino knows it; else the owner's.
    """
    state = read_state(home)
    found = {**state.get("trino", {}), **state.get("roles", {}).get(role, {}).get("trino", {})}
    if not isinstance(found.get("url"), str):
        return None
    return {key: str(found[key]) for key in ("url", "user", "password", "ca") if key in found}


def query_fault(url: str, error: Exception) -> TicklakeError:
    """Return one of Trino's faults as ours."""
    if not isinstance(error, TrinoQueryError):
        return TrinoAway(f"trino at {url}", _line(error), "see: ticklake status")
    said, name = " ".join(str(error.message).split()), str(error.error_name)
    if "eventually update SQL schema" in said:  # its word for a database away, too
        return TrinoAway(
            f"trino at {url}",
            "it can't reach its catalog's tables in PostgreSQL",
            "see: ticklake status; make them with: ticklake up",
        )
    if name in LOST_RACES:
        return LostRace(f"trino at {url}", said, "try again")
    if name == "PERMISSION_DENIED":
        return Refused("query", said, "ask an operator for the right to it")
    if error.error_type == "USER_ERROR":
        return WrongUse("query", said, "correct it there")
    return TrinoAway(f"trino at {url}", said, "see: ticklake status")


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _table(cursor: Cursor) -> pa.Table:
    """Fetch all rows, by the batch."""
    described = cursor.description or ()
    schema = pa.schema([(each[0], arrow_type(str(each[1]))) for each in described])
    batches = []
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        batches.append(_batch(schema, rows))
    return pa.Table.from_batches(batches, schema)


def _batch(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array([None if v is None else _plain(v, field.type) for v in column], field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _plain(value: Any, kind: pa.DataType) -> Any:
    """Return a value as Arrow takes it; what Arrow has no type for is text."""
    return str(value) if pa.types.is_string(kind) and not isinstance(value, str) else value


def arrow_type(name: str) -> pa.DataType:
    """Return Arrow's type for one of Trino's; text for those that have none here."""
    precise = _PRECISE.match(name)
    if precise and precise[1] == "decimal":
        return pa.decimal128(int(precise[2]), int(precise[3] or 0))
    if name.startswith("timestamp"):
        return pa.timestamp("us", "UTC" if name.endswith("with time zone") else None)
    if name.startswith(("array(", "map(", "row(")):
        return pa.string()
    return _TYPES.get(name.partition("(")[0], pa.string())


_TYPES = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "varbinary": pa.binary(),
}
