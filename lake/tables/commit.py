"""Commit on top of what was loaded and nothing else; the catalog's faults in our words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import AssertRefSnapshotId, TableUpdate
from sqlalchemy.exc import DBAPIError

from lake.errors import Damaged, DiskFull, Fenced, Unavailable

COMMIT_FAULTS = (CommitFailedException, ValidationException, DBAPIError, OSError)
"""What a commit may meet, on the catalog's side and on the disk's or the store's."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Staging(Transaction):
    """A transaction that works out its metadata once per staged change.

    pyiceberg's own does so whenever it is asked, a dozen times a commit, and each time copies every
    snapshot in depth: more than half of what a commit costs.
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._known: tuple[TableMetadata, tuple[TableUpdate, ...], TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """Return the metadata with what is staged so far; nobody changes it in place."""
        base, updates = self._table.metadata, self._updates
        if not updates:
            return base
        if self._known is None or self._known[0] is not base or self._known[1] is not updates:
            self._known = (base, updates, super().table_metadata)
        return self._known[2]


def commit_on_head(table: Table, *updates: TableUpdate) -> None:
    """Commit updates that pyiceberg would apply to whatever is there by then.

    Raises one of COMMIT_FAULTS; CommitFailedException when the head is not the loaded one.
    """
    head = table.current_snapshot()
    asserted = AssertRefSnapshotId.model_validate(
        {"ref": MAIN_BRANCH, "snapshot-id": head.snapshot_id if head else None}
    )
    transaction = Staging(table)
    # No public way leads from a transaction to a requirement of the caller's.
    transaction._apply(updates, (asserted,))
    transaction.commit_transaction()


@contextmanager
def faults_of(dataset: str) -> Iterator[None]:
    """Raise what a table's commit or reading may meet in our words."""
    try:
        yield
    except COMMIT_FAULTS as error:
        raise translated(error, dataset) from error


def translated(error: Exception, dataset: str) -> Exception:
    """Return our error for one of COMMIT_FAULTS."""
    thing = f"lake.{dataset}"
    if isinstance(error, DBAPIError) and "fenced" in str(error):
        return Fenced(thing, "a newer committer holds the lease", "this one must end")
    text = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
    if "NO_SUCH_BUCKET" in text:
        return Unavailable(thing, "its bucket is not there", "make it: ticklake up --profile stack")
    if isinstance(error, FileNotFoundError):
        return Damaged(thing, text, "restore the file")
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return DiskFull(thing, "no room in the warehouse", "free space, then start again")
    return Unavailable(thing, text, "reload, look, decide again")
