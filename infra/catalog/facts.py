"""What a catalog says beyond the contracts: how fresh, how large, sample rows, quality, runs.

Each dataset is looked at by itself: what can't be read is missing with its reason, and the rest of
the catalog is made all the same. It is read as an analyst: what that role may not see is not in
the catalog, which is a folder of files that anybody may be given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
import pyarrow as pa

from lake.contracts.contract import LAKE_ONLY_DATASETS, Contract
from lake.errors import TicklakeError, Unavailable
from lake.hot.scores import RULES
from lake.state import remedy
from lake.tables.catalog import open_catalog
from lake.tables.table_size import TableSize, table_size
from lake.views.client import Client
from lake.views.engine import HOT_CATALOG
from lake.warehouse import Warehouse

HOT_ONLY = ("releases", "quarantine_decisions")
"""Datasets that have no view over lake and hot tier."""

SAMPLE_ROWS_MAX = 10
CHECKS_MAX = 48
"""Results of one rule of a dataset that are shown, newest first."""

RUNS_MAX = 5_000
"""Events of lineage that are looked through for the runs that wrote a dataset."""

RUNS_SHOWN_MAX = 8
TEXT_MAX = 160
"""Characters of a value that are shown; longer ones end in an ellipsis."""

MEANINGS = {
    "lake": "size in the lake",
    "hot_bytes": "size in the hot tier",
    "newest": "freshness",
    "sample": "newest rows",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One rule's result at one time; passed, and the rows at fault of those looked at."""

    rule: str
    at: datetime
    passed: bool
    rows_checked: int
    rows_failed: int
    severity: str


@dataclass(frozen=True, slots=True)
class Ran:
    """One event of a run that wrote a dataset; snapshot_id: the one it made, if any."""

    at: datetime
    job: str
    type: str
    snapshot_id: int | None


@dataclass(frozen=True)
class Facts:
    """What is known of one dataset now; None: not known.

    lake: size of its table; hot_bytes: of the hot tier's with indexes; newest: largest time of its
    partition column, and lag_s the age of that; sample: names and rows, newest first. missing: why
    something is not known.
    """

    lake: TableSize | None = None
    hot_bytes: int | None = None
    newest: datetime | None = None
    lag_s: float | None = None
    sample: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None
    checks: Sequence[Check] = ()
    runs: Sequence[Ran] = ()
    missing: Sequence[str] = ()


@dataclass
class _Found:
    """What is being collected of one dataset."""

    values: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def look(self, name: str, find: Callable[[], object]) -> None:
        """Keep what is found, or why it is not."""
        try:
            self.values[name] = find()
        except TicklakeError as error:
            self._lacks(name, error.fault)
        except psycopg.Error as error:
            self._lacks(name, (str(error).strip().splitlines() or [type(error).__name__])[0])

    def _lacks(self, name: str, fault: str) -> None:
        why = "not open to analysts" if "permission denied" in fault else fault
        self.missing.append(f"{MEANINGS[name]}: {why}")


def facts_of(
    contracts: Sequence[Contract],
    owner_dsn: str,
    reader_dsn: str,
    warehouse: Warehouse,
    now: datetime,
) -> dict[str, Facts]:
    """Look at every dataset; raises Unavailable where the hot tier does not answer at all.

    owner_dsn: for sizes, checks and runs; reader_dsn: for rows, those that an analyst may see.
    """
    found = {}
    try:
        with (
            psycopg.connect(owner_dsn, autocommit=True) as connection,
            closing(open_catalog(owner_dsn, warehouse)) as catalog,
            Client(reader_dsn, warehouse) as client,
        ):
            connection.execute("SET TimeZone = 'UTC'")
            checks, runs = checks_by_dataset(connection), runs_by_dataset(connection)
            client.refresh()
            for contract in contracts:
                name = contract.name
                each = _Found({"checks": checks.get(name, ()), "runs": runs.get(name, ())})
                each.look("lake", partial(table_size, catalog, name))
                if name not in LAKE_ONLY_DATASETS:
                    each.look("hot_bytes", partial(_hot_bytes, connection, name))
                each.look("newest", partial(_newest, client, contract))
                each.look("sample", partial(_sample, client, contract))
                newest = each.values.get("newest")
                lag_s = (now - newest).total_seconds() if newest else None
                found[name] = Facts(**each.values, lag_s=lag_s, missing=tuple(each.missing))
    except psycopg.OperationalError as error:
        fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable("hot tier", fault, remedy(fault, "is the server up?")) from error
    return found


def checks_by_dataset(connection: psycopg.Connection) -> Mapping[str, Sequence[Check]]:
    """Return the newest results of the quality checks, newest first; none without their table."""
    if not _exists(connection, "quality_results"):
        return {}
    rows = connection.execute(_CHECKS.encode(), (CHECKS_MAX,)).fetchall()
    return _grouped((dataset, Check(*rest)) for dataset, *rest in rows)


def runs_by_dataset(connection: psycopg.Connection) -> Mapping[str, Sequence[Ran]]:
    """Return the newest events of the runs that wrote a dataset, newest first."""
    rows = connection.execute(_RUNS, (RUNS_MAX,)).fetchall()
    found: dict[str, list[Ran]] = {}
    for at, job, kind, writes, snapshots in rows:
        made = json.loads(snapshots)
        by_dataset = {name.rpartition(".")[2]: made.get(name) for name in json.loads(writes)}
        for dataset, snapshot_id in by_dataset.items():
            runs = found.setdefault(dataset, [])
            if len(runs) < RUNS_SHOWN_MAX:
                runs.append(Ran(at, job, kind, snapshot_id))
    return found


def _grouped(pairs: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _exists(connection: psycopg.Connection, table: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"market.{table}",)).fetchone()
    return bool(row and row[0])


def _hot_bytes(connection: psycopg.Connection, dataset: str) -> int | None:
    """Return the bytes of a table with its partitions, or of a hypertable with its chunks."""
    if not _exists(connection, dataset):
        return None
    row = connection.execute(_BYTES, {"table": f"market.{dataset}"}).fetchone()
    return int(row[0]) if row else None


def time_column(contract: Contract) -> str:
    """Return the column that says how fresh a dataset is; "" where none does."""
    times = [column for column in contract.columns if column.type == "time"]
    times.sort(key=lambda column: not column.required)
    return contract.partition_column or (times[0].name if times else "")


def _newest(client: Client, contract: Contract) -> datetime | None:
    column = time_column(contract)
    if not column:
        return None
    found = client.arrow(f'SELECT max("{column}") AS newest FROM {_view(contract)}')
    newest: datetime | None = found["newest"][0].as_py()
    return newest


def _sample(
    client: Client, contract: Contract
) -> tuple[Sequence[str], Sequence[Sequence[str]]] | None:
    """Return the newest rows as text."""
    column = time_column(contract)
    names = ", ".join(f'"{name}"' for name in contract.names)
    order = f' ORDER BY "{column}" DESC NULLS LAST' if column else ""
    rows = client.arrow(f"SELECT {names} FROM {_view(contract)}{order} LIMIT {SAMPLE_ROWS_MAX}")
    return (rows.column_names, [_texts(row) for row in _rows(rows)]) if rows.num_rows else None


def _view(contract: Contract) -> str:
    # what lies in the hot tier alone has no view of the union
    return f"{HOT_CATALOG}.market.{contract.name}" if contract.name in HOT_ONLY else contract.name


def _rows(table: pa.Table) -> Sequence[Sequence[object]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _texts(row: Sequence[object]) -> list[str]:
    return [_text(value) for value in row]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="microseconds").replace("+00:00", "")
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if "." in text and text.replace(".", "", 1).lstrip("-").isdigit():
        text = text.rstrip("0").rstrip(".")
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"


_CHECKS = f"""
WITH RECURSIVE {RULES}
SELECT dataset, rule, checked_time, status = 'passed', rows_checked, rows_failed, severity
FROM rules, LATERAL (
    SELECT checked_time, status, rows_checked, rows_failed, severity
    FROM market.quality_results AS q WHERE (q.dataset, q.rule) = (rules.dataset, rules.rule)
    ORDER BY run_id DESC LIMIT %s
) AS newest ORDER BY checked_time DESC
"""
_RUNS = """
SELECT event_time, job, event_type, writes, snapshots
FROM market.lineage_events ORDER BY event_no DESC LIMIT %s
"""
_BYTES = """
SELECT sum(pg_total_relation_size(relid))::bigint FROM (
  SELECT relid FROM pg_partition_tree(%(table)s::regclass)
  UNION SELECT %(table)s::regclass
  UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = %(table)s::regclass
) AS parts
"""
