"""One load of an Iceberg table's metadata: which rows the lake holds, and through which frame.

The metadata file names the snapshot and carries `ticklake.through.<shard>`, so the rows and the
watermark always belong together. Read without pyiceberg, whose import alone takes half a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import duckdb
import orjson

from lake.errors import Damaged
from lake.views.engine import first_line, hot_query

CATALOG = "ticklake"
NAMESPACE = "market"
THROUGH_PREFIX = "ticklake.through."

_LOCATIONS = (
    "SELECT table_name, metadata_location FROM public.iceberg_tables "
    f"WHERE catalog_name = '{CATALOG}' AND table_namespace = '{NAMESPACE}'"
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A lake table at one moment.

    through: shard -> last frame (inclusive) whose rows the table holds; columns: names in table
    order; manifest_list: "" when nothing was ever written.
    """

    dataset: str
    metadata_location: str
    snapshot_id: int | None
    manifest_list: str
    columns: tuple[str, ...]
    through: Mapping[int, int] = field(default_factory=dict)


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


def load_snapshot(dataset: str, metadata_location: str) -> Snapshot:
    """Read a table's metadata file; raises Damaged when it is gone or not what was written."""
    path = local_path(metadata_location)
    try:
        metadata: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise Damaged(
            str(path), f"table metadata can't be read ({error})", "restore the file"
        ) from error
    current = metadata.get("current-snapshot-id")
    snapshot = next((s for s in metadata["snapshots"] if s["snapshot-id"] == current), None)
    schema = next(s for s in metadata["schemas"] if s["schema-id"] == metadata["current-schema-id"])
    return Snapshot(
        dataset=dataset,
        metadata_location=metadata_location,
        snapshot_id=current if snapshot else None,
        manifest_list=snapshot["manifest-list"] if snapshot else "",
        columns=tuple(column["name"] for column in schema["fields"]),
        through={
            int(key.removeprefix(THROUGH_PREFIX)): int(value)
            for key, value in metadata["properties"].items()
            if key.startswith(THROUGH_PREFIX) and key.removeprefix(THROUGH_PREFIX).isdigit()
        },
    )


def live_files(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> list[DataFile]:
    """Return the files that make up a snapshot, delete files included.

    The connection needs the avro extension. Raises Damaged when a manifest is gone or unreadable.
    """
    if not snapshot.manifest_list:
        return []
    try:
        manifests = connection.execute(
            "SELECT manifest_path FROM read_avro(?)", [str(local_path(snapshot.manifest_list))]
        ).fetchall()
        if not manifests:
            return []
        rows = connection.execute(
            "SELECT data_file.file_path, data_file.content, data_file.record_count, "
            "data_file.file_size_in_bytes FROM read_avro(?) WHERE status <> 2",
            [[str(local_path(path)) for (path,) in manifests]],
        ).fetchall()
    except duckdb.Error as error:
        raise Damaged(
            f"lake table {snapshot.dataset}", first_line(error), "restore the manifest"
        ) from error
    return [
        DataFile(str(local_path(path)), content or 0, count, size)
        for path, content, count, size in cast("list[tuple[str, int, int, int]]", rows)
    ]


def local_path(location: str) -> Path:
    """Return the path of a `file:` location or a plain path."""
    return Path(location.removeprefix("file://"))
