"""One Iceberg table that ticklake owns: append exactly once, know how far it holds each shard.

`ticklake.through.<shard>` is the last frame of a shard that the table holds. It is a table property
(properties survive other engines' maintenance) written in the commit that appends the rows, and is
repeated in the snapshot's summary. `ticklake.snapshot` names the snapshot it belongs to: when that
is no longer an ancestor of the head, somebody rolled the table back, and the summary of the head
says what it really holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyiceberg.table.update import SetPropertiesUpdate

from lake.errors import Damaged
from lake.steps import Steps
from lake.tables.catalog import ensure_table, metadata_location
from lake.tables.commit import COMMIT_FAULTS, Staging, commit_on_head, faults_of, translated
from lake.tables.data_file import known_file, time_column_of, write_data_files
from lake.tables.lake_marks import note_mark
from lake.tables.names import EPOCH, NAMESPACE, SNAPSHOT, THROUGH

FOOTERS = 4
"""Staged files whose footers are read at once: in a bucket each is a way there and back."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a table holds: shard -> last frame, inclusive; whether others rolled it back."""

    through: Mapping[int, int]
    rolled_back: bool = False


class LakeTable:
    """The committer's handle on one dataset's table; one thread uses it at a time."""

    def __init__(
        self, catalog: SqlCatalog, dataset: str, *, epoch: int, steps: Steps | None = None
    ) -> None:
        self.dataset = dataset
        self._catalog = catalog
        self.epoch = epoch
        self._steps = steps or Steps()
        with faults_of(dataset):
            self.table = ensure_table(catalog, dataset)
        self._touched: set[int] = set()

    def refresh(self) -> None:
        """Load the newest metadata, if the catalog names other than what is loaded.

        Raises Unavailable, or Damaged when its file is gone.
        """
        with faults_of(self.dataset):
            if metadata_location(self._catalog, self.dataset) != self.table.metadata_location:
                self.table = self._catalog.load_table((NAMESPACE, self.dataset))

    def holdings(self) -> Holdings:
        """Return how far the loaded metadata holds each shard."""
        return holdings_of(self.table)

    def touched_days(self) -> set[int]:
        """Return the days (since the epoch) appended to since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def append(
        self, rows: pa.Table, through: Mapping[int, int], staged: Sequence[str] = ()
    ) -> None:
        """Append rows and move `through`, in one commit on top of the loaded metadata.

        staged: files of this table that were written before and belong to the same frames.
        Raises Fenced when a newer committer exists; DiskFull; Unavailable when the race was lost or
        the outcome is unknown: refresh, look at holdings, decide again.
        """
        with faults_of(self.dataset):
            files = write_data_files(self.table, rows, time_column=time_column_of(self.table))
            with ThreadPoolExecutor(FOOTERS) as readers:
                files += readers.map(partial(known_file, self.table), staged)
            self._steps.at("lake.parquet")
            marks = {f"{THROUGH}{shard}": str(frame) for shard, frame in through.items()}
            before = self.holdings().through
            held = {f"{THROUGH}{k}": str(v) for k, v in before.items()}
            transaction = Staging(self.table)
            evidence = {**held, **marks, EPOCH: str(self.epoch)}
            with transaction.update_snapshot(snapshot_properties=evidence).merge_append() as new:
                for file in files:
                    new.append_data_file(file)
                snapshot_id = new.snapshot_id
            note_mark(self._catalog, self.dataset, snapshot_id, {**before, **through})
            self._steps.at("lake.manifest")
            transaction.set_properties({**held, **marks, SNAPSHOT: str(snapshot_id)})
            self._steps.at("lake.pointer")
            self.table = transaction.commit_transaction()
            self._touched |= {file.partition[0] for file in files if len(file.partition)}
            self._steps.at("lake.committed")


def holdings_of(table: Table) -> Holdings:
    """Return how far this metadata of a table holds each shard.

    Raises Damaged when the table was rolled back to a snapshot that is not ours.
    """
    named = table.properties.get(SNAPSHOT)
    if named is None or _is_ancestor(table, int(named)):
        return Holdings(_through(table.properties))
    head = table.current_snapshot()
    if head is None:
        return Holdings({}, rolled_back=True)
    found = _through(head.summary.additional_properties if head.summary else {})
    if not found:
        raise Damaged(
            ".".join(table.name()),
            f"rolled back to snapshot {head.snapshot_id}, which does not say what it holds",
            f"roll it forward to snapshot {named}",
        )
    return Holdings(found, rolled_back=True)


def _is_ancestor(table: Table, snapshot_id: int) -> bool:
    """Tell whether the snapshot is the head or before it.

    A snapshot that is no longer kept was expired: by us, as an ancestor, since a rollback leaves
    what it rolled away; or by others after a rollback, and then the head is one of ours.
    """
    metadata = table.metadata
    head = at = table.current_snapshot()
    while at is not None:
        if at.snapshot_id == snapshot_id:
            return True
        parent = at.parent_snapshot_id
        at = metadata.snapshot_by_id(parent) if parent is not None else None
    if head is None or metadata.snapshot_by_id(snapshot_id) is not None:
        return False
    return head.summary is None or EPOCH not in head.summary.additional_properties


def announce(
    catalog: SqlCatalog,
    datasets: Sequence[str],
    shard: int,
    *,
    tries_max: int,
    steps: Steps | None = None,
) -> None:
    """Make every table know a shard before its first row is copied, so that no view hides it.

    The caller need not hold the committer's lease: a race with its commits is lost and tried again.
    """
    for dataset in datasets:
        for left in reversed(range(tries_max)):
            try:
                _announce(catalog, dataset, shard, steps or Steps())
                break
            except COMMIT_FAULTS as error:
                if not left:
                    raise translated(error, dataset) from error


def _announce(catalog: SqlCatalog, dataset: str, shard: int, steps: Steps) -> None:
    key = f"{THROUGH}{shard}"
    table = ensure_table(catalog, dataset)
    if key not in table.properties:
        steps.at("shard.announce")
        # Whoever slept here may find the shard far on: its mark must not go back to 0.
        commit_on_head(table, SetPropertiesUpdate(updates={key: "0"}))


def _through(properties: Mapping[str, str]) -> dict[int, int]:
    return {
        int(key.removeprefix(THROUGH)): int(value)
        for key, value in properties.items()
        if key.startswith(THROUGH)
    }
