"""One load of an Iceberg table's metadata: which rows the lake holds, and through which frame.

The metadata file names the snapshot and carries `ticklake.through.<shard>`, so the rows and the
watermark always belong together. Read without pyiceberg, whose import alone takes half a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import duckdb
import orjson

from lake.errors import Damaged
from lake.tables.names import CATALOG, CLOSED, EPOCH, LEFT, NAMESPACE, SNAPSHOT, THROUGH
from lake.views.engine import file_fault, hot_query
from lake.warehouse import readable

_LOCATIONS = (
    "SELECT table_name, metadata_location FROM public.iceberg_tables "
    f"WHERE catalog_name = '{CATALOG}' AND table_namespace = '{NAMESPACE}'"
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A lake table at one moment.

    through: shard -> last frame (inclusive) whose rows the table holds; columns: names in table
    order; manifest_list: "" when nothing was ever written; closed_us: of bars, the time before
    which every bucket is closed, in microseconds since the epoch; left: the last file of the
    archive whose rows are not in the table any more.
    """

    dataset: str
    metadata_location: str
    snapshot_id: int | None
    manifest_list: str
    columns: tuple[str, ...]
    through: Mapping[int, int] = field(default_factory=dict)
    closed_us: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class DataFile:
    """A live file of a snapshot, as its manifest describes it; content: 0 rows, 1 and 2 deletes."""

    path: str
    content: int
    rows: int
    bytes: int


def locations(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return dataset -> metadata location of every lake table, read in one statement."""
    exists = hot_query(connection, "SELECT (to_regclass('public.iceberg_tables') IS NOT NULL)::int")
    if exists != [(1,)]:
        return {}
    return {str(name): str(place) for name, place in hot_query(connection, _LOCATIONS)}


def load_snapshot(
    connection: duckdb.DuckDBPyConnection, dataset: str, metadata_location: str
) -> Snapshot:
    """Read a table's metadata file, through a connection that may read the warehouse.

    Raises Damaged when it is gone or not what was written; Unavailable when its store is away.
    """
    metadata = _load_metadata(connection, metadata_location)
    snapshots = {each["snapshot-id"]: each for each in metadata.get("snapshots", ())}
    head = snapshots.get(metadata.get("current-snapshot-id"))
    schema = next(
        each for each in metadata["schemas"] if each["schema-id"] == metadata["current-schema-id"]
    )
    return Snapshot(
        dataset=dataset,
        metadata_location=metadata_location,
        snapshot_id=head["snapshot-id"] if head else None,
        manifest_list=head["manifest-list"] if head else "",
        columns=tuple(column["name"] for column in schema["fields"]),
        through=_through(dataset, metadata.get("properties", {}), head, snapshots),
        closed_us=_closed_us(metadata.get("properties", {}), head),
        left=int(metadata.get("properties", {}).get(LEFT, 0)),
    )


def goes_on_from(
    connection: duckdb.DuckDBPyConnection, metadata_location: str, snapshot_id: int
) -> bool:
    """Tell whether the head of this metadata is the snapshot or follows it; False if unknown.

    Raises as load_snapshot does.
    """
    metadata = _load_metadata(connection, metadata_location)
    snapshots = {each["snapshot-id"]: each for each in metadata.get("snapshots", ())}
    at = snapshots.get(metadata.get("current-snapshot-id"))
    while at is not None and at["snapshot-id"] != snapshot_id:
        at = snapshots.get(at.get("parent-snapshot-id", -1))
    return at is not None


def _load_metadata(connection: duckdb.DuckDBPyConnection, location: str) -> dict[str, Any]:
    path = readable(location)
    try:
        # In a cursor: a file that can't be read must not end a transaction of the caller's.
        row = connection.cursor().execute("SELECT content FROM read_text(?)", [path]).fetchone()
        if row is None:
            raise Damaged("table metadata", f"{path} is gone", "restore the file")
        return cast("dict[str, Any]", orjson.loads(row[0]))
    except duckdb.Error as error:
        raise file_fault(f"table metadata {path}", error) from error
    except orjson.JSONDecodeError as error:
        raise Damaged(
            path, f"table metadata can't be read ({error})", "restore the file"
        ) from error


def _through(
    dataset: str,
    properties: Mapping[str, str],
    head: Mapping[str, Any] | None,
    snapshots: Mapping[int, Mapping[str, Any]],
) -> dict[int, int]:
    """Return what the head holds: the properties say it, unless the table was rolled back."""
    named = properties.get(SNAPSHOT)
    if named is None or _leads_to(head, int(named), snapshots):
        return _frames(properties)
    found = _frames(head["summary"]) if head else {}
    if head and not found:
        raise Damaged(
            f"lake table {dataset}",
            f"rolled back to snapshot {head['snapshot-id']}, which does not say what it holds",
            f"roll it forward to snapshot {named}",
        )
    return found


def _leads_to(
    head: Mapping[str, Any] | None, named: int, snapshots: Mapping[int, Mapping[str, Any]]
) -> bool:
    at = head
    while at is not None:
        if at["snapshot-id"] == named:
            return True
        at = snapshots.get(at.get("parent-snapshot-id", -1))
    # We expire only ancestors, and what a rollback left behind stays in the metadata; others may
    # expire that too, but then the head is one of ours.
    return named not in snapshots and head is not None and EPOCH not in head.get("summary", {})


def _closed_us(properties: Mapping[str, str], head: Mapping[str, Any] | None) -> int:
    """Return what the head says; else the properties, which others' maintenance leaves alone."""
    said = (head or {}).get("summary", {}).get(CLOSED)
    return int(said or properties.get(CLOSED, 0))


def _frames(properties: Mapping[str, str]) -> dict[int, int]:
    return {
        int(key.removeprefix(THROUGH)): int(value)
        for key, value in properties.items()
        if key.startswith(THROUGH)
    }


def manifests_of(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> tuple[str, ...]:
    """Return where the manifests of a snapshot lie.

    The connection needs the avro extension. Raises Damaged when their list is gone or unreadable;
    Unavailable when its store is away.
    """
    if not snapshot.manifest_list:
        return ()
    try:
        # In a cursor: a file that can't be read must not end a transaction of the caller's.
        rows = connection.cursor().execute(
            "SELECT manifest_path FROM read_avro(?)", [readable(snapshot.manifest_list)]
        )
        return tuple(readable(path) for (path,) in rows.fetchall())
    except duckdb.Error as error:
        raise file_fault(f"lake table {snapshot.dataset}", error) from error


def require_manifests(dataset: str, manifests: Iterable[str]) -> None:
    """Raise Damaged for a manifest that is gone from a folder of this machine.

    DuckDB ends the whole process over it. Whether an object is still in its bucket is not asked.
    """
    for path in manifests:
        if "://" not in path and not Path(path).exists():
            raise Damaged(f"lake table {dataset}", f"{path} is gone", "restore the file")


def live_files(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> list[DataFile]:
    """Return the files that make up a snapshot, delete files included.

    The connection needs the avro extension. Raises Damaged when a manifest is gone or unreadable;
    Unavailable when its store is away.
    """
    manifests = manifests_of(connection, snapshot)
    if not manifests:
        return []
    try:
        rows = connection.execute(
            "SELECT data_file.file_path, data_file.content, data_file.record_count, "
            "data_file.file_size_in_bytes FROM read_avro(?) WHERE status <> 2",
            [list(manifests)],
        ).fetchall()
    except duckdb.Error as error:
        raise file_fault(f"lake table {snapshot.dataset}", error) from error
    return [
        DataFile(readable(path), content or 0, count, size)
        for path, content, count, size in cast("list[tuple[str, int, int, int]]", rows)
    ]
