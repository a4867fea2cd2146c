"""Make, list and drop releases.

A release is a tag on each table's snapshot and a row for each in market.releases. The tables are
committed in turn and the batches last: what these hold, the others held before. So the batches are
tagged first and are the cut; a reader of the release leaves out the ticks that lie beyond it. What
is made of ticks (bars, features, labels) may have seen some of them: its part says so. A release
exists once its rows do: whoever dies before leaves tags that the next one of that name replaces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from lake.clock import Clock, utc_from_us
from lake.contracts.contract import LAKE_ONLY_DATASETS, NUMBERED_DATASETS, WHOLE_DATASETS
from lake.errors import Unavailable, WrongUse
from lake.lineage.destination import NAMESPACE
from lake.lineage.job import Job, hot, lake
from lake.lineage.run import Run, Teller
from lake.tables.catalog import open_catalog
from lake.tables.commit import COMMIT_FAULTS, translated
from lake.tables.lake_table import holdings_of
from lake.tables.names import CLOSED
from lake.tables.names import NAMESPACE as CATALOG_NAMESPACE
from lake.views.union_view import UNION_DATASETS
from lake.warehouse import Warehouse

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
LAST_DATASET = UNION_DATASETS[-1]
RELEASED_DATASETS = (*reversed(UNION_DATASETS), *WHOLE_DATASETS)
RELEASE = Job(
    "release",
    "Tags a snapshot of every table at one watermark; the data stay where they are.",
    tuple(map(lake, RELEASED_DATASETS)),
    (hot("releases"),),
)
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
TRIES_MAX = 20
"""Tries of a table's tag: it may lose a race with every commit of ingest."""


@dataclass(frozen=True, slots=True)
class Part:
    """One dataset of a release, as market.releases has it.

    missing: what it lacks of the cut; ahead: what it was made of beyond it. Both in words.
    """

    dataset: str
    snapshot_id: int
    through: Mapping[int, int]
    closed_time: datetime | None
    missing: str | None
    ahead: str | None = None

    def line(self) -> str:
        """Return it in words."""
        lacks = f"  lacks {self.missing}" if self.missing else ""
        ahead = f"  ahead of the cut by {self.ahead}" if self.ahead else ""
        return f"{self.dataset:20} snapshot {self.snapshot_id}{lacks}{ahead}"


def tag_of(name: str) -> str:
    """Return a release's tag."""
    return f"release-{name}"


def create(
    dsn: str, warehouse: Warehouse, name: str, clock: Clock, *, namespace: str = NAMESPACE
) -> list[Part]:
    """Make a release of what all tables hold now; its parts say what they lack, or have beyond it.

    Raises WrongUse for a name that is taken or no name; Unavailable where there is nothing yet.
    """
    if not NAME.fullmatch(name):
        raise WrongUse(f"release {name!r}", "is no name", f"match {NAME.pattern}")
    with psycopg.connect(dsn) as connection, closing(open_catalog(dsn, warehouse)) as catalog:
        if name in names(connection):
            raise WrongUse(f"release {name}", "is there already", "drop it, or choose another name")
        tagged = [
            (dataset, table)
            for dataset in RELEASED_DATASETS
            if (table := _tag(catalog, dataset, tag_of(name))) is not None
        ]
        if not tagged or tagged[0][0] != LAST_DATASET:
            raise Unavailable(f"release {name}", "the lake is empty", "ingest something first")
        cut = holdings_of(tagged[0][1]).through
        parts = [_part(connection, dataset, table, cut) for dataset, table in tagged]
        _insert(connection, name, parts, clock)
    run = Run(Teller(dsn, clock, namespace), RELEASE)
    for part in parts:
        run.wrote(lake(part.dataset), part.snapshot_id)
    run.tell("COMPLETE")
    return parts


def absent(dsn: str, parts: Iterable[Part]) -> dict[str, str]:
    """Return the datasets that a release has no part of, and in words what they lack of its cut."""
    there = {part.dataset: part for part in parts}
    found = {}
    with psycopg.connect(dsn) as connection:
        for dataset in RELEASED_DATASETS:
            if dataset not in there:
                found[dataset] = _absence(connection, dataset, there[LAST_DATASET].through)
    return found


def drop(dsn: str, warehouse: Warehouse, name: str) -> int:
    """Forget a release and let its snapshots go; return the tags removed.

    Raises WrongUse where there is nothing of that name.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute("DELETE FROM market.releases WHERE name = %s", (name,)).rowcount
    removed = 0
    with closing(open_catalog(dsn, warehouse)) as catalog:
        for dataset in RELEASED_DATASETS:
            removed += _untag(catalog, dataset, tag_of(name))
    if not rows and not removed:
        raise WrongUse(f"release {name}", "no such release", "see: ticklake release list")
    return removed


def names(connection: psycopg.Connection) -> list[str]:
    """Return the releases' names, oldest first."""
    rows = connection.execute(
        "SELECT name FROM market.releases GROUP BY name ORDER BY min(created_time), name"
    )
    return [name for (name,) in rows.fetchall()]


def parts_of(connection: psycopg.Connection, name: str) -> list[Part]:
    """Return a release's parts; WrongUse where there is none of that name."""
    rows = connection.execute(
        "SELECT dataset, snapshot_id, through, closed_time, missing, ahead FROM market.releases"
        " WHERE name = %s ORDER BY dataset",
        (name,),
    ).fetchall()
    if not rows:
        raise WrongUse(f"release {name}", "no such release", "see: ticklake release list")
    return [Part(dataset, each, _frames(text), *rest) for dataset, each, text, *rest in rows]


def _part(
    connection: psycopg.Connection, dataset: str, table: Table, cut: Mapping[int, int]
) -> Part:
    head = table.current_snapshot()
    assert head is not None
    through = holdings_of(table).through
    closed = utc_from_us(int(table.properties[CLOSED])) if CLOSED in table.properties else None
    source = MADE_OF.get(dataset, dataset)
    frames = {} if dataset in NUMBERED_DATASETS else cut

    def between(after: Mapping[int, int], upto: Mapping[int, int]) -> str | None:
        said = []
        for shard in frames:
            span = (after.get(shard, 0), upto.get(shard, 0))
            row = connection.execute(_BETWEEN, (source, shard, *span, closed or FOREVER)).fetchone()
            if row and row[0]:
                said.append(f"{row[0]:,} rows of {source} of shard {shard}")
        return ", ".join(said) or None

    # Rows of ticks beyond the cut are left out by whoever reads; what is made of them is not.
    ahead = between(cut, through) if dataset in LAKE_ONLY_DATASETS else None
    return Part(dataset, head.snapshot_id, cut, closed, between(through, cut), ahead)


def _absence(connection: psycopg.Connection, dataset: str, cut: Mapping[int, int]) -> str:
    source = MADE_OF.get(dataset, dataset)
    rows = sum(
        int(found[0])
        for shard, last in cut.items()
        if (found := connection.execute(_BETWEEN, (source, shard, 0, last, FOREVER)).fetchone())
        and found[0]
    )
    if not rows:
        return "nothing of it yet"
    return f"the lake has none of it, for {rows:,} rows of {source}"


MADE_OF = {
    **dict.fromkeys(LAKE_ONLY_DATASETS, "crypto_trades"),
    "features_microstructure": "crypto_quotes",
}
"""What a dataset's rows, which have no frames of their own, rest on."""

_BETWEEN = (
    'SELECT sum("rows")::bigint FROM market.ledger_minutes WHERE dataset = %s AND shard = %s'
    " AND last_frame > %s AND last_frame <= %s AND minute < %s"
)
"""What the loss ledger knows of frames that a table lacks, or has too early."""


def _tag(catalog: SqlCatalog, dataset: str, tag: str) -> Table | None:
    """Tag the head of a table; None where it has none. Returns the metadata that was tagged."""
    for left in reversed(range(TRIES_MAX)):
        if not catalog.table_exists((CATALOG_NAMESPACE, dataset)):
            return None
        table = catalog.load_table((CATALOG_NAMESPACE, dataset))
        if table.current_snapshot() is None:
            return None
        try:
            if tag in table.metadata.refs:  # somebody died before the release was one
                table.manage_snapshots().remove_tag(tag).commit()
                table = catalog.load_table((CATALOG_NAMESPACE, dataset))
            head = table.current_snapshot()
            assert head is not None
            table.manage_snapshots().create_tag(head.snapshot_id, tag).commit()
            return table
        except COMMIT_FAULTS as error:
            if not left:
                raise translated(error, dataset) from error
    return None


def _untag(catalog: SqlCatalog, dataset: str, tag: str) -> int:
    for left in reversed(range(TRIES_MAX)):
        if not catalog.table_exists((CATALOG_NAMESPACE, dataset)):
            return 0
        table = catalog.load_table((CATALOG_NAMESPACE, dataset))
        if tag not in table.metadata.refs:
            return 0
        try:
            table.manage_snapshots().remove_tag(tag).commit()
            return 1
        except COMMIT_FAULTS as error:
            if not left:
                raise translated(error, dataset) from error
    return 0


def _insert(connection: psycopg.Connection, name: str, parts: Iterable[Part], clock: Clock) -> None:
    now = utc_from_us(clock.now_us())
    for part in parts:
        connection.execute(
            "INSERT INTO market.releases (name, dataset, snapshot_id, through, closed_time,"
            " created_time, missing, ahead) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                name,
                part.dataset,
                part.snapshot_id,
                json.dumps({str(shard): frame for shard, frame in part.through.items()}),
                part.closed_time,
                now,
                part.missing,
                part.ahead,
            ),
        )
    connection.commit()


def _frames(text: str) -> dict[int, int]:
    return {int(shard): frame for shard, frame in json.loads(text).items()}
