"""An audit: control totals and checksums over the whole lake, a sample read again, the result kept.

Totals are the loss ledger's, by `verify`. Checksums are of every file that a kept snapshot or the
archive needs. The sample, drawn by the digest of the result before it, so that nobody can know it
much ahead, is decoded row by row and compared with the totals that were proven when it was new.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lake.archive.book import held_files
from lake.archive.content import Content, sums_sql
from lake.archive.place import ArchivePlace
from lake.audit.checksums import Checked, check_archive, check_table
from lake.audit.results import Kept, keep, kept_results
from lake.audit.signing import Signer
from lake.clock import Clock, utc_from_us
from lake.contracts.contract import DATASETS, LAKE_ONLY_DATASETS
from lake.errors import Unavailable
from lake.hot.alerts import clear_alert, raise_alert
from lake.hot.turn import TURN_S_MAX
from lake.ledger import MEASURES
from lake.parts import ShowPart, nobody
from lake.steps import Steps
from lake.tables.catalog import known_table, open_catalog
from lake.tables.commit import faults_of
from lake.tables.upkeep import live_files
from lake.verify.verify import verify
from lake.views.engine import LAKE_EXTENSIONS, attach_warehouse, first_line, open_duckdb
from lake.views.union_view import parquet_sql
from lake.warehouse import Warehouse, readable

SAMPLE_FILES = 64
"""Data files of the lake that are decoded again in one audit."""

AUDIT_LOCK = 0x7469636B_61756474
"""Key of the advisory lock that lets one audit run at a time ("tickaudt")."""

ALERT = "audit"
LAST_STEPS = 2
"""Steps of progress after the tables: the archive, and the sample."""


@dataclass(frozen=True, slots=True)
class AuditPlace:
    """What is audited, and where results go."""

    dsn: str
    warehouse: Warehouse
    archive: ArchivePlace
    results: Path


def run_audit(
    place: AuditPlace,
    signer: Signer,
    clock: Clock,
    *,
    sample_files: int = SAMPLE_FILES,
    wait_s: float = TURN_S_MAX,
    show: ShowPart = nobody,
    steps: Steps | None = None,
) -> Kept:
    """Audit everything now, sign the result, keep it; faults are an alert until there are none.

    Costs one reading of the whole lake. Safe while ingest runs. show: is told how far it is, 0 to
    1. Raises Unavailable when a server or a store does not answer, or another audit is still at
    work after wait_s seconds: then there is no result.
    """
    steps = steps or Steps()
    with (
        psycopg.connect(place.dsn, autocommit=True) as connection,
        closing(open_catalog(place.dsn, place.warehouse)) as catalog,
    ):
        _wait(connection, wait_s)
        ran_at = utc_from_us(clock.now_us())
        report = verify(dsn=place.dsn, warehouse=place.warehouse, clock=clock)
        faults = [str(fault) for fault in report.faults]
        tables: dict[str, Any] = {}
        checked: list[Checked] = []
        live: list[tuple[str, DataFile]] = []
        for number, dataset in enumerate(DATASETS, 1):
            show(number / (len(DATASETS) + LAST_STEPS))
            table = known_table(catalog, dataset)
            if table is None:
                continue
            with faults_of(dataset):
                found = check_table(connection, dataset, table, ran_at)
            steps.at("audit.checked")
            tables[dataset] = _table_said(connection, dataset, table, found)
            checked.append(found)
            if not found.faults:
                live += [(dataset, file) for file in live_files(table, AlwaysTrue())]
        archive = check_archive(held_files(connection), place.archive)
        show(1 - 1 / (len(DATASETS) + LAST_STEPS))
        faults += [fault for each in (*checked, archive) for fault in each.faults]
        sampled = _sample(connection, live, sample_files)
        read = [_read_again(connection, place.warehouse, *each) for each in sampled]
        faults += [fault for fault in read if fault]
        document = {
            "audit": 1,
            "ran_at": ran_at.isoformat(),
            "events": report.events,
            "lost": report.lost,
            "duplicated": report.duplicated,
            "files": sum(each.files for each in (*checked, archive)),
            "bytes": sum(each.bytes for each in (*checked, archive)),
            "tables": tables,
            "archive": _said(archive),
            "sampled": [{"path": file.file_path, "rows": file.record_count} for _, file in sampled],
            "faults": faults,
            "holds": not faults,
        }

        def tell(kept: psycopg.Connection) -> None:
            _tell(kept, clock, faults)

        return keep(connection, place.results, signer, document, ran_at, tell=tell, steps=steps)


def _wait(connection: psycopg.Connection, wait_s: float) -> None:
    """Take the lock of audits, which goes with the session."""
    connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{wait_s:.3f}s",))
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", (AUDIT_LOCK,))
    except psycopg.errors.LockNotAvailable as error:
        raise Unavailable(
            "audit", f"another one is at work, for more than {wait_s:g} s", "wait for it"
        ) from error
    connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{TURN_S_MAX}s",))


def _table_said(
    connection: psycopg.Connection, dataset: str, table: Table, found: Checked
) -> dict[str, Any]:
    head = table.current_snapshot()
    return {
        "snapshot": head.snapshot_id if head else None,
        **_said(found),
        "totals": _totals(connection, dataset),
    }


def _said(found: Checked) -> dict[str, Any]:
    return {"files": found.files, "bytes": found.bytes, "sha256": found.sha256}


def _totals(connection: psycopg.Connection, dataset: str) -> Mapping[str, str] | None:
    """Return the control totals that the ledger promises of a table; None where it has none."""
    if dataset in LAKE_ONLY_DATASETS:
        return None
    row = connection.execute(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(sum_a), 0), coalesce(sum(sum_b), 0),"
        " coalesce(sum(digest), 0) FROM market.verified_units WHERE tier = 'lake' AND dataset = %s",
        (dataset,),
    ).fetchone()
    assert row is not None
    return dict(zip(("rows", "sum_a", "sum_b", "digest"), map(str, row), strict=True))


def _sample(
    connection: psycopg.Connection, live: Sequence[tuple[str, DataFile]], count: int
) -> list[tuple[str, DataFile]]:
    before = kept_results(connection)
    seed = before[-1].digest if before else hashlib.sha256(b"").hexdigest()
    ordered = sorted(live, key=lambda each: each[1].file_path)
    return random.Random(seed).sample(ordered, min(count, len(ordered)))


def _read_again(
    connection: psycopg.Connection, warehouse: Warehouse, dataset: str, file: DataFile
) -> str:
    """Decode a file; return what is wrong with it, "" where all is right."""
    path = readable(file.file_path)
    with open_duckdb(LAKE_EXTENSIONS) as reader:
        attach_warehouse(reader, warehouse)
        reader.execute("SET TimeZone = 'UTC'")
        try:
            row = reader.execute(
                f"SELECT {sums_sql(dataset)} FROM {parquet_sql(dataset, [path])}"
            ).fetchone()
        except duckdb.Error as error:
            return f"{dataset}: {file.file_path}: unreadable: {first_line(error)}"
    found = Content.read(row or (0, 0, 0, 0))
    if found.rows != file.record_count:
        said = f"{found.rows:,} rows, its manifest says {file.record_count:,}"
        return f"{dataset}: {file.file_path}: {said}"
    proven = _proven(connection, dataset, path)
    if proven is not None and proven != found:
        return f"{dataset}: {file.file_path}: its rows are not those that were proven"
    return ""


def _proven(connection: psycopg.Connection, dataset: str, path: str) -> Content | None:
    """Return what `verify` found in a file; None where it did not look, or has no ledger."""
    if dataset not in MEASURES:
        return None
    row = connection.execute(
        "SELECT sum(rows), sum(sum_a), sum(sum_b), sum(digest) FROM market.verified_files"
        " WHERE dataset = %s AND path = %s",
        (dataset, path),
    ).fetchone()
    return Content.read(row) if row and row[0] is not None else None


def _tell(connection: psycopg.Connection, clock: Clock, faults: Sequence[str]) -> None:
    if faults:
        said = f"{len(faults):,} faults, the first: {faults[0]}"
        raise_alert(connection, clock, ALERT, said, "see all: ticklake audit list --json")
    else:
        clear_alert(connection, ALERT)
