"""The names by which every engine finds a lake table, and by which it says what it holds.

Nothing is imported here: readers without pyiceberg go by them, too.
"""

from __future__ import annotations

CATALOG = "ticklake"
NAMESPACE = "market"

THROUGH = "ticklake.through."
"""Property; with a shard after it, the last frame of that shard that the table holds."""

SNAPSHOT = "ticklake.snapshot"
"""Property: the snapshot that the other properties belong to."""

EPOCH = "ticklake.epoch"
"""In the summary of every snapshot of ours: the epoch of who committed it."""

CLOSED = "ticklake.closed"
"""Property of bars: the time before which all buckets are closed, in microseconds since 1970."""

LEFT = "ticklake.left"
"""Property: number of the last file of market.archive_files whose rows have left the table."""
